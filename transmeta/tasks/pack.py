"""Tasks from packs: .npz files of data sets that are not ours to hand on, read from a folder that the user gives."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, final

import numpy as np

from transmeta.core.task import Params, Task
from transmeta.errors import DataError, UnknownNameError
from transmeta.tasks.npz import read_npz
from transmeta.tasks.pack_formats import FORMATS, PackFormat
from transmeta.tasks.params import check_keys, existing, path_of, text_of
from transmeta.tasks.pool import CLASSES, Pool, Pools, describe_pool, load_pool, restricted
from transmeta.training.data import TaskData

PROVIDER: Final = "pack"
COLOUR: Final = 4
"""Axes of the array of colour images."""


@final
class PackTasks:
    """Tasks by the parameters `path`, of a pack or of a folder of packs, and `task`, such as `omniglot-angelic`.

    The parameter `classes` restricts a task to so many of its classes (`pool.restricted`).

    At most 60 examples per class for training (`pool.limits_for`). Data sets, for the leak rule: each Omniglot
    alphabet of the evaluation set, each group of Tiny-ImageNet classes and each emoji vendor is its own; the
    alphabets of Omniglot's background set share one, with the source task `omniglot-background` made of them all.
    """

    def packaged(self) -> Sequence[Task]:
        """Returns nothing: packs are the user's."""
        return ()

    def describe(self, params: Params, *, shots: int | None = None, seed: int = 0) -> Task:
        """Returns the task `task` of the pack or folder of packs at `path`."""
        check_keys(params, known=("path", "task", CLASSES), provider=PROVIDER)
        path = path_of(params, provider=PROVIDER)
        file, whole = _find(path, text_of(params, "task", provider=PROVIDER))
        pool = restricted(whole, params, provider=PROVIDER)
        return describe_pool(pool, provider=PROVIDER, params={**params, "path": str(file)}, shots=shots, seed=seed)

    def load(self, task: Task) -> TaskData:
        """Returns the arrays of `task`."""
        path = path_of(task.params, provider=PROVIDER)
        _, pool = _find(path, text_of(task.params, "task", provider=PROVIDER))
        return load_pool(restricted(pool, task.params, provider=PROVIDER), task=task)

    @staticmethod
    def available(folder: Path) -> Sequence[Task]:
        """Returns the tasks of all packs in `folder`, seed 0, all shots; files of other names are passed over.

        Raises:
            DataError: if there is no such folder, or a pack lacks an array.
            UnsafeFileError: if a pack is not a plain .npz file.
        """
        tasks: list[Task] = []
        for file, known in _packs_at(existing(folder)).items():
            for name, make in _pools(file, known).items():
                params = {"path": str(file), "task": name}
                tasks.append(describe_pool(make(), provider=PROVIDER, params=params, shots=None, seed=0))
        return tasks


def _packs_at(path: Path) -> Mapping[Path, PackFormat]:
    if path.is_dir():
        return {path / known.file: known for known in FORMATS if (path / known.file).is_file()}
    for known in FORMATS:
        if path.name == known.file:
            return {path: known}
    raise DataError(f"{path}: not a known pack; known: {', '.join(known.file for known in FORMATS)}")


def _find(path: Path, name: str) -> tuple[Path, Pool]:
    """Returns the file below `path` that has the task `name`, and its pool."""
    files = _packs_at(path)
    if not files:
        raise DataError(f"{path}: no pack in this folder; known: {', '.join(known.file for known in FORMATS)}")
    family = name.partition("-")[0]
    likely = [file for file, known in files.items() if known.family == family]
    for file in likely:
        if name in _pools(file, files[file]):
            return file, _pool(file, files[file], file.stat().st_mtime_ns, name)
    raise UnknownNameError("task", name=name, known=[n for file in likely or files for n in _pools(file, files[file])])


def _pools(file: Path, known: PackFormat) -> Pools:
    return _read(file, known, file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _read(file: Path, known: PackFormat, mtime_ns: int) -> Pools:  # with the time in the key a new file is read again
    arrays = read_npz(file, required=("x", *known.per_image, *known.per_class))
    x = arrays["x"]
    is_known = x.ndim in known.axes and (x.ndim < COLOUR or x.shape[-1] in (1, 3))
    if x.dtype != np.uint8 or not len(x) or not is_known:
        raise DataError(f"{file}: x is {x.dtype} {x.shape}, not {known.content} in uint8; make the pack again")
    for name in known.per_image:
        if arrays[name].shape != (len(x),):
            raise DataError(f"{file}: {name} has shape {arrays[name].shape} for {len(x)} examples; make the pack again")
    if "y" in arrays and (arrays["y"].dtype.kind not in "iu" or arrays["y"].min() < 0):
        raise DataError(f"{file}: y has to be class indices from 0; make the pack again")
    for name in known.per_class:
        if arrays["y"].max() >= len(arrays[name]):
            raise DataError(f"{file}: y goes to {arrays['y'].max()}, beyond {name}; make the pack again")
    return known.pools(arrays)


@functools.lru_cache(maxsize=8)
def _pool(file: Path, known: PackFormat, mtime_ns: int, name: str) -> Pool:
    return _read(file, known, mtime_ns)[name]()
