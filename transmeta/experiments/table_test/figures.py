"""From logs of searches to figures of one method on one target.

Letters: N points (see the package), M logged steps.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final, final

import numpy as np

from transmeta.experiments.table_test.ground import Target
from transmeta.experiments.table_test.replay import TOLERANCE, Log
from transmeta.policies.adaptive.protocol import Array, Flags, Indices

SECONDS: Final = (1.0, 10.0, 60.0)
GRID: Final = tuple(float(s) for s in np.geomspace(0.1, 1000.0, 41))
"""Seconds at which the curve of regret against cost is drawn."""
NEAR: Final = 0.01
EARLY: Final = 3
"""Points after which a pick is compared with training from scratch."""
COST_FACTOR: Final = 1.5
AGAINST_SCRATCH: Final = ("worse_than_scratch", "much_worse", "harmed", "much_harmed")


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Where figures stand: k · unit for k = 1 … N, in evaluations, or in cost."""

    count: int
    unit: float = 1.0
    is_cost: bool = False


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """Figures of one search; NaN where the table cannot tell.

    Attributes:
        regret, range_regret: (N,) of the incumbent over best − median, and over best − worst (1 where nothing counts).
        test: (N,) test value of the incumbent's full run; that of the worst completed run before there is one.
        worse_than_scratch: (N,) whether that is below the test value of the from-scratch configuration that validates
            best, and `much_worse` by more than one point (0.01).
        harmed, much_harmed: (N,) the same of incumbents that use a source: negative transfer. Without a source there is
            no transfer.
        is_scratch_good: whether that value is within one point of the one of the best configuration, or above.
        at_seconds: after 1, 10 and 60 seconds of cost; `at_grid` likewise on `GRID`.
        evaluations_to_near: until the incumbent is within 1 % of the best; N where it never is.
        is_near: whether it ever is.
        covered, is_cost_right: 1 or 0 for each forecast of a run that completed, see `replay`.
    """

    regret: Array
    range_regret: Array
    test: Array
    worse_than_scratch: Array
    much_worse: Array
    harmed: Array
    much_harmed: Array
    is_scratch_good: float
    at_seconds: Array
    at_grid: Array
    evaluations_to_near: float
    is_near: bool
    covered: Array
    is_cost_right: Array
    moves: int
    decide_s: float


def run_figures(log: Log, target: Target, *, points: Points, is_scratch: Flags) -> Run:
    """Returns the figures of one search.

    Args:
        is_scratch: (C,) which configurations have no source.
    """
    spent = log.cost_s if points.is_cost else log.evaluations
    at = _indices(spent, points.unit * np.arange(1, points.count + 1, dtype=np.float64))
    value, incumbent = _taken(log.value, at, -np.inf), _taken(log.incumbent, at, -1).astype(np.int64)
    test = _test(target, incumbent)
    reference, is_good = _scratch(target, is_scratch)
    worse, much_worse = _below(test, reference - 1e-12), _below(test, reference - NEAR - 1e-12)
    is_transfer = (incumbent < 0) | ~is_scratch[np.maximum(incumbent, 0)]
    near = np.flatnonzero(log.value >= target.best - NEAR * abs(target.best))
    covered, is_cost_right = _calibration(log, target)
    return Run(
        regret=target.regret(value),
        range_regret=np.where(np.isneginf(value), 1.0, np.clip((target.best - value) / target.spread, 0.0, 1.0)),
        test=test,
        worse_than_scratch=worse,
        much_worse=much_worse,
        harmed=worse * is_transfer,
        much_harmed=much_worse * is_transfer,
        is_scratch_good=is_good,
        at_seconds=target.regret(_taken(log.value, _indices(log.cost_s, np.array(SECONDS)), -np.inf)),
        at_grid=target.regret(_taken(log.value, _indices(log.cost_s, np.array(GRID)), -np.inf)),
        evaluations_to_near=float(log.evaluations[near[0]]) if near.size else float(points.count),
        is_near=bool(near.size),
        covered=covered,
        is_cost_right=is_cost_right,
        moves=log.moves,
        decide_s=log.decide_s,
    )


def mean_run(runs: Sequence[Run]) -> Run:
    """Returns the mean of repeated searches on one target; forecasts are joined."""
    return Run(
        **{
            name: np.mean([getattr(run, name) for run in runs], axis=0)
            for name in ("regret", "range_regret", "test", *AGAINST_SCRATCH, "at_seconds", "at_grid")
        },
        is_scratch_good=runs[0].is_scratch_good,
        evaluations_to_near=float(np.mean([run.evaluations_to_near for run in runs])),
        is_near=bool(np.mean([run.is_near for run in runs]) >= 0.5),
        covered=np.concatenate([run.covered for run in runs]),
        is_cost_right=np.concatenate([run.is_cost_right for run in runs]),
        moves=round(float(np.mean([run.moves for run in runs]))),
        decide_s=float(np.sum([run.decide_s for run in runs])),
    )


def _indices(spent: Array, points: Array) -> Indices:
    """Returns the last logged step by each point; −1 where there is none."""
    return np.asarray(np.searchsorted(spent, points * (1 + TOLERANCE) + TOLERANCE, side="right") - 1, dtype=np.int64)


def _taken(values: Array | Indices, indices: Indices, otherwise: float) -> Array:
    if not len(values):
        return np.full(len(indices), otherwise)
    return np.where(indices >= 0, values[np.maximum(indices, 0)], otherwise)


def _test(target: Target, incumbent: Indices) -> Array:
    known = target.test[np.isfinite(target.test) & np.isfinite(target.final)]
    if not known.size:
        return np.full(len(incumbent), np.nan)
    # Nothing that completed is as bad as the worst that did: leaving such targets out would reward failure.
    reached = np.where(incumbent >= 0, target.test[np.maximum(incumbent, 0)], known.min())
    is_failed = (incumbent >= 0) & np.isneginf(target.final[np.maximum(incumbent, 0)])
    return np.where(is_failed & np.isnan(reached), known.min(), reached)


def _scratch(target: Target, is_scratch: Flags) -> tuple[float, float]:
    """Returns the test value of the best from-scratch configuration, and whether it is as good as any; NaN unknown."""
    is_known = np.isfinite(target.final) & np.isfinite(target.test)
    if not (is_known & is_scratch).any():
        return np.nan, np.nan
    scratch, best = (
        target.test[np.where(among, target.final, -np.inf).argmax()] for among in (is_known & is_scratch, is_known)
    )
    return float(scratch), float(scratch >= best - NEAR)


def _below(test: Array, reference: float) -> Array:
    return np.where(np.isnan(test) | np.isnan(reference), np.nan, test < reference)


def _calibration(log: Log, target: Target) -> tuple[Array, Array]:
    """Returns whether each forecast's interval holds the final value, and whether its cost is right within 1.5."""
    told = [(config, forecast) for config, forecast in log.forecasts if np.isfinite(target.final[config])]
    final = target.final[[config for config, _ in told]] if told else np.zeros(0)
    cost_s = target.step_cost_s[[config for config, _ in told]].sum(axis=1) if told else np.zeros(0)
    low = np.array([forecast.low for _, forecast in told], dtype=np.float64)
    high = np.array([forecast.high for _, forecast in told], dtype=np.float64)
    cost = np.array([forecast.cost_s for _, forecast in told], dtype=np.float64)
    ratio = np.maximum(cost, 1e-9) / np.maximum(cost_s, 1e-9)
    is_right = (ratio <= COST_FACTOR) & (ratio >= 1 / COST_FACTOR)
    return ((low <= final) & (final <= high)).astype(np.float64), is_right.astype(np.float64)
