"""How many fine-tuning trials a second does transmeta run, against a plain and a tuned Ray Tune script?

All three run the same trials: same data, initial weights, order of examples, epochs and evaluations.

    python benchmarks/throughput.py [--quick] [--workload NAME ...] [--json] [--write] [--curves]
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from throughput_parts.arena import COMMAND
from throughput_parts.messages import Opening

from transmeta.core import codec

RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under ten minutes: fewer trials of the rivals, one round")
    parser.add_argument("--workload", nargs="+", metavar="NAME", help="these alone")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="rewrite the section of RESULTS.md")
    parser.add_argument("--curves", nargs="*", metavar="NAME", help="the curves in place of the workloads")
    parser.add_argument("--ours", default="ray", choices=("ray", "tune", "local"), help="our executor")
    parser.add_argument("--rounds", type=int, help="of each contender, in place of the usual number")
    parser.add_argument("--rival-trials", type=int, help="of each rival in a round, in place of the usual number")
    parser.add_argument("--most", type=int, help="of our trials in a workload, to try things out")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        from throughput_parts.serve import serve

        serve(codec.loads(Opening, options.serve))
        return
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        document, text = _measured(options, Path(folder))
    minutes = (time.monotonic() - started_s) / 60
    document["minutes"] = round(minutes, 1)
    if options.write:
        from throughput_parts.report import write_section

        write_section(RESULTS, f"{text}\n\nThe whole run took {minutes:.0f} minutes.")
    print(json.dumps(document, allow_nan=False) if options.json else text)


def _measured(options: argparse.Namespace, folder: Path) -> tuple[dict[str, object], str]:
    from throughput_parts import batch64, curves, materials, report, suite

    plugins = folder / "plugins"
    batch64.install(plugins)
    sys.path.insert(0, str(plugins))  # before anything asks which strategies there are
    bench = suite.bench_of(
        folder,
        is_quick=options.quick,
        engine=options.ours,
        rounds=options.rounds,
        rival_trials=options.rival_trials,
        most=options.most,
    )
    materials.make_models(bench.models)
    materials.make_table(bench.data)
    machine = report.machine()
    if options.curves is not None:
        found = curves.measure_curves(options.curves or [*curves.CURVES], bench=bench)
        return {"curves": found, "machine": machine}, curves.as_text(found)
    rows, missing = suite.run(options.workload, bench=bench)
    command = f"python benchmarks/{COMMAND.name}" + (" --quick" if options.quick else "")
    heading = suite.heading(command, machine=machine, bench=bench)
    text = f"{heading}\n\n{report.table(rows, missing=missing)}"
    return {"workloads": rows, "missing": missing, "machine": machine}, text


if __name__ == "__main__":
    main()
