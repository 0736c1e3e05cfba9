"""Torch in one process: data, staged models under a transfer plan, fitting, checkpoints, seeds."""
