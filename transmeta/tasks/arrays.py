"""NumPy arrays as a task: kept in an .npz file, so that workers and later runs find the same data."""

import dataclasses
import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

import numpy as np
import numpy.typing as npt

from transmeta.core.task import Modality, Params, Task, check_identifier
from transmeta.errors import DataError
from transmeta.tasks import fingerprint
from transmeta.tasks.encoding import Column, TableEncoder, check_finite, fit_encoder
from transmeta.tasks.labels import check_splittable, class_indices
from transmeta.tasks.npz import read_npz
from transmeta.tasks.params import check_keys, path_of, slug
from transmeta.tasks.split import (
    OWN_FRACTIONS,
    Index,
    Limits,
    Partition,
    check_shots,
    content_groups,
    row_groups,
    stratified,
)
from transmeta.training.data import Examples, Labels, TaskData
from transmeta.training.files import write_atomically
from transmeta.training.seeding import derive_seed

Array = npt.NDArray[np.generic]

PROVIDER: Final = "arrays"


@final
class ArrayTasks:
    """Tasks by the parameter `path`, an .npz file with arrays `x` and `y`, such as `save` writes.

    Images are (count, height, width) or (count, height, width, 1 or 3), uint8 or floats from 0 to 1; tables are
    (count, columns), standardised by the whole training split. Labels are integers or texts. Split 60/20/20 by
    seed, identical examples in one split; shots restrict the training split only.
    """

    def packaged(self) -> Sequence[Task]:
        """Returns nothing: arrays are the user's."""
        return ()

    def describe(self, params: Params, *, shots: int | None = None, seed: int = 0) -> Task:
        """Returns the task."""
        path = _path(params)
        content = _read(path)
        name = slug(path.stem, default="arrays")
        return Task(
            name=name,
            provider=PROVIDER,
            params={"path": str(path)},
            dataset=name,
            domain="tables" if content.is_table else "images",
            modality=Modality.TABULAR if content.is_table else Modality.IMAGE,
            shape=content.x.shape[1:],
            class_count=len(content.class_names),
            fingerprint=content.fingerprint,
            shots=shots,
            seed=seed,
        )

    def load(self, task: Task) -> TaskData:
        """Returns the arrays of `task`."""
        path = _path(task.params)
        content = _read(path)
        fingerprint.check_unchanged(task, found=content.fingerprint)
        partition = _partition(content, seed=task.seed)
        x = content.x
        if content.is_table:
            x = encode(x, encoder=_fit(content, path=path, seed=task.seed))
        check_shots(task.shots, labels=content.y)
        limited = partition.limited(content.y, limits=Limits(train=task.shots), seed=derive_seed(task.seed, "shots"))
        return limited.take(x, content.y, class_names=content.class_names)

    @staticmethod
    def save(x: Array, y: Array, *, folder: Path, name: str, seed: int = 0) -> Task:
        """Returns the task of `x` and `y`, all shots, and writes them to `<name>.npz` in `folder`, whole or not at all.

        Raises:
            DataError: for arrays from which nothing can be learned; nothing is written then.
            InputError: for a name that is not safe as a file name.
        """
        check_identifier(name, kind="task name")
        _check(x, y, where=f"arrays {name}")
        labels = np.array([str(label) for label in y]) if y.dtype.kind == "O" else y
        buffer = io.BytesIO()
        np.savez(buffer, x=x, y=labels)
        path = folder / f"{name}.npz"
        write_atomically(path, buffer.getvalue())
        return ArrayTasks().describe({"path": str(path)}, seed=seed)

    @staticmethod
    def encoder(task: Task) -> TableEncoder | None:
        """Returns what standardises new rows for a table's `task`, to be kept beside a model; None for images.

        Raises:
            DataError: if the data is gone, or has changed since the task was described.
        """
        path = _path(task.params)
        content = _read(path)
        fingerprint.check_unchanged(task, found=content.fingerprint)
        return _fit(content, path=path, seed=task.seed) if content.is_table else None


def encode(x: Array, *, encoder: TableEncoder | None) -> Examples:
    """Returns new arrays as a task holds them: images in uint8 with channels, tables standardised by `encoder`.

    Raises:
        DataError: for arrays of another shape, or with numbers that are not finite.
    """
    examples = _examples(x, where="x")
    if (examples.ndim == 2) != (encoder is not None):
        raise DataError(f"x has shape {x.shape}; give {'a table' if encoder else 'images'}, as in training")
    if encoder is None:
        return examples
    if examples.shape[1] != len(encoder.columns):
        raise DataError(f"x has {examples.shape[1]} columns, and {len(encoder.columns)} were learned; give the same")
    return encoder.encode(_named(examples), where="x")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Content:
    x: Examples
    y: Labels
    copies: Index
    class_names: tuple[str, ...]
    fingerprint: str

    @property
    def is_table(self) -> bool:
        return self.x.ndim == 2


def _path(params: Params) -> Path:
    check_keys(params, known=("path",), provider=PROVIDER)
    return path_of(params, provider=PROVIDER)


def _read(path: Path) -> _Content:
    stat = path.stat()
    return _cached(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4)
def _cached(path: Path, mtime_ns: int, size: int) -> _Content:  # a changed file has another key
    arrays = read_npz(path, required=("x", "y"))
    return _check(arrays["x"], arrays["y"], where=str(path))


def _check(x: Array, y: Array, *, where: str) -> _Content:
    examples = _examples(x, where=where)
    if y.ndim != 1 or len(y) != len(x):
        raise DataError(f"{where}: labels of shape {y.shape} for {len(x)} examples; give one label for each")
    labels, class_names = class_indices(y, where=where)
    copies = row_groups(examples, labels) if examples.ndim == 2 else content_groups(examples)
    check_splittable(labels, groups=copies, class_names=class_names, parts=3, where=where, what="examples")
    return _Content(
        x=examples, y=labels, copies=copies, class_names=class_names, fingerprint=fingerprint.of_arrays(x, y)
    )


def _examples(x: Array, *, where: str) -> Examples:
    if not x.size:
        raise DataError(f"{where}: x is empty (shape {x.shape}); give examples")
    if x.dtype.kind not in "biuf":
        raise DataError(f"{where}: x is of type {x.dtype}; give numbers")
    if x.ndim == 2:
        return _rows(x, where=where)
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] not in (1, 3)):
        raise DataError(
            f"{where}: x has shape {x.shape}; give images (count, height, width) or (count, height, width, 1 or 3), "
            "or a table (count, columns)"
        )
    images = _levels(x, where=where)
    return images[..., None] if images.ndim == 3 else images


def _rows(x: Array, *, where: str) -> npt.NDArray[np.float32]:
    rows = x.astype(np.float64)
    for column in range(rows.shape[1]):
        check_finite(rows[:, column], name=str(column), where=where)
    return rows.astype(np.float32)


def _levels(x: Array, *, where: str) -> npt.NDArray[np.uint8]:
    """Returns images as uint8: floats and booleans are taken from 0 to 1, integers from 0 to 255."""
    if x.dtype == np.uint8:
        return x.astype(np.uint8, copy=False)
    numbers = x.astype(np.float64)
    largest = 1.0 if x.dtype.kind in "fb" else 255.0
    wrong = ~((numbers >= 0) & (numbers <= largest))  # true for NaN
    if wrong.any():
        raise DataError(
            f"{where}: x has {int(wrong.sum())} values that are not from 0 to {largest:g}, such as "
            f"{numbers[wrong][0]:g}; scale images to uint8, or to floats from 0 to 1"
        )
    return np.round(numbers * (255.0 / largest)).astype(np.uint8)


def _named(x: Examples) -> dict[str, Column]:
    return {str(number): column.astype(np.float64) for number, column in enumerate(x.T)}


def _partition(content: _Content, *, seed: int) -> Partition:
    train, validation, test = stratified(content.y, groups=content.copies, fractions=OWN_FRACTIONS, seed=seed)
    return Partition(train=train, validation=validation, test=test)


def _fit(content: _Content, *, path: Path, seed: int) -> TableEncoder:
    train = _partition(content, seed=seed).train
    return fit_encoder(_named(content.x), train=train, where=str(path))
