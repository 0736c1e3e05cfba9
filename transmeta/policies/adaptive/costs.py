"""What a configuration costs on the present target: an effect of the configuration times one of the target.

log cost = configuration + target + configuration × features + noise: alternating means, then ridge regressions of the
target's effect and of what is left of each configuration on the target's features; corrected by what the trials so far
have cost. Letters: T known targets, C configurations, F features.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final, final

import numpy as np

from transmeta.policies.adaptive.rows import Array, Flags

SMALLEST_COST: Final = 1e-4
SWEEPS: Final = 20
PENALTY: Final = 3.0
SLOPE_PENALTY: Final = 5.0
PRIOR_DEVIATION: Final = 0.5
"""Deviation of log cost between machines and kinds of targets."""
NOISE_DEVIATION: Final = 0.37
"""Deviation of log cost between trials of one configuration on one target."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CostModel:
    """Effects of configurations and targets on the logarithm of a full run's cost.

    Attributes:
        configurations: (C,).
        centre, scale: (F,) that standardise the target's features.
        coefficients: (F,) and the mean effect of a target.
        slopes: (F, C) by which a configuration depends on the features more than others do.
    """

    configurations: Array
    centre: Array
    scale: Array
    coefficients: Array
    slopes: Array
    mean: float

    @classmethod
    def fit(cls, cost: Array, *, features: Array, kinds: Sequence[str] | None = None) -> "CostModel":
        """Returns the model of `cost` (T, C), NaN where not run, for targets of `features` (T, F), NaN where unknown.

        A configuration that was never run gets the mean effect of those of its kind that were, or else of all.

        Args:
            kinds: of each configuration; None where all are alike.
        """
        logs = np.log(np.maximum(cost, SMALLEST_COST))
        is_known = ~np.isnan(logs)
        targets = np.zeros(len(logs))
        configurations = np.zeros(logs.shape[1])
        for _ in range(SWEEPS):
            configurations = _means(logs - targets[:, None], is_known, axis=0)
            targets = _means(logs - configurations, is_known, axis=1)
        configurations = _completed(configurations, was_run=np.asarray(is_known.any(axis=0)), kinds=kinds)
        centre, scale = _standardisation(features)
        scores = _scores(features, centre, scale)
        mean = float(targets.mean()) if len(targets) else 0.0
        gram = scores.T @ scores + PENALTY * np.eye(scores.shape[1])
        coefficients = np.asarray(np.linalg.solve(gram, scores.T @ (targets - mean)), dtype=np.float64)
        left = np.where(is_known, logs - configurations - targets[:, None], 0.0)
        slopes = np.asarray(
            np.linalg.solve(gram + SLOPE_PENALTY * np.eye(scores.shape[1]), scores.T @ left), dtype=np.float64
        )
        return cls(
            configurations=configurations,
            centre=centre,
            scale=scale,
            coefficients=coefficients,
            slopes=slopes,
            mean=mean,
        )

    def predict(self, features: Array, *, ratios: Array | None = None) -> Array:
        """Returns the expected cost of full runs, (C,), on a target of `features` (F,).

        Args:
            ratios: log(paid / predicted without them) of the trials so far.
        """
        scores = _scores(features[None], self.centre, self.scale)[0]
        effect = self.mean + float(scores @ self.coefficients)
        expected = np.asarray(np.exp(self.configurations + effect + scores @ self.slopes), dtype=np.float64)
        return expected * correction(ratios) if ratios is not None else expected


def correction(ratios: Array, *, weights: Array | None = None) -> float:
    """Returns by what expected costs are multiplied after log(paid / expected) of some trials, (N,).

    Their median counts, as some pay for what others use as well: the first through the frozen stages of a source.
    """
    if not len(ratios):
        return 1.0
    shares = np.ones(len(ratios)) if weights is None else weights
    return float(
        np.exp(_median(ratios, shares) * shares.sum() / (shares.sum() + (NOISE_DEVIATION / PRIOR_DEVIATION) ** 2))
    )


def _median(values: Array, weights: Array) -> float:
    """Returns the value in the middle of the weights, between two values in proportion."""
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order]) - weights[order] / 2
    return float(np.interp(weights.sum() / 2, below, values[order]))


def widened(model: CostModel, *, like: Sequence[Flags]) -> CostModel:
    """Returns the model with a configuration more for each of `like`: its cost is the mean over these (C,)."""
    masks = [mask if mask.any() else np.ones_like(mask) for mask in like]
    return dataclasses.replace(
        model,
        configurations=np.concatenate([model.configurations, [model.configurations[mask].mean() for mask in masks]]),
        slopes=np.concatenate(
            [model.slopes, *(model.slopes[:, mask].mean(axis=1, keepdims=True) for mask in masks)], axis=1
        ),
    )


def _completed(effects: Array, *, was_run: Flags, kinds: Sequence[str] | None) -> Array:
    if not was_run.any():
        return np.zeros_like(effects)
    completed = np.where(was_run, effects, effects[was_run].mean())
    names = np.array(kinds if kinds is not None else [""] * len(effects))
    for kind in set(names[~was_run]) & set(names[was_run]):
        completed[~was_run & (names == kind)] = effects[was_run & (names == kind)].mean()
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
