"""The parts of `benchmarks/throughput.py`: workloads, the contenders, and how they are measured."""
