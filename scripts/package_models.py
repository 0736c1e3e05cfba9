"""Puts the sources and the policy of a main job into the package: `python scripts/package_models.py runs/demo`.

Checks that every source is at most 0.4 MB and that the policy knows none of the job's held-out targets, then copies.
"""

import json
import shutil
import sys
from pathlib import Path

from transmeta.models.library import PACKAGED
from transmeta.workspace import PACKAGED_POLICY

LIMIT_BYTES = 400_000


def main() -> None:
    """Copies models and policy of the run that is named on the command line."""
    run = Path(sys.argv[1])
    summary = json.loads((run / "summary.json").read_text())
    policy = (run / "policy" / "policy.json").read_text()
    leaked = [target for target in summary["held_out_targets"] if target in policy]
    if leaked:
        raise SystemExit(f"the policy in {run} was learned from held-out targets: {leaked}")
    shutil.rmtree(PACKAGED, ignore_errors=True)
    for model_id in summary["source_ids"]:
        source = run / "models" / model_id
        size = sum(file.stat().st_size for file in source.iterdir())
        if size > LIMIT_BYTES:
            raise SystemExit(f"{model_id}: {size} bytes, more than {LIMIT_BYTES}; train a smaller model")
        shutil.copytree(source, PACKAGED / model_id)
        print(f"{model_id}: {size} bytes")
    shutil.rmtree(PACKAGED_POLICY, ignore_errors=True)
    shutil.copytree(run / "policy", PACKAGED_POLICY)
    print(f"policy: {sum(file.stat().st_size for file in PACKAGED_POLICY.iterdir())} bytes")


if __name__ == "__main__":
    main()
