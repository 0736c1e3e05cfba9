"""Digests of raw data, so that changed data is a changed task."""

import hashlib
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from transmeta.core.task import Task
from transmeta.errors import DataError

LENGTH: Final = 32


def of_arrays(*arrays: npt.NDArray[np.generic]) -> str:
    """Returns a digest of types, shapes and content, in this order."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape};".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:LENGTH]


def of_file(path: Path, *, extra: str = "") -> str:
    """Returns a digest of the bytes of `path`, and of `extra`."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return of_texts(content, extra)


def of_texts(*texts: str) -> str:
    """Returns a digest of `texts`, in this order."""
    total = hashlib.sha256()
    for text in texts:
        encoded = text.encode(errors="surrogateescape")
        total.update(f"{len(encoded)}:".encode())
        total.update(encoded)
    return total.hexdigest()[:LENGTH]


def check_unchanged(task: Task, *, found: str) -> None:
    """Checks that the data has the fingerprint that `task` was described with.

    Raises:
        DataError: if it has another one: results on it would be mixed up with results on the old data.
    """
    if task.fingerprint != found:
        raise DataError(
            f"task {task.name}: its data has changed since it was described "
            f"(fingerprint {task.fingerprint[:8]}, now {found[:8]}); describe the task again"
        )
