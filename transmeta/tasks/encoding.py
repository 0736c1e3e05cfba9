"""Turns the columns of a table into float32 features, the same way for training data and for new data."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from transmeta.errors import DataError
from transmeta.tasks.labels import shown
from transmeta.tasks.split import Index

Features = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]
Column = Numbers | npt.NDArray[np.str_]
"""Numbers, or texts where the column is categorical; a missing text is `MISSING`."""

MAX_CATEGORIES: Final = 64
MISSING: Final = "(missing)"
_LARGEST: Final = 1e30


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ColumnEncoder:
    """How one column becomes features.

    Attributes:
        categories: one feature each, 1 where the value is it; None for a column of numbers.
        mean: subtracted from numbers.
        scale: what numbers are divided by.
    """

    name: str
    categories: tuple[str, ...] | None = None
    mean: float = 0.0
    scale: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TableEncoder:
    """How a table becomes features; a value that can be kept as JSON beside a model."""

    columns: tuple[ColumnEncoder, ...]

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(1 if column.categories is None else len(column.categories) for column in self.columns)

    def encode(self, table: Mapping[str, Column], *, where: str) -> Features:
        """Returns the features (rows, width) of `table`; other columns are passed over, new categories are all zeros.

        Raises:
            DataError: if a column is missing, has texts for numbers, or numbers that are not finite.
        """
        return np.concatenate([self._encode(column, table, where) for column in self.columns], axis=1)

    def _encode(self, column: ColumnEncoder, table: Mapping[str, Column], where: str) -> Features:
        values = table[nearest_column(column.name, known=table, where=where)]
        if column.categories is not None:
            texts = values.astype(np.str_)
            is_category = texts[:, None] == np.array(column.categories)[None, :]
            return np.asarray(is_category, dtype=np.float32)
        if values.dtype.kind != "f":
            raise DataError(f"{where}: column {shown(column.name)} holds texts, and numbers were learned; correct it")
        check_finite(values.astype(np.float64), name=column.name, where=where)
        return ((values.astype(np.float64) - column.mean) / column.scale).astype(np.float32)[:, None]


def fit_encoder(table: Mapping[str, Column], *, train: Index, where: str) -> TableEncoder:
    """Returns the encoder for `table`.

    Numbers get mean 0 and deviation 1 on the rows `train`. Categories are those of the whole table, so that the
    number of features does not depend on the split: the 64 most frequent ones, others are all zeros.

    Raises:
        DataError: if a column holds numbers that are not finite.
    """
    return TableEncoder(columns=tuple(_fit(name, values, train, where) for name, values in table.items()))


def check_finite(values: npt.NDArray[np.floating], *, name: str, where: str) -> None:
    """Checks that the numbers of the column `name` can be learned from.

    Raises:
        DataError: with the count of those that are missing, infinite, or larger than 1e30.
    """
    is_missing = np.isnan(values)
    if is_missing.any():
        raise DataError(
            f"{where}: column {shown(name)} has {int(is_missing.sum())} missing numbers (NaN); fill them in or remove "
            "the rows or the column"
        )
    is_huge = np.abs(values) > _LARGEST
    if is_huge.any():
        raise DataError(
            f"{where}: column {shown(name)} has {int(is_huge.sum())} infinite or huge numbers; correct or remove them"
        )


def nearest_column(
    name: str, *, known: Mapping[str, Column] | Sequence[str], where: str, remedy: str | None = None
) -> str:
    """Returns `name` if it is one of the columns.

    Args:
        remedy: what to do about it, where it is not the file that has to be corrected.

    Raises:
        DataError: if it is not, with the nearest column.
    """
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        columns = ", ".join(list(known)[:8]) + (", ..." if len(known) > 8 else "")
        hint = f"did you mean {shown(nearest[0])}?" if nearest else f"it has {columns or 'none'}"
        raise DataError(f"{where}: no column {shown(name)}; {hint}" + (f"; {remedy}" if remedy else ""))
    return name


def _fit(name: str, values: Column, train: Index, where: str) -> ColumnEncoder:
    if values.dtype.kind != "f":
        categories, counts = np.unique(values.astype(np.str_), return_counts=True)
        frequent = np.argsort(-counts, kind="stable")[:MAX_CATEGORIES]
        return ColumnEncoder(name=name, categories=tuple(str(category) for category in np.sort(categories[frequent])))
    numbers = values.astype(np.float64)
    check_finite(numbers, name=name, where=where)
    known = numbers[train]
    mean = float(known.mean())
    deviation = float(known.std())
    is_constant = deviation <= 1e-9 * max(1e-30, abs(mean))
    return ColumnEncoder(name=name, mean=mean, scale=1.0 if is_constant else deviation)
