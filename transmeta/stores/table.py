"""A table of learning curves as arrays, such as `meta_test` replays.

Letters: T targets, C configurations, S steps.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transmeta.core.task import Params, ParamValue
from transmeta.core.trial import TrialStatus
from transmeta.errors import ConfigError
from transmeta.stores.table_file import TableFile

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]
A = TypeVar("A", Array, Flags)

REQUIRED: Final = ("target", "config", "step", "value", "cost_s")
OPTIONAL: Final = ("test_value", "source", "strategy", "family", "domain", "seed", "status")
PARAM: Final = "param."
PAIR_FEATURE: Final = "feature."
TARGET_FEATURE: Final = "target_feature."
MOST_CELLS: Final = 100_000_000
"""Targets × configurations × steps; each costs 16 bytes."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Learning curves of configurations on targets. The arrays are read-only.

    Trials that differ in their seed only are averaged, step by step; if one of them failed, the cell failed.

    Attributes:
        targets: sorted.
        configs: sorted.
        values: (T, C, S), higher is better; NaN where the step diverged or was not recorded.
        cost_s: (T, C, S), of each step alone; NaN where it was not recorded.
        test: (T, C), higher is better, of the last step's model; NaN where unknown. None: no such column.
        failed: (T, C), whether the curve ends in failure.
        censored: (T, C), whether it was stopped before its end.
        families: (T,), targets of one family leave a split together; the target itself where there is no such column.
        domains: (T,). None: no such column; likewise below.
        sources: (C,).
        strategies: (C,).
        params: (C,), the hyperparameters that apply to each configuration.
        pair_features: name → (T, C); NaN where unknown.
        target_features: name → (T,); NaN where unknown.
    """

    targets: tuple[str, ...]
    configs: tuple[str, ...]
    values: Array
    cost_s: Array
    test: Array | None
    failed: Flags
    censored: Flags
    families: tuple[str, ...]
    domains: tuple[str, ...] | None
    sources: tuple[str, ...] | None
    strategies: tuple[str, ...] | None
    params: tuple[Params, ...]
    pair_features: Mapping[str, Array]
    target_features: Mapping[str, Array]

    @property
    def observed(self) -> Flags:
        """(T, C), whether the table says anything about the cell."""
        return np.asarray(np.isfinite(self.cost_s).any(axis=2))


def read_table(path: Path, *, configs: Path | None = None) -> Table:
    """Returns the table in a Parquet file: a row for each target, configuration and step.

    Args:
        configs: another Parquet file with the hyperparameters of each configuration, one row each.

    Raises:
        ConfigError: if a column is missing, or a value cannot be true, with its row.
        InputError: if there is no such file.
        UnsafeFileError: if the file is damaged, too large, or could run code.
    """
    file = TableFile(path)
    file.check_has(REQUIRED)
    prefixes = (PARAM, PAIR_FEATURE, TARGET_FEATURE)
    names = [name for name in file.columns if name in REQUIRED + OPTIONAL or name.startswith(prefixes)]
    return _Rows(file.read(names), path=path).table(extra=_params_by_config(configs))


@final
class _Rows:
    """The rows of a table file, on their way into arrays."""

    def __init__(self, rows: pa.Table, *, path: Path) -> None:
        self._rows = rows
        self._path = path
        if not rows.num_rows:
            raise ConfigError(f"{path}: no rows; there is nothing to read")
        self._target, self._targets = self._labels("target")
        self._config, self._configs = self._labels("config")
        self._check_numbers()
        self._step = self._numbers("step").astype(np.int64)
        self._seed = self._codes("seed")[0] if "seed" in rows.column_names else np.zeros_like(self._step)
        self._shape = (len(self._targets), len(self._configs), int(self._step.max()))
        if self._shape[0] * self._shape[1] * self._shape[2] > MOST_CELLS:
            raise ConfigError(
                f"{path}: {self._shape[0]} targets × {self._shape[1]} configurations × {self._shape[2]} steps are more "
                f"than {MOST_CELLS} cells; leave out configurations that were tried on few targets"
            )
        self._pair = self._target * self._shape[1] + self._config
        self._is_last = self._find_last_steps()

    def table(self, *, extra: Mapping[str, Params] | None) -> Table:
        """Returns the rows as arrays.

        Args:
            extra: hyperparameters by configuration, from another file.
        """
        cells = self._pair * self._shape[2] + self._step - 1
        families = self._labels_of("family", self._target, len(self._targets))
        return Table(
            targets=self._targets,
            configs=self._configs,
            values=_mean(self._numbers("value"), cells, shape=self._shape),
            cost_s=_mean(self._numbers("cost_s"), cells, shape=self._shape),
            test=self._test(),
            failed=self._failed(),
            censored=self._with_status(TrialStatus.STOPPED),
            families=families or self._targets,
            domains=self._labels_of("domain", self._target, len(self._targets)),
            sources=self._labels_of("source", self._config, len(self._configs)),
            strategies=self._labels_of("strategy", self._config, len(self._configs)),
            params=self._params(extra),
            pair_features=self._features(PAIR_FEATURE, self._pair, shape=self._shape[:2]),
            target_features=self._features(TARGET_FEATURE, self._target, shape=self._shape[:1]),
        )

    # Columns

    def _labels(self, name: str) -> tuple[Indices, tuple[str, ...]]:
        """Returns the column as indices into its sorted distinct texts."""
        column = self._rows[name].combine_chunks()
        if column.null_count:
            self._refuse(pc.is_null(column).to_numpy(zero_copy_only=False), f"no {name}")
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        texts = column.dictionary.to_pylist()
        order = sorted(set(texts))
        place = {text: index for index, text in enumerate(order)}
        translation = np.array([place[text] for text in texts], dtype=np.int64)
        labels = translation[column.indices.to_numpy()]
        # A dictionary may hold texts that no row uses.
        used, labels = np.unique(labels, return_inverse=True)
        return labels.astype(np.int64), tuple(order[index] for index in used)

    def _numbers(self, name: str) -> Array:
        """Returns the column as numbers; NaN where it holds nothing."""
        column = self._rows[name].combine_chunks()
        try:
            return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        except pa.ArrowException as error:
            raise ConfigError(f"{self._path}: column {name!r} holds {column.type}; give numbers") from error

    def _codes(self, name: str) -> tuple[Indices, Sequence[ParamValue]]:
        """Returns the column as indices into its distinct values; −1 where it holds nothing."""
        column = self._rows[name].combine_chunks()
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        values = column.dictionary.to_pylist()
        # Dictionaries may repeat a value; NaN means that there is none.
        first: dict[ParamValue, int] = {}
        merged = [first.setdefault(value, i) if _is_known(value) else -1 for i, value in enumerate(values)]
        return np.array([*merged, -1], dtype=np.int64)[codes], values

    # Checks

    def _check_numbers(self) -> None:
        step, value, cost_s = self._numbers("step"), self._numbers("value"), self._numbers("cost_s")
        with np.errstate(invalid="ignore"):
            self._refuse(~((step >= 1) & (step == np.floor(step)) & (step <= MOST_CELLS)), "the step is not 1, 2, ...")
        self._refuse(np.isinf(value), "the value is infinite; write NaN if it diverged")
        self._refuse(~(np.isfinite(cost_s) & (cost_s >= 0)), "the cost is not a number of seconds")

    def _find_last_steps(self) -> Flags:
        """Returns which rows are the last of their trial, after checking that none is there twice."""
        order = np.lexsort((self._step, self._seed, self._pair))
        pair, seed, step = self._pair[order], self._seed[order], self._step[order]
        same_trial = (pair[1:] == pair[:-1]) & (seed[1:] == seed[:-1])
        twice = np.zeros(len(order), dtype=np.bool_)
        twice[order[1:]] = same_trial & (step[1:] == step[:-1])
        self._refuse(twice, "the step is there twice; a column 'seed' would tell repetitions apart")
        is_last = np.ones(len(order), dtype=np.bool_)
        is_last[order[:-1]] = ~same_trial
        return is_last

    def _refuse(self, faulty: Flags, reason: str) -> None:
        if not faulty.any():
            return
        row = int(np.argmax(faulty))
        cells = ", ".join(f"{name} {self._rows[name][row].as_py()!r}" for name in REQUIRED)
        raise ConfigError(f"{self._path}, row {row + 1} ({cells}): {reason}")

    # Parts of the table

    def _test(self) -> Array | None:
        if "test_value" not in self._rows.column_names:
            return None
        test = self._numbers("test_value")
        self._refuse(np.isinf(test), "the test value is infinite")
        known = self._is_last & ~np.isnan(test)
        return _mean(test[known], self._pair[known], shape=self._shape[:2])

    def _failed(self) -> Flags:
        if "status" in self._rows.column_names:
            return self._with_status(TrialStatus.FAILED)
        # pandas writes NaN as an empty cell, so without a status both mean that the trial diverged.
        failed = np.zeros(self._shape[:2], dtype=np.bool_)
        failed.flat[self._pair[self._is_last & np.isnan(self._numbers("value"))]] = True
        return _frozen(failed)

    def _with_status(self, status: TrialStatus) -> Flags:
        found = np.zeros(self._shape[:2], dtype=np.bool_)
        if "status" in self._rows.column_names:
            labels, names = self._labels("status")
            if status.value in names:
                found.flat[self._pair[labels == names.index(status.value)]] = True
        return _frozen(found)

    def _labels_of(self, name: str, group: Indices, count: int) -> tuple[str, ...] | None:
        """Returns the text that column `name` holds for each target or configuration; None without such a column."""
        if name not in self._rows.column_names:
            return None
        labels, texts = self._labels(name)
        return tuple(texts[index] for index in self._single(labels, group, count, name=name))

    def _params(self, extra: Mapping[str, Params] | None) -> tuple[Params, ...]:
        params: list[dict[str, ParamValue]] = [{} for _ in self._configs]
        for name in self._rows.column_names:
            if not name.startswith(PARAM):
                continue
            codes, values = self._codes(name)
            for config, code in enumerate(self._single(codes, self._config, len(params), name=name)):
                if code >= 0:
                    params[config][name.removeprefix(PARAM)] = values[code]
        if extra is None:
            return tuple(params)
        missing = [config for config in self._configs if config not in extra]
        if missing:
            raise ConfigError(f"{self._path}: the file of configurations lacks {missing[0]!r}; add it")
        return tuple({**extra[config], **own} for config, own in zip(self._configs, params, strict=True))

    def _single(self, codes: Indices, group: Indices, count: int, *, name: str) -> Indices:
        """Returns the one code of each group, after checking that there is only one."""
        single = np.zeros(count, dtype=np.int64)
        single[group] = codes
        self._refuse(single[group] != codes, f"the {name} differs from that in other rows of the same target or config")
        return single

    def _features(self, prefix: str, group: Indices, *, shape: tuple[int, ...]) -> Mapping[str, Array]:
        features = {}
        for name in self._rows.column_names:
            if name.startswith(prefix):
                values = self._numbers(name)
                self._refuse(np.isinf(values), f"the {name} is infinite")
                known = ~np.isnan(values)
                features[name.removeprefix(prefix)] = _mean(values[known], group[known], shape=shape)
        return features


def _mean(values: Array, cells: Indices, *, shape: tuple[int, ...]) -> Array:
    """Returns the mean of `values` for each of the flat `cells`; NaN where there is none, or one is NaN."""
    size = int(np.prod(shape))
    counts = np.bincount(cells, minlength=size)
    with np.errstate(invalid="ignore"):
        means = np.bincount(cells, weights=values, minlength=size) / counts
    return _frozen(means.reshape(shape))


def _params_by_config(path: Path | None) -> Mapping[str, Params] | None:
    if path is None:
        return None
    file = TableFile(path)
    file.check_has(["config"])
    found: dict[str, Params] = {}
    for number, row in enumerate(file.read(file.columns).to_pylist(), start=1):
        config = row.pop("config")
        if not isinstance(config, str) or config in found:
            raise ConfigError(f"{path}, row {number}: configuration {config!r} is no text, or is there twice")
        found[config] = {name: value for name, value in row.items() if _is_known(value)}
    return found


def _is_known(value: ParamValue | None) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _frozen(array: A) -> A:
    array.flags.writeable = False
    return array
