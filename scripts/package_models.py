"""Puts the sources of a main job into the package: `python scripts/package_models.py runs/demo`.

Checks that every source is at most 0.4 MB, then copies. The policy is made by `scripts/train_packaged_policy.py`.
"""

import json
import shutil
import sys
from pathlib import Path

from transmeta.models.library import PACKAGED

LIMIT_BYTES = 400_000


def main() -> None:
    """Copies the models of the run that is named on the command line."""
    run = Path(sys.argv[1])
    summary = json.loads((run / "summary.json").read_text())
    shutil.rmtree(PACKAGED, ignore_errors=True)
    for model_id in summary["source_ids"]:
        source = run / "models" / model_id
        size = sum(file.stat().st_size for file in source.iterdir())
        if size > LIMIT_BYTES:
            raise SystemExit(f"{model_id}: {size} bytes, more than {LIMIT_BYTES}; train a smaller model")
        shutil.copytree(source, PACKAGED / model_id)
        print(f"{model_id}: {size} bytes")


if __name__ == "__main__":
    main()
