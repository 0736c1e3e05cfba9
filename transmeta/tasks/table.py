"""A CSV or Parquet file as a task: one row is one example, one column is the label."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

import numpy as np
import numpy.typing as npt

from transmeta.core.task import Modality, Params, Task
from transmeta.errors import DataError
from transmeta.tasks import fingerprint
from transmeta.tasks.encoding import MISSING, Column, Features, TableEncoder, fit_encoder, nearest_column
from transmeta.tasks.labels import check_splittable, class_indices, class_texts, shown
from transmeta.tasks.params import check_keys, existing, path_of, slug, text_of
from transmeta.tasks.split import OWN_FRACTIONS, Index, Limits, Partition, check_shots, row_groups, stratified
from transmeta.training.data import Labels, TaskData
from transmeta.training.seeding import derive_seed

if TYPE_CHECKING:
    import pandas

PROVIDER: Final = "table"
NAME_THE_LABEL: Final = "name the column to predict with --label (label= in Python)"
SUFFIXES: Final = frozenset({".csv", ".parquet", ".pq"})


@final
class TableTasks:
    """Tasks by the parameters `path`, a CSV or Parquet file, and `label`, the column to predict.

    Split 60/20/20 by seed, identical rows of one class in one split; shots restrict the training split only. How
    columns become features is said in `encoding.fit_encoder`; numbers are standardised by the whole training split,
    so that tasks that differ in shots have the same features.
    """

    def packaged(self) -> Sequence[Task]:
        """Returns nothing: tables are the user's."""
        return ()

    def describe(self, params: Params, *, shots: int | None = None, seed: int = 0) -> Task:
        """Returns the task; a column with missing or infinite numbers is refused here."""
        path, label = _arguments(params)
        content = _read(path, label)
        name = slug(path.stem, default="table")
        return Task(
            name=name,
            provider=PROVIDER,
            params={"path": str(path), "label": label},
            dataset=name,
            domain="tables",
            modality=Modality.TABULAR,
            shape=(_fit(content, path=path, seed=seed).width,),
            class_count=len(content.class_names),
            fingerprint=content.fingerprint,
            shots=shots,
            seed=seed,
        )

    def load(self, task: Task) -> TaskData:
        """Returns the arrays of `task`."""
        path, label = _arguments(task.params)
        content = _read(path, label)
        fingerprint.check_unchanged(task, found=content.fingerprint)
        x = _fit(content, path=path, seed=task.seed).encode(content.table, where=str(path))
        partition = _partition(content, seed=task.seed)
        check_shots(task.shots, labels=content.y)
        limited = partition.limited(content.y, limits=Limits(train=task.shots), seed=derive_seed(task.seed, "shots"))
        return limited.take(x, content.y, class_names=content.class_names)

    @staticmethod
    def encoder(task: Task) -> TableEncoder:
        """Returns what turns new rows into the features of `task`, to be kept beside a model.

        Raises:
            DataError: if the data is gone, or has changed since the task was described.
        """
        path, label = _arguments(task.params)
        content = _read(path, label)
        fingerprint.check_unchanged(task, found=content.fingerprint)
        return _fit(content, path=path, seed=task.seed)


def read_unlabelled(path: Path, *, encoder: TableEncoder) -> Features:
    """Returns the rows of a CSV or Parquet file as float32 features (rows, `encoder.width`), for prediction.

    Raises:
        DataError: if a column is missing or cannot be used.
    """
    file = existing(path)
    frame = _frame(file)
    wanted = [nearest_column(column.name, known=list(frame.columns), where=str(file)) for column in encoder.columns]
    return encoder.encode(_columns(frame[wanted], where=str(file)), where=str(file))


def read_labels(path: Path, *, label: str) -> tuple[str, ...] | None:
    """Returns the class that the column `label` names in each row; None if there is no such column, or it is empty.

    Raises:
        DataError: if the file cannot be read, or only some of the rows have a label.
    """
    file = existing(path)
    frame = _frame(file)
    if label not in frame.columns or frame[label].isna().all():
        return None
    where = f"{file}: column {shown(label)}"
    return class_texts(_label_values(frame[label], where=where), where=where)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Content:
    table: Mapping[str, Column]
    y: Labels
    copies: Index
    class_names: tuple[str, ...]
    fingerprint: str


def _arguments(params: Params) -> tuple[Path, str]:
    check_keys(params, known=("path", "label"), provider=PROVIDER)
    return path_of(params, provider=PROVIDER), text_of(params, "label", provider=PROVIDER)


def _read(path: Path, label: str) -> _Content:
    stat = path.stat()
    return _cached(path, label, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4)
def _cached(path: Path, label: str, mtime_ns: int, size: int) -> _Content:  # a changed file has another key
    where = str(path)
    frame = _frame(path)
    nearest_column(label, known=list(frame.columns), where=where, remedy=NAME_THE_LABEL)
    if frame.shape[1] < 2:
        raise DataError(f"{where}: no column but the label {shown(label)}; give at least one to learn from")
    of_label = f"{where}: column {shown(label)}"
    y, class_names = class_indices(_label_values(frame[label], where=of_label), where=of_label)
    table = _columns(frame.drop(columns=[label]), where=where)
    every = np.arange(len(y))
    copies = row_groups(fit_encoder(table, train=every, where=where).encode(table, where=where), y)
    check_splittable(y, groups=copies, class_names=class_names, parts=3, where=where, what="rows")
    return _Content(
        table=table,
        y=y,
        copies=copies,
        class_names=class_names,
        fingerprint=fingerprint.of_file(path, extra=label),
    )


def _partition(content: _Content, *, seed: int) -> Partition:
    train, validation, test = stratified(content.y, groups=content.copies, fractions=OWN_FRACTIONS, seed=seed)
    return Partition(train=train, validation=validation, test=test)


def _fit(content: _Content, *, path: Path, seed: int) -> TableEncoder:
    return fit_encoder(content.table, train=_partition(content, seed=seed).train, where=str(path))


def _frame(path: Path) -> "pandas.DataFrame":
    import pandas  # takes half a second to import

    suffix = path.suffix.lower()
    if path.is_dir() or suffix not in SUFFIXES:
        raise DataError(f"{path}: not a table; give a .csv or .parquet file")
    try:
        frame = _csv(path) if suffix == ".csv" else pandas.read_parquet(path)
    except (ValueError, OSError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a readable {suffix[1:]} file ({reason}); write it again") from error
    frame.columns = [str(name) for name in frame.columns]
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"{path}: two columns {shown(twice)}; rename one")
    if not len(frame):
        raise DataError(f"{path}: no rows; add some")
    return frame


def _csv(path: Path) -> "pandas.DataFrame":
    import pandas

    return pandas.read_csv(path, encoding="utf-8-sig", low_memory=False)  # types from whole columns, not from chunks


def _label_values(series: "pandas.Series", *, where: str) -> npt.NDArray[np.generic]:
    import pandas

    missing = int(series.isna().sum())
    if missing:
        raise DataError(f"{where}: {missing} missing labels; remove these rows or label them")
    kinds = pandas.api.types
    for is_kind, dtype in (
        (kinds.is_bool_dtype, np.bool_),
        (kinds.is_integer_dtype, np.int64),
        (kinds.is_float_dtype, np.float64),
    ):
        if is_kind(series):
            return series.to_numpy(dtype=dtype)
    return series.to_numpy(dtype=np.object_)


def _columns(frame: "pandas.DataFrame", *, where: str) -> dict[str, Column]:
    return {str(name): _column(series, where=f"{where}: column {shown(str(name))}") for name, series in frame.items()}


def _column(series: "pandas.Series", *, where: str) -> Column:
    """Returns numbers as float64, missing ones as NaN; booleans and texts as texts, missing ones as `MISSING`."""
    import pandas

    kinds = pandas.api.types
    if kinds.is_numeric_dtype(series) and not kinds.is_bool_dtype(series) and not kinds.is_complex_dtype(series):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    is_text = isinstance(series.dtype, pandas.CategoricalDtype) or kinds.is_string_dtype(series)
    if not (is_text or kinds.is_bool_dtype(series) or kinds.is_object_dtype(series)):
        raise DataError(f"{where} is of type {series.dtype}; turn it into numbers or texts, or remove it")
    values = series.to_numpy(dtype=np.object_)
    is_missing = series.isna().to_numpy()
    if not all(isinstance(value, str | int | float | np.generic) for value in values[~is_missing]):
        raise DataError(f"{where} holds lists or objects; turn it into numbers or texts, or remove it")
    return np.array([MISSING if gone else str(value) for value, gone in zip(values, is_missing, strict=True)])
