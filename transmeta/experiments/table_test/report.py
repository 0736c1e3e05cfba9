"""What a replay shows: means with intervals over data sets, comparisons, and what else the table can tell."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

import numpy as np

from transmeta.experiments.statistics import bootstrap, holm, paired
from transmeta.experiments.table_test.figures import EARLY, SECONDS, Points, Run
from transmeta.experiments.table_test.ground import Ground
from transmeta.experiments.table_test.harness import Played
from transmeta.policies.adaptive.protocol import Array

AT: Final = (1, 2, 3, 5, 10, 20)


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many of `count` cells did something, with a 95 % bootstrap interval of the share over data sets."""

    share: float
    low: float
    high: float
    count: int


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MethodFigures:
    """Figures of one method; regrets over best − median, lower is better; None where the table cannot tell.

    Attributes:
        anytime: mean regret over the points, `low` to `high` its 95 % bootstrap interval over data sets.
        at: point → regret; `at_worst` over best − worst; `at_test` test value of the incumbent's full run.
        at_seconds: seconds of cost → regret.
        per_target: regret at each point, 1 to N.
        negative_transfer: point → share of targets whose incumbent uses a source and tests worse than from scratch.
        worse_where_scratch_is_good: of the targets where scratch is within one point of the best configuration or
            above, the share whose incumbent after 3 points is worse than scratch, itself from scratch or not;
            `much_worse...` by over one point; `harmed...` and `much_harmed...` those of them that use a source.
        evaluations_to_1_percent: until the incumbent is within 1 % of the best, N where it never is.
        reached_1_percent: share of targets where it is.
        coverage: share of held-out values inside the predicted 90 % intervals, of `forecasts` predictions.
        cost_within_1_5: share of predicted costs that are right within a factor 1.5.
        moves: starts and continuations on one target.
        seconds: of CPU, of the method itself: `learn_seconds` over all folds and `decide_seconds` over all `searches`.
    """

    anytime: float
    low: float
    high: float
    at: Mapping[str, float]
    anytime_worst: float
    at_worst: Mapping[str, float]
    at_test: Mapping[str, float] | None
    at_seconds: Mapping[str, float] | None
    negative_transfer: Mapping[str, float] | None
    worse_where_scratch_is_good: Share | None
    much_worse_where_scratch_is_good: Share | None
    harmed_where_scratch_is_good: Share | None
    much_harmed_where_scratch_is_good: Share | None
    evaluations_to_1_percent: float
    reached_1_percent: float
    coverage: float | None
    cost_within_1_5: float | None
    forecasts: int
    moves: float
    seconds: float
    learn_seconds: float
    decide_seconds: float
    searches: int
    per_target: Mapping[str, Sequence[float]]


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """A method against another in anytime regret, data set by data set.

    Attributes:
        gain: how much less regret it has, `low` to `high` the 95 % bootstrap interval.
        p: Wilcoxon's signed-rank test, two-sided; `p_holm` corrected for the number of comparisons.
    """

    method: str
    rival: str
    gain: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int
    p: float
    p_holm: float


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TableReport:
    """All that a replay shows.

    Attributes:
        primary: the figure that was named before: anytime regret.
        comparisons: of `adaptive` with each other method, or of the first method where that was not run.
        unit: of intervals and tests, `units` of them.
        at_unit: what a point is worth, in evaluations or cost.
    """

    table: str
    split: str
    primary: str
    points: int
    at_unit: float
    budget: str
    unit: str
    units: int
    folds: int
    seeds: int
    targets: tuple[str, ...]
    configs: int
    methods: Mapping[str, MethodFigures]
    comparisons: tuple[Versus, ...]
    notices: tuple[str, ...]


def units_of(ground: Ground, played: Played) -> Mapping[str, Sequence[Run]]:
    """Returns the runs of each data set that was tested."""
    groups: dict[str, list[Run]] = {}
    for target in ground.targets:
        if target.name in played.runs:
            groups.setdefault(target.group, []).append(played.runs[target.name])
    return groups


def anytime_by_unit(ground: Ground, played: Played) -> Mapping[str, float]:
    """Returns the anytime regret on each data set."""
    return {
        name: float(np.mean([run.regret.mean() for run in runs])) for name, runs in units_of(ground, played).items()
    }


def method_figures(ground: Ground, played: Played, *, points: Points) -> MethodFigures:
    """Returns the figures of one method."""
    units = list(units_of(ground, played).values())
    runs = list(played.runs.values())
    anytime = bootstrap([float(np.mean([run.regret.mean() for run in group])) for group in units])

    def mean(of: Callable[[Run], Array]) -> Array | None:
        """The mean over data sets of the mean over their targets; what is unknown does not count."""
        return _mean([_mean([of(run) for run in group]) for group in units])

    known_test, harmed = mean(lambda run: run.test), mean(lambda run: run.harmed)
    regret, range_regret = mean(lambda run: run.regret), mean(lambda run: run.range_regret)
    assert regret is not None
    assert range_regret is not None
    seconds = mean(lambda run: run.at_seconds) if is_in_seconds(ground) and not points.is_cost else None
    covered = np.concatenate([run.covered for run in runs])
    cost_right = np.concatenate([run.is_cost_right for run in runs])
    return MethodFigures(
        anytime=anytime.mean,
        low=anytime.low,
        high=anytime.high,
        at=_at(regret),
        anytime_worst=float(range_regret.mean()),
        at_worst=_at(range_regret),
        at_test=None if known_test is None else _at(known_test),
        at_seconds=None if seconds is None else {f"{s:g}": float(r) for s, r in zip(SECONDS, seconds, strict=True)},
        negative_transfer=None if harmed is None else _at(harmed),
        worse_where_scratch_is_good=_early(units, lambda run: run.worse_than_scratch),
        much_worse_where_scratch_is_good=_early(units, lambda run: run.much_worse),
        harmed_where_scratch_is_good=_early(units, lambda run: run.harmed),
        much_harmed_where_scratch_is_good=_early(units, lambda run: run.much_harmed),
        evaluations_to_1_percent=float(np.mean([np.mean([run.evaluations_to_near for run in g]) for g in units])),
        reached_1_percent=float(np.mean([np.mean([run.is_near for run in group]) for group in units])),
        coverage=float(covered.mean()) if covered.size else None,
        cost_within_1_5=float(cost_right.mean()) if cost_right.size else None,
        forecasts=int(covered.size),
        moves=float(np.mean([run.moves for run in runs])),
        seconds=played.learn_s + played.decide_s,
        learn_seconds=played.learn_s,
        decide_seconds=played.decide_s,
        searches=played.searches,
        per_target={name: tuple(float(x) for x in run.regret) for name, run in played.runs.items()},
    )


def comparisons(ground: Ground, played: Sequence[Played], *, ours: str) -> tuple[Versus, ...]:
    """Returns the method `ours` against each other one."""
    by_unit = {item.method: anytime_by_unit(ground, item) for item in played}
    rivals = [name for name in by_unit if name != ours]
    tests = [paired([by_unit[rival][unit] - by_unit[ours][unit] for unit in by_unit[ours]]) for rival in rivals]
    return tuple(
        Versus(
            method=ours,
            rival=rival,
            gain=test.gain.mean,
            low=test.gain.low,
            high=test.gain.high,
            wins=test.wins,
            ties=test.ties,
            losses=test.losses,
            p=test.p,
            p_holm=corrected,
        )
        for rival, test, corrected in zip(rivals, tests, holm([test.p for test in tests]), strict=True)
    )


def is_in_seconds(ground: Ground) -> bool:
    """Returns whether costs look like seconds; where each step costs 1 they are steps."""
    cost = ground.table.cost_s[np.isfinite(ground.table.cost_s)]
    return bool((cost != 1.0).any())


def _at(values: Array) -> dict[str, float]:
    return {str(k): float(values[k - 1]) for k in sorted({*AT, len(values)}) if k <= len(values)}


def _mean(rows: Sequence[Array | None]) -> Array | None:
    """Returns the mean of the rows that are known."""
    known = [row for row in rows if row is not None and not np.isnan(row).any()]
    return np.mean(known, axis=0) if known else None


def _early(units: Sequence[Sequence[Run]], of: Callable[[Run], Array]) -> Share | None:
    """Returns the share of targets that are worse after 3 points, where scratch is good; resampled by data set."""
    parts = [[of(run)[min(EARLY, len(run.regret)) - 1] for run in group if run.is_scratch_good == 1] for group in units]
    parts = [part for part in parts if part]
    if not parts:
        return None
    sums, counts = np.array([sum(part) for part in parts], dtype=np.float64), np.array([len(part) for part in parts])
    drawn = np.random.default_rng(0).integers(len(parts), size=(10_000, len(parts)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [0.025, 0.975])
    return Share(share=float(sums.sum() / counts.sum()), low=float(low), high=float(high), count=int(counts.sum()))
