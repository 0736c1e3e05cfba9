"""What past trials say about each arm on each known target, as arrays: the data that policies learn from.

Letters: T known targets, A arms. Regret g_t(c) = clip((best − y)/(best − median), 0, 3), with best and median over the
arms that were tried on target t, and y the validation utility (higher is better).
"""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final, final

import numpy as np
import numpy.typing as npt

from transmeta.core.experience import OPERATIONS, Experience
from transmeta.core.model import SCRATCH
from transmeta.core.trial import Arm, TrialResult, TrialStatus
from transmeta.errors import UnsafeFileError

Array = npt.NDArray[np.float64]
Features = Mapping[str, float]

WORST: Final = 3.0
"""The regret of an arm that failed, and the most that any arm can have."""
FEWEST_ARMS: Final = 2
"""Regret is relative to other arms of the same target, so a target with fewer says nothing."""


def fit_of(pair: Features) -> Features:
    """Returns the features of a pair that say how well it fits, and not only what it costs."""
    return {name: value for name, value in pair.items() if name != OPERATIONS}


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KnownTarget:
    """A target task that trials exist for.

    Attributes:
        pairs: source id → pair features, for the sources that were tried.
    """

    id: str
    dataset: str
    domain: str
    features: Features
    pairs: Mapping[str, Features]


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TableRecord:
    """A `RegretTable` as JSON data.

    Attributes:
        cells: (target index, arm index, utility or None, regret, cost in CPU seconds), for the cells that exist.
    """

    targets: tuple[KnownTarget, ...]
    arms: tuple[Arm, ...]
    cells: tuple[tuple[int, int, float | None, float, float], ...]


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegretTable:
    """Targets × arms. The arrays are read-only, and NaN marks a cell that was never tried.

    Attributes:
        arms: ordered by `Arm.key`.
        utility: (T, A); NaN also where every trial failed.
        regret: (T, A), in [0, 3].
        cost_s: (T, A), CPU seconds of one trial.
    """

    targets: tuple[KnownTarget, ...]
    arms: tuple[Arm, ...]
    utility: Array
    regret: Array
    cost_s: Array

    @classmethod
    def from_experience(cls, experience: Sequence[Experience]) -> "RegretTable":
        """Returns the table of `experience`, whatever its order.

        CRASHED rows are skipped; a FAILED one has regret 3; a STOPPED one counts only where the arm has nothing better
        on that target, since its last value is not final. Seeds are averaged. Targets with fewer than two arms are
        left out.
        """
        rows = sorted((row for row in experience if row.is_lesson), key=lambda row: row.id)
        by_target: dict[str, list[Experience]] = defaultdict(list)
        for row in rows:
            by_target[row.result.spec.target.id].append(row)
        cells = {
            target: merged
            for target, group in sorted(by_target.items())
            if len(merged := _merge_arms(group)) >= FEWEST_ARMS
        }
        arms = {key: cell[0] for merged in cells.values() for key, cell in merged.items()}
        keys = sorted(arms)
        utility, regret, cost_s = (np.full((len(cells), len(keys)), np.nan) for _ in range(3))
        columns = {key: column for column, key in enumerate(keys)}
        for i, merged in enumerate(cells.values()):
            regrets = _regret(merged)
            for key, (_, results) in merged.items():
                j = columns[key]
                utility[i, j] = _mean(_scores(results))
                regret[i, j] = regrets[key]
                cost_s[i, j] = np.mean([result.cost_s for result in results])
        return cls._of(
            targets=tuple(_known_target(by_target[target]) for target in cells),
            arms=tuple(arms[key] for key in keys),
            utility=utility,
            regret=regret,
            cost_s=cost_s,
        )

    @classmethod
    def from_record(cls, record: TableRecord) -> "RegretTable":
        """Returns the table that `record` holds.

        Raises:
            UnsafeFileError: if a cell points outside the table or the arms are not in order.
        """
        shape = (len(record.targets), len(record.arms))
        keys = [arm.key for arm in record.arms]
        if sorted(set(keys)) != keys:
            raise UnsafeFileError("table: its arms are not in order or not distinct; save the policy again")
        utility, regret, cost_s = (np.full(shape, np.nan) for _ in range(3))
        for i, j, value, loss, cost in record.cells:
            if not (0 <= i < shape[0] and 0 <= j < shape[1]):
                raise UnsafeFileError(f"table: the cell ({i}, {j}) is outside {shape}; save the policy again")
            utility[i, j] = np.nan if value is None else value
            regret[i, j] = loss
            cost_s[i, j] = cost
        return cls._of(targets=record.targets, arms=record.arms, utility=utility, regret=regret, cost_s=cost_s)

    @property
    def record(self) -> TableRecord:
        """The table as JSON data."""
        cells = tuple(
            (
                int(i),
                int(j),
                None if np.isnan(self.utility[i, j]) else float(self.utility[i, j]),
                float(self.regret[i, j]),
                float(self.cost_s[i, j]),
            )
            for i, j in np.argwhere(self.is_tried)
        )
        return TableRecord(targets=self.targets, arms=self.arms, cells=cells)

    @property
    def is_tried(self) -> npt.NDArray[np.bool_]:
        """(T, A): whether the arm was tried on the target."""
        return ~np.isnan(self.regret)

    @property
    def datasets(self) -> tuple[str, ...]:
        """Data sets of the targets, sorted and distinct."""
        return tuple(sorted({target.dataset for target in self.targets}))

    def rows_of(self, datasets: Collection[str]) -> tuple[int, ...]:
        """Returns the indices of the targets that belong to `datasets`."""
        return tuple(i for i, target in enumerate(self.targets) if target.dataset in datasets)

    def without(self, datasets: Collection[str]) -> "RegretTable":
        """Returns the table without the targets of `datasets`, and without arms that nobody else tried."""
        is_kept = np.array([target.dataset not in datasets for target in self.targets], dtype=np.bool_)
        rows = np.flatnonzero(is_kept)
        columns = np.flatnonzero(self.is_tried[rows].any(axis=0))
        block = np.ix_(rows, columns)
        return self._of(
            targets=tuple(self.targets[i] for i in rows),
            arms=tuple(self.arms[j] for j in columns),
            utility=self.utility[block],
            regret=self.regret[block],
            cost_s=self.cost_s[block],
        )

    def take(self, rows: npt.NDArray[np.int64]) -> "RegretTable":
        """Returns the table of some targets, with all arms."""
        return self._of(
            targets=tuple(self.targets[i] for i in rows),
            arms=self.arms,
            utility=self.utility[rows],
            regret=self.regret[rows],
            cost_s=self.cost_s[rows],
        )

    def columns(self) -> dict[str, int]:
        """Returns arm key → column."""
        return {arm.key: column for column, arm in enumerate(self.arms)}

    @classmethod
    def _of(
        cls, *, targets: tuple[KnownTarget, ...], arms: tuple[Arm, ...], utility: Array, regret: Array, cost_s: Array
    ) -> "RegretTable":
        for array in (utility, regret, cost_s):
            array.setflags(write=False)
        return cls(targets=targets, arms=arms, utility=utility, regret=regret, cost_s=cost_s)


def is_scratch(source: str) -> bool:
    """Returns whether `source` is an architecture without weights, so that nothing is transferred."""
    return source == SCRATCH or source.startswith(f"{SCRATCH}-")


def regret_scale(utilities: Array) -> float:
    """Returns best − median of finite `utilities`; best − worst where these two are equal; 1 where all are."""
    best = float(np.max(utilities))
    for reference in (float(np.median(utilities)), float(np.min(utilities))):
        if best - reference > 1e-12:
            return best - reference
    return 1.0


Cells = Mapping[str, tuple[Arm, Sequence[TrialResult]]]


def _merge_arms(rows: Sequence[Experience]) -> Cells:
    """Returns arm key → the arm and the results that count for it."""
    results: dict[str, tuple[Arm, list[TrialResult]]] = {}
    for row in rows:
        results.setdefault(row.arm.key, (row.arm, []))[1].append(row.result)
    merged: dict[str, tuple[Arm, Sequence[TrialResult]]] = {}
    for key, (arm, group) in results.items():
        final_ones = [result for result in group if result.status is not TrialStatus.STOPPED]
        counted = final_ones or [result for result in group if _is_valid(result)]
        if counted:
            merged[key] = (arm, counted)
    return merged


def _is_valid(result: TrialResult) -> bool:
    """Whether its score may be used; a FAILED trial that reported before it diverged does not count."""
    is_scored = result.score is not None and math.isfinite(result.score)
    return is_scored and result.status in (TrialStatus.COMPLETED, TrialStatus.STOPPED)


def _scores(results: Sequence[TrialResult]) -> list[float]:
    return [result.utility for result in results if _is_valid(result) and result.utility is not None]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _regret(cells: Cells) -> dict[str, float]:
    means = np.array([_mean(_scores(results)) for _, results in cells.values()])
    means = means[~np.isnan(means)]
    if not means.size:
        return dict.fromkeys(cells, WORST)
    best, scale = float(means.max()), regret_scale(means)
    regrets = {}
    for key, (_, results) in cells.items():
        losses = [min(max((best - score) / scale, 0.0), WORST) for score in _scores(results)]
        regrets[key] = _mean(losses + [WORST] * (len(results) - len(losses)))
    return regrets


def _known_target(rows: Sequence[Experience]) -> KnownTarget:
    task = rows[0].result.spec.target
    pairs = {row.arm.source: row.pair_features for row in rows}
    return KnownTarget(
        id=task.id,
        dataset=task.dataset,
        domain=task.domain,
        features=dict(rows[0].target_features),
        pairs={source: dict(pairs[source]) for source in sorted(pairs)},
    )
