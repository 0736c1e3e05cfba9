"""What a configuration costs on the present target: an effect of the configuration times one of the target.

log cost = configuration + target + strategy × features + configuration × features + noise: alternating means, then
ridge regressions on the target's features of the target's effect, of what is left of each strategy, and of what is left
of each configuration. A configuration that never ran is taken to cost what those do that are like it; what the trials
so far have cost corrects the others, most those that are like them (`Alike`).
Letters: T known targets, C configurations, F features, N trials so far.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final, final

import numpy as np

from transmeta.core.experience import OPERATIONS
from transmeta.core.trial import Arm
from transmeta.policies.adaptive.alike import Alike, Likeness, are_equal
from transmeta.policies.adaptive.rows import Array, Flags, Indices
from transmeta.policies.table import RegretTable

AMOUNTS: Final = ("log_examples", "log_classes", "log_examples_per_class", "log_size")
"""Features of a target that say how much data there is. How they look makes nothing cheaper: what one domain costs is
no lesson for another that looks alike."""
SMALLEST_COST: Final = 1e-4
SWEEPS: Final = 20
PENALTY: Final = 3.0
STRATEGY_PENALTY: Final = 5.0
SLOPE_PENALTY: Final = 8.0
EFFECTS: Final = Likeness(strategy=2.0, size=0.5, both=1.0, work=0.5, length=1.0, growth=0.2)
EFFECT_NOISE: Final = 0.02
"""Variances of the log cost of configurations on all targets."""
ON_ONE_TARGET: Final = Likeness(everything=1.0, strategy=0.1, size=0.01, both=0.04, work=0.04)
"""Of log cost there: between machines and kinds of targets, between strategies, ..."""
ALONE: Final = 0.02
SHARED: Final = 1.0
"""Variance of log cost between trials of one configuration on one target: where each runs by itself, and where it is
trained beside others and finds what these have computed."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paid:
    """What some trials have cost.

    Attributes:
        columns: (N,) their configurations.
        cost_s: (N,)
        shares: (N,) of a full run that they ran; in (0, 1].
        noise: `ALONE` or `SHARED`.
    """

    columns: Indices
    cost_s: Array
    shares: Array
    noise: float


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
        noise = np.diag(paid.noise / paid.shares**2)
        weights = np.linalg.solve(self.covariance[np.ix_(paid.columns, paid.columns)] + noise, ratios)
        return np.asarray(self.full * np.exp(self.covariance[:, paid.columns] @ weights), dtype=np.float64)


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CostModel:
    """Effects of configurations and targets on the logarithm of a full run's cost.

    Attributes:
        names: of the features.
        configurations: (C,), NaN where nobody ran it.
        centre, scale: (F,) that standardise the target's features.
        coefficients: (F,) and the mean effect of a target.
        slopes: (F, C) by which a configuration depends on the features more than others do.
        arms: (C,) the configurations.
        sizes: (C,) of their sources, as logarithms of their MACs; NaN where unknown.
    """

    names: tuple[str, ...]
    configurations: Array
    centre: Array
    scale: Array
    coefficients: Array
    slopes: Array
    mean: float
    arms: tuple[Arm, ...]
    sizes: Array

    @classmethod
    def fit(cls, table: RegretTable) -> "CostModel":
        """Returns the model of what is known, by the features that say how much data there is; by all if none does."""
        names = sorted({name for target in table.targets for name in target.features})
        names = [name for name in names if name in AMOUNTS] or names
        features = np.array([[target.features.get(name, np.nan) for name in names] for target in table.targets])
        features = features.reshape(len(table.targets), len(names))
        arms = table.arms
        strategies = [arm.strategy.name for arm in arms]
        logs = np.log(np.maximum(table.cost_s, SMALLEST_COST))
        is_known = ~np.isnan(logs)
        targets = np.zeros(len(logs))
        configurations = np.zeros(logs.shape[1])
        for _ in range(SWEEPS):
            configurations = _means(logs - targets[:, None], is_known, axis=0)
            targets = _means(logs - configurations, is_known, axis=1)
        centre, scale = _standardisation(features)
        scores = _scores(features, centre, scale)
        mean = float(targets.mean()) if len(targets) else 0.0
        left = np.where(is_known, logs - configurations - targets[:, None], 0.0)
        shared = _ridge(scores, _strategy_means(left, is_known, strategies), penalty=STRATEGY_PENALTY)
        own = _ridge(scores, np.where(is_known, left - scores @ shared, 0.0), penalty=SLOPE_PENALTY)
        return cls(
            configurations=np.where(is_known.any(axis=0), configurations, np.nan),
            centre=centre,
            scale=scale,
            coefficients=_ridge(scores, targets - mean, penalty=PENALTY),
            slopes=shared + own,
            mean=mean,
            names=tuple(names),
            arms=arms,
            sizes=_sizes(table),
        )

    def predict(self, features: Mapping[str, float], *, sizes: Array | None = None) -> ExpectedCost:
        """Returns the expected cost of full runs on a target of `features`, before anything ran there.

        Args:
            sizes: (C,) as this target shows them; NaN where it does not.
        """
        vector = np.array([features.get(name, np.nan) for name in self.names], dtype=np.float64)
        scores = _scores(vector[None], self.centre, self.scale)[0]
        effect = self.mean + float(scores @ self.coefficients)
        alike = Alike.of(self.arms, sizes=self.sizes if sizes is None else np.where(np.isnan(sizes), self.sizes, sizes))
        configurations = _completed(self.configurations, alike.covariance(EFFECTS))
        return ExpectedCost(
            full=np.asarray(np.exp(configurations + effect + scores @ self.slopes), dtype=np.float64),
            covariance=alike.covariance(ON_ONE_TARGET),
        )

    def widened(self, arms: Sequence[Arm]) -> "CostModel":
        """Returns the model with a configuration more for each of `arms`, which nobody ran."""
        names = np.array([arm.strategy.name for arm in self.arms])
        alike = (names == arm.strategy.name for arm in arms)
        masks = [mask if mask.any() else np.ones_like(mask) for mask in alike]
        return dataclasses.replace(
            self,
            configurations=np.concatenate([self.configurations, np.full(len(arms), np.nan)]),
            slopes=np.concatenate(
                [self.slopes, *(self.slopes[:, mask].mean(axis=1, keepdims=True) for mask in masks)], axis=1
            ),
            arms=(*self.arms, *arms),
            sizes=np.concatenate([self.sizes, [self._size_of(arm.source) for arm in arms]]),
        )

    def _size_of(self, source: str) -> float:
        known = (size for arm, size in zip(self.arms, self.sizes.tolist(), strict=True) if arm.source == source)
        return next(known, np.nan)


def _sizes(table: RegretTable) -> Array:
    found = {
        source: features[OPERATIONS]
        for target in table.targets
        for source, features in target.pairs.items()
        if OPERATIONS in features
    }
    return np.array([found.get(arm.source, np.nan) for arm in table.arms], dtype=np.float64)


def _ridge(scores: Array, values: Array, *, penalty: float) -> Array:
    """Returns the coefficients (F, ...) of `values` (T, ...) on `scores` (T, F)."""
    gram = scores.T @ scores + penalty * np.eye(scores.shape[1])
    return np.asarray(np.linalg.solve(gram, scores.T @ values), dtype=np.float64)


def _strategy_means(left: Array, is_known: Flags, strategies: Sequence[str]) -> Array:
    """Returns `left` (T, C), 0 where not known, averaged on each target over the configurations of each strategy."""
    is_same = are_equal(strategies).astype(np.float64)
    return np.asarray((left @ is_same) / np.maximum(is_known @ is_same, 1.0))


def _completed(effects: Array, covariance: Array) -> Array:
    """Returns `effects` (C,), with what those of others tell of them where they are NaN: a Gaussian process."""
    known, unknown = np.flatnonzero(~np.isnan(effects)), np.flatnonzero(np.isnan(effects))
    if not len(known) or not len(unknown):
        return np.nan_to_num(effects)
    mean = effects[known].mean()
    noisy = covariance[np.ix_(known, known)] + EFFECT_NOISE * np.eye(len(known))
    completed = effects.copy()
    completed[unknown] = mean + covariance[np.ix_(unknown, known)] @ np.linalg.solve(noisy, effects[known] - mean)
    return completed


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
