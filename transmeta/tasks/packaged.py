"""The packs inside the package: many tasks in one file, split by group."""

import dataclasses
import functools
from pathlib import Path

import numpy as np

from transmeta.errors import DataError
from transmeta.tasks.npz import read_npz
from transmeta.tasks.pool import Pool, Pools, selected, without_copies


def packaged_pools(path: Path, *, provider: str, domain: str, class_array: str, task_array: str) -> Pools:
    """Returns the pool of each task in `path`, by its name `<provider>-<task>`; of identical images one is kept.

    The file holds x uint8 (count, 32, 32); y (count,), indices into `class_array` and `task_array`, which hold for
    each class its name and the task that it belongs to; and group (count,), equal for images that stay together.

    Raises:
        DataError: if there is no such file, or it lacks an array.
        UnsafeFileError: if it is not a plain .npz file.
    """
    if not path.is_file():
        raise DataError(f"{path}: packaged data is missing; install transmeta again")
    return _read(path, path.stat().st_mtime_ns, provider, domain, class_array, task_array)


@functools.cache
def _read(
    path: Path, mtime_ns: int, provider: str, domain: str, class_array: str, task_array: str
) -> Pools:  # with the time in the key a new file is read again
    arrays = read_npz(path, required=("x", "y", "group", class_array, task_array))
    y = arrays["y"].astype(np.int64)
    task_of = arrays[task_array]
    every = Pool(
        name=provider,
        dataset=provider,
        domain=domain,
        x=arrays["x"].astype(np.uint8, copy=False),
        y=y,
        class_names=tuple(str(name) for name in arrays[class_array]),
        groups=arrays["group"].astype(np.int64),
    )

    def make(name: str, task: str) -> Pool:
        of_task = selected(every, mask=task_of[y] == task)
        return without_copies(dataclasses.replace(of_task, name=name, dataset=name))

    names = {f"{provider}-{task.lower()}": task for task in map(str, np.unique(task_of))}
    return {name: functools.cache(functools.partial(make, name, task)) for name, task in names.items()}
