"""Labels that people bring: any values to class indices, and whether three splits can be made of them."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from transmeta.errors import DataError
from transmeta.tasks.split import Index, group_labels
from transmeta.training.data import Labels

MAX_CLASSES: Final = 10_000
SHOWN: Final = 60


def shown(text: str) -> str:
    """Returns `text` quoted and short enough for a message of one line."""
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "...")


def class_indices(values: npt.NDArray[np.generic], *, where: str) -> tuple[Labels, tuple[str, ...]]:
    """Returns (class index of each value, names of the classes), classes in the order of their values.

    Args:
        values: (count,) of integers, booleans, texts, or floats that are whole numbers.
        where: how messages name the place, such as the file and its column.

    Raises:
        DataError: for values that are not classes: missing, fractions, objects, or more than `MAX_CLASSES`.
    """
    names, indices = np.unique(_known(values, where), return_inverse=True)
    check_class_count(len(names), where=where)
    return indices.astype(np.int64).reshape(-1), tuple(str(name) for name in names)


def class_texts(values: npt.NDArray[np.generic], *, where: str) -> tuple[str, ...]:
    """Returns the name of each value's class, as `class_indices` would name it, however few classes there are.

    Raises:
        DataError: for values that are not classes.
    """
    return tuple(str(value) for value in _known(values, where))


def check_class_count(count: int, *, where: str) -> None:
    """Checks that there are from 2 to `MAX_CLASSES` classes.

    Raises:
        DataError: if there are not.
    """
    if count < 2:
        raise DataError(f"{where}: {count} class{'' if count == 1 else 'es'}; at least 2 are needed to learn anything")
    if count > MAX_CLASSES:
        raise DataError(
            f"{where}: {count} classes, and at most {MAX_CLASSES} can be learned; merge classes, or check that the "
            "labels are classes and not names or measurements"
        )


def check_splittable(
    y: Labels, *, groups: Index, class_names: Sequence[str], parts: int, where: str, what: str
) -> None:
    """Checks that each class has a different example for each part of a split.

    Args:
        groups: equal for examples that have to stay together.
        parts: number of splits to be made.
        what: plural of an example, such as `images`.

    Raises:
        DataError: naming the smallest class that has not.
    """
    leaders, _ = group_labels(y, groups=groups)
    counts = np.bincount(leaders, minlength=len(class_names))
    smallest = int(np.argmin(counts))
    if counts[smallest] < parts:
        total = int(np.sum(y == smallest))
        copies = f" ({total} with copies, here or in other classes)" if total > counts[smallest] else ""
        raise DataError(
            f"{where}: class {shown(class_names[smallest])} has {counts[smallest]} different {what}{copies}; "
            f"at least {parts} are needed, one for each split: add {what} or leave the class out"
        )


def _known(values: npt.NDArray[np.generic], where: str) -> npt.NDArray[np.generic]:
    kinds = {"O": _texts, "f": _whole_numbers}
    if values.dtype.kind not in "biuUfO":
        raise DataError(f"{where}: labels of type {values.dtype}; give integers or texts")
    return kinds[values.dtype.kind](values, where) if values.dtype.kind in kinds else values


def _texts(values: npt.NDArray[np.generic], where: str) -> npt.NDArray[np.generic]:
    missing = sum(1 for value in values if value is None or value != value)
    if missing:
        raise DataError(f"{where}: {missing} missing labels; remove these rows or label them")
    if not all(isinstance(value, str | int | np.integer | np.bool_) for value in values):
        raise DataError(f"{where}: labels that are neither texts nor integers; convert them first")
    return np.array([str(value) for value in values])


def _whole_numbers(values: npt.NDArray[np.generic], where: str) -> npt.NDArray[np.generic]:
    numbers = values.astype(np.float64)
    missing = int(np.isnan(numbers).sum())
    if missing:
        raise DataError(f"{where}: {missing} missing labels; remove these rows or label them")
    fractional = numbers[~np.isfinite(numbers) | (numbers != np.round(numbers)) | (np.abs(numbers) > 2**53)]
    if len(fractional):
        raise DataError(f"{where}: the label {fractional[0]:g} is a measurement, not a class; only classes are learned")
    return numbers.astype(np.int64)
