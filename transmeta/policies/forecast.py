"""What an arm is expected to score and to cost on the present target, and which known targets say so.

A score is level − scale · g(c): the regret g from the policy's rows, level (the best utility there is) and scale
(best − median) from a ridge regression on target features over the known targets, corrected by the trials so far.
Cost is exp(target effect + arm effect), likewise.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Final, final

import numpy as np

from transmeta.core.experience import MetaFeatures
from transmeta.core.outcome import Evidence, Suggestion
from transmeta.policies.greedy import Situation
from transmeta.policies.similarity import closeness, distances, standard_scores
from transmeta.policies.table import Array, Features, RegretTable, fit_of, regret_scale

NORMAL_90: Final = 1.645
"""Half the width of a 90 % interval, in standard deviations."""
RIDGES: Final = (1.0, 3.0, 10.0, 30.0, 100.0, 1e6)
"""Penalties to choose from by leave-one-out; the last is the plain mean."""
FEWEST_FOR_RIDGE: Final = 5
SMALLEST_COST_S: Final = 1e-3
OTHER_MACHINE: Final = 0.5
"""Deviation of log cost between machines: the trials so far may have run on another one."""
COST_NOISE: Final = 0.25
"""Deviation of log cost between trials of one arm on one machine."""
WITNESSES: Final = 3
"""Known targets that a suggestion names as its evidence."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Regret rows that a policy decides by. The first T are the known targets of the table, the rest predictions.

    Attributes:
        regret: (R, A), without gaps.
        weights: (R,), with sum 1.
        variance: (R, A) of each prediction in itself; None where the rows are facts.
    """

    regret: Array
    weights: Array
    variance: Array | None = None


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """A mean with its deviation."""

    mean: float
    deviation: float


def describe(
    table: RegretTable, rows: Rows, *, features: MetaFeatures, now: Situation, columns: Sequence[int]
) -> tuple[Suggestion, ...]:
    """Returns a suggestion for each of `columns`, with predicted score, cost and evidence."""
    if not columns:
        return ()
    mean, spread = _moments(rows)
    level, log_scale = level_of(table, features.target, features.pairs)
    scale = float(np.exp(log_scale.mean))
    observed = list(now.observed)
    noise = np.sqrt(np.mean(scale**2 * spread**2)) + 1e-9
    level = _corrected(level, errors=now.utility - (level.mean - scale * mean[observed]), noise=float(noise))
    costs = _costs(table, features.target, now)
    is_share = are_shares(table)
    shares = _shares(table, rows, features)
    suggestions = []
    for column in columns:
        centre = level.mean - scale * mean[column]
        doubt_of_scale = mean[column] * scale * np.expm1(min(log_scale.deviation, 1.0))
        width = NORMAL_90 * float(np.sqrt(level.deviation**2 + (scale * spread[column]) ** 2 + doubt_of_scale**2))
        score, low, high = (
            min(max(float(value), 0.0), 1.0) if is_share else float(value)
            for value in (centre, centre - width, centre + width)
        )
        suggestions.append(
            Suggestion(
                arm=table.arms[column],
                predicted_score=score,
                low=low,
                high=high,
                predicted_cost_s=costs[column],
                evidence=evidence_of(table, shares, column=column),
            )
        )
    return tuple(suggestions)


def _moments(rows: Rows) -> tuple[Array, Array]:
    """Returns mean and deviation of each arm's regret over the rows, (A,) each."""
    mean = rows.weights @ rows.regret
    variance = (rows.regret - mean) ** 2 if rows.variance is None else (rows.regret - mean) ** 2 + rows.variance
    return mean, np.sqrt(rows.weights @ variance)


def _shares(table: RegretTable, rows: Rows, features: MetaFeatures) -> Array:
    """Returns each known target's share in the decision, (T,).

    Where predictions alone decide, they were learned from all known targets: the shares are then by similarity.
    """
    shares = rows.weights[: len(table.targets)]
    return shares if shares.sum() > 1e-6 else closeness(distances(table.targets, features), tau=1.0)


def evidence_of(table: RegretTable, weights: Array, *, column: int) -> tuple[Evidence, ...]:
    """Returns the known targets that tried the arm and speak for it, heaviest first."""
    regret = table.regret[:, column]
    tried = [int(i) for i in np.flatnonzero(~np.isnan(regret)) if weights[i] > 1e-6]
    speaks = {i: float(weights[i] * max(1.0 - regret[i], 0.0)) for i in tried}
    witnesses = sorted(tried, key=lambda i: (-speaks[i], -weights[i], i))[:WITNESSES]
    return tuple(
        Evidence(target=table.targets[i].id, weight=float(weights[i]), regret=float(regret[i]))
        for i in sorted(witnesses, key=lambda i: (-weights[i], regret[i], i))
    )


def are_shares(table: RegretTable) -> bool:
    """Whether every known score is in [0, 1], so that predictions had better be, too."""
    known = table.utility[~np.isnan(table.utility)]
    return bool(known.min(initial=0.0) >= 0 and known.max(initial=1.0) <= 1)


def _corrected(prior: Normal, *, errors: Array, noise: float) -> Normal:
    """Returns `prior` after `errors` = observed − predicted with deviation `noise` (normal, conjugate)."""
    if not errors.size:
        return prior
    gain = prior.deviation**2 / (prior.deviation**2 + noise**2 / errors.size)
    return Normal(mean=prior.mean + gain * float(errors.mean()), deviation=prior.deviation * float(np.sqrt(1 - gain)))


def level_of(table: RegretTable, target: Features, pairs: Mapping[str, Features]) -> tuple[Normal, Normal]:
    """Returns the present target's best utility and the logarithm of its scale."""
    known, best, log_scale = _levels_of(table)
    scores, now = standard_scores(known, {**target, **_best_pairs(pairs)})
    return _ridge(scores, best, now), _ridge(scores, log_scale, now)


@functools.lru_cache(maxsize=16)  # pure: a table never changes
def _levels_of(table: RegretTable) -> tuple[Sequence[Features], Array, Array]:
    """Returns each target's features, best utility and logarithm of the scale."""
    known = [{**item.features, **_best_pairs(item.pairs)} for item in table.targets]
    has_scores = [row[~np.isnan(row)] for row in table.utility]
    best = np.array([row.max() if row.size else np.nan for row in has_scores])
    scale = np.array([regret_scale(row) if row.size else np.nan for row in has_scores])
    return known, best, np.log(scale)


def _best_pairs(pairs: Mapping[str, Features]) -> Features:
    """Returns each pair feature's maximum over the sources: how well the best source fits."""
    best: dict[str, float] = {}
    for vector in pairs.values():
        for name, value in fit_of(vector).items():
            best[f"best/{name}"] = max(value, best.get(f"best/{name}", value))
    return best


def _ridge(scores: Array, values: Array, now: Array) -> Normal:
    """Returns the value at `now` by ridge regression, its deviation by leave-one-out residuals.

    The penalty is the one with the least leave-one-out error; the hat matrix gives these without refitting, and the
    eigenvectors of `scores @ scores.T` give it for all penalties.
    """
    is_known = ~np.isnan(values)
    scores, values = np.nan_to_num(scores[is_known], nan=0.0), values[is_known]
    now = np.nan_to_num(now, nan=0.0)
    if not values.size:
        return Normal(mean=0.0, deviation=1.0)
    mean = float(values.mean())
    if len(values) < FEWEST_FOR_RIDGE or not scores.shape[1]:
        deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.5 * abs(mean)
        return Normal(mean=mean, deviation=deviation * np.sqrt(1 + 1 / len(values)))
    size, basis = np.linalg.eigh(scores @ scores.T)
    along, now_along = basis.T @ (values - mean), basis.T @ (scores @ now)
    best: tuple[float, float] | None = None
    for penalty in RIDGES:
        shrunk = size / (size + penalty)
        leverage = basis**2 @ shrunk + 1 / len(values)
        residuals = (values - mean - basis @ (shrunk * along)) / (1 - np.minimum(leverage, 0.95))
        error = float(np.mean(residuals**2))
        if best is None or error < best[0]:
            best = (error, mean + float(now_along @ (along / (size + penalty))))
    assert best is not None
    return Normal(mean=best[1], deviation=float(np.sqrt(best[0])))


def _costs(table: RegretTable, target: Features, now: Situation) -> tuple[float, ...]:
    """Returns the expected CPU seconds of one trial of each arm."""
    arm_effects, target_effects = _cost_effects(table)
    scores, present = standard_scores([item.features for item in table.targets], target)
    effect = _ridge(scores, target_effects, present)
    observed = list(now.observed)
    errors = np.log(np.maximum(now.cost_s, SMALLEST_COST_S)) - arm_effects[observed] - effect.mean
    effect = Normal(mean=effect.mean, deviation=max(effect.deviation, OTHER_MACHINE))
    effect = _corrected(effect, errors=errors, noise=COST_NOISE)
    return tuple(float(cost) for cost in np.exp(effect.mean + arm_effects))


@functools.lru_cache(maxsize=16)  # pure: a table never changes
def _cost_effects(table: RegretTable) -> tuple[Array, Array]:
    """Returns arm effects (A,) and target effects (T,) of log cost, by alternating means over the tried cells."""
    logs = np.log(np.maximum(table.cost_s, SMALLEST_COST_S))
    targets = np.zeros(len(table.targets))
    arms = np.zeros(len(table.arms))
    for _ in range(20):
        arms = np.nanmean(logs - targets[:, None], axis=0)
        targets = np.nanmean(logs - arms, axis=1)
    return arms, targets
