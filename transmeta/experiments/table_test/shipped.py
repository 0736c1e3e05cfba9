"""Where the meta-dataset lies that is installed with transmeta."""

from importlib import resources
from pathlib import Path

from transmeta.errors import InputError


def shipped_meta_dataset() -> Path:
    """Returns the Parquet file of the shipped meta-dataset.

    Raises:
        InputError: if this installation has none.
    """
    path = Path(str(resources.files("transmeta"))) / "data" / "meta_dataset.parquet"
    if not path.is_file():
        raise InputError(f"meta-test: this installation has no meta-dataset ({path}); give a table with --table FILE")
    return path
