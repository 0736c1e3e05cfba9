"""What a configuration costs on the present target: an effect of the configuration times one of the target.

log cost = configuration + target + strategy × features + configuration × features + noise: alternating means, then
ridge regressions on the target's features of the target's effect, of what is left of each strategy, and of what is left
of each configuration. What the trials so far have cost corrects the others, most those of the same strategy and source.
Letters: T known targets, C configurations, F features, N trials so far.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final, final

import numpy as np

from transmeta.core.trial import Arm
from transmeta.policies.adaptive.rows import Array, Flags, Indices

SMALLEST_COST: Final = 1e-4
SWEEPS: Final = 20
PENALTY: Final = 3.0
STRATEGY_PENALTY: Final = 5.0
SLOPE_PENALTY: Final = 8.0
TARGET_VARIANCE: Final = 0.25
"""Of log cost between machines and kinds of targets."""
STRATEGY_VARIANCE: Final = 0.12
SOURCE_VARIANCE: Final = 0.01
BOTH_VARIANCE: Final = 0.04
"""On one target, between strategies, between sources, and between strategies on sources."""
NOISE_VARIANCE: Final = 0.15
"""Of log cost between trials of one configuration on one target: some pay for what others use as well."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paid:
    """What some trials have cost.

    Attributes:
        columns: (N,) their configurations.
        cost_s: (N,)
        shares: (N,) of a full run that they ran; in (0, 1].
    """

    columns: Indices
    cost_s: Array
    shares: Array


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExpectedCost:
    """What full runs are expected to cost on one target, and how far one tells of another.

    Attributes:
        full: (C,).
        covariance: (C, C) of the logarithm.
    """

    full: Array
    covariance: Array

    @classmethod
    def certain(cls, full: Array) -> "ExpectedCost":
        """Returns costs that nothing paid would change."""
        return cls(full=full, covariance=np.zeros((len(full), len(full))))

    def take(self, columns: Indices) -> "ExpectedCost":
        """Returns that of some configurations."""
        return ExpectedCost(full=self.full[columns], covariance=self.covariance[np.ix_(columns, columns)])

    def after(self, paid: Paid) -> Array:
        """Returns what full runs are expected to cost, (C,), after what was paid.

        The mean of a Gaussian process over configurations, whose prior is the logarithm of `full`. A part of a run
        tells less than its share: it has paid for what a run needs before its first step.
        """
        if not len(paid.columns):
            return self.full
        expected = np.maximum(self.full[paid.columns] * paid.shares, SMALLEST_COST)
        ratios = np.log(np.maximum(paid.cost_s, SMALLEST_COST) / expected)
        noise = np.diag(NOISE_VARIANCE / paid.shares**2)
        weights = np.linalg.solve(self.covariance[np.ix_(paid.columns, paid.columns)] + noise, ratios)
        return np.asarray(self.full * np.exp(self.covariance[:, paid.columns] @ weights), dtype=np.float64)


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CostModel:
    """Effects of configurations and targets on the logarithm of a full run's cost.

    Attributes:
        configurations: (C,).
        centre, scale: (F,) that standardise the target's features.
        coefficients: (F,) and the mean effect of a target.
        slopes: (F, C) by which a configuration depends on the features more than others do.
        arms: (C,) the configurations.
    """

    configurations: Array
    centre: Array
    scale: Array
    coefficients: Array
    slopes: Array
    mean: float
    arms: tuple[Arm, ...]

    @classmethod
    def fit(cls, cost: Array, *, features: Array, arms: Sequence[Arm]) -> "CostModel":
        """Returns the model of `cost` (T, C), NaN where not run, for targets of `features` (T, F), NaN where unknown.

        A configuration that was never run gets the mean effect of those of its strategy that were, or else of all.
        """
        strategies = [arm.strategy.name for arm in arms]
        logs = np.log(np.maximum(cost, SMALLEST_COST))
        is_known = ~np.isnan(logs)
        targets = np.zeros(len(logs))
        configurations = np.zeros(logs.shape[1])
        for _ in range(SWEEPS):
            configurations = _means(logs - targets[:, None], is_known, axis=0)
            targets = _means(logs - configurations, is_known, axis=1)
        configurations = _completed(configurations, was_run=np.asarray(is_known.any(axis=0)), strategies=strategies)
        centre, scale = _standardisation(features)
        scores = _scores(features, centre, scale)
        mean = float(targets.mean()) if len(targets) else 0.0
        left = np.where(is_known, logs - configurations - targets[:, None], 0.0)
        shared = _ridge(scores, _strategy_means(left, is_known, strategies), penalty=STRATEGY_PENALTY)
        own = _ridge(scores, np.where(is_known, left - scores @ shared, 0.0), penalty=SLOPE_PENALTY)
        return cls(
            configurations=configurations,
            centre=centre,
            scale=scale,
            coefficients=_ridge(scores, targets - mean, penalty=PENALTY),
            slopes=shared + own,
            mean=mean,
            arms=tuple(arms),
        )

    def predict(self, features: Array) -> ExpectedCost:
        """Returns the expected cost of full runs on a target of `features` (F,), before anything ran there."""
        scores = _scores(features[None], self.centre, self.scale)[0]
        effect = self.mean + float(scores @ self.coefficients)
        is_same_strategy = _are_equal([arm.strategy.name for arm in self.arms])
        is_same_source = _are_equal([arm.source for arm in self.arms])
        return ExpectedCost(
            full=np.asarray(np.exp(self.configurations + effect + scores @ self.slopes), dtype=np.float64),
            covariance=TARGET_VARIANCE
            + STRATEGY_VARIANCE * is_same_strategy
            + SOURCE_VARIANCE * is_same_source
            + BOTH_VARIANCE * (is_same_strategy & is_same_source),
        )

    def widened(self, arms: Sequence[Arm]) -> "CostModel":
        """Returns the model with a configuration more for each of `arms`: at the mean of those of its strategy."""
        names = np.array([arm.strategy.name for arm in self.arms])
        alike = (names == arm.strategy.name for arm in arms)
        masks = [mask if mask.any() else np.ones_like(mask) for mask in alike]
        return dataclasses.replace(
            self,
            configurations=np.concatenate([self.configurations, [self.configurations[mask].mean() for mask in masks]]),
            slopes=np.concatenate(
                [self.slopes, *(self.slopes[:, mask].mean(axis=1, keepdims=True) for mask in masks)], axis=1
            ),
            arms=(*self.arms, *arms),
        )


def _are_equal(names: Sequence[str]) -> Flags:
    """Returns which pairs of `names` (C,) are equal, (C, C)."""
    _, numbers = np.unique(np.array(names), return_inverse=True)
    return np.asarray(numbers[:, None] == numbers[None])


def _ridge(scores: Array, values: Array, *, penalty: float) -> Array:
    """Returns the coefficients (F, ...) of `values` (T, ...) on `scores` (T, F)."""
    gram = scores.T @ scores + penalty * np.eye(scores.shape[1])
    return np.asarray(np.linalg.solve(gram, scores.T @ values), dtype=np.float64)


def _strategy_means(left: Array, is_known: Flags, strategies: Sequence[str]) -> Array:
    """Returns `left` (T, C), 0 where not known, averaged on each target over the configurations of each strategy."""
    is_same = _are_equal(strategies).astype(np.float64)
    return np.asarray((left @ is_same) / np.maximum(is_known @ is_same, 1.0))


def _completed(effects: Array, *, was_run: Flags, strategies: Sequence[str]) -> Array:
    if not was_run.any():
        return np.zeros_like(effects)
    completed = np.where(was_run, effects, effects[was_run].mean())
    names = np.array(strategies)
    for name in set(names[~was_run]) & set(names[was_run]):
        completed[~was_run & (names == name)] = effects[was_run & (names == name)].mean()
    return np.asarray(completed, dtype=np.float64)


def _means(values: Array, is_known: Flags, *, axis: int) -> Array:
    counts = np.maximum(is_known.sum(axis=axis), 1)
    return np.asarray(np.where(is_known, values, 0.0).sum(axis=axis) / counts)


def _standardisation(features: Array) -> tuple[Array, Array]:
    if not features.size:
        return np.zeros(features.shape[1]), np.ones(features.shape[1])
    known = ~np.isnan(features)
    counts = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, features, 0.0).sum(axis=0) / counts
    spread = np.sqrt((np.where(known, features - centre, 0.0) ** 2).sum(axis=0) / counts)
    return centre, np.where(spread > SMALLEST_COST, spread, np.inf)


def _scores(features: Array, centre: Array, scale: Array) -> Array:
    return np.clip(np.nan_to_num((features - centre) / scale, nan=0.0), -5.0, 5.0)
