"""How much a known target counts for the present one: by features before any trial, by ranks after.

Letters: T known targets, R rows of regret (known targets, or predictions), n observed arms.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from transmeta.core.experience import MetaFeatures
from transmeta.policies.table import Array, Features, KnownTarget

SMALLEST_SPREAD: Final = 1e-9
"""A feature that varies less than this over the known targets tells them apart by rounding only."""
FARTHEST: Final = 5.0
"""Standard scores are clipped to this, so that one odd feature does not decide alone."""


def distances(known: Sequence[KnownTarget], features: MetaFeatures) -> Array:
    """Returns d² to each known target, (T,): the mean squared difference of standardised features.

    Target features and the profile of pair features (over the sources that both have) count half each. Constants of
    standardisation come from the known targets alone, so they are the same in training and at run time.
    """
    if not known:
        return np.zeros(0)
    target = _mean_square([target.features for target in known], features.target)
    profile = _mean_square([_flat(target.pairs) for target in known], _flat(features.pairs))
    both = np.where(np.isnan(profile), target, np.where(np.isnan(target), profile, (target + profile) / 2))
    return np.nan_to_num(both, nan=0.0)


def closeness(squared: Array, *, tau: float) -> Array:
    """Returns weights exp(−d²/τ²) that sum to 1, (T,); all equal for τ = ∞."""
    if not squared.size:
        return squared
    exponent = -(squared - squared.min()) / tau**2
    weights = np.exp(exponent)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def misranking(rows: Array, utility: Array) -> Array:
    """Returns misranked pairs / √pairs for each row, (R,), from the n arms observed on the present target.

    Args:
        rows: (R, n) regret of the observed arms in each row.
        utility: (n,) of these arms on the present target. Pairs with equal utility are not counted; equal regret is
            half a mistake.
    """
    i, j = np.triu_indices(len(utility), k=1)
    difference = utility[i] - utility[j]
    is_untied = np.abs(difference) > 1e-12
    if not is_untied.any():
        return np.zeros(len(rows))
    difference = difference[is_untied]
    gap = rows[:, i[is_untied]] - rows[:, j[is_untied]]
    mistakes = np.where(np.abs(gap) <= 1e-12, 0.5, (gap * difference > 0).astype(np.float64))
    return np.asarray(mistakes.sum(axis=1) / np.sqrt(len(difference)), dtype=np.float64)


def reweighted(weights: Array, mistakes: Array, *, beta: float) -> Array:
    """Returns `weights` · exp(−β · mistakes), with the same sum."""
    if beta == 0 or not weights.size:
        return weights
    posterior = weights * np.exp(-beta * (mistakes - mistakes.min()))
    return np.asarray(posterior * (weights.sum() / posterior.sum()), dtype=np.float64)


def standard_scores(known: Sequence[Features], present: Features) -> tuple[Array, Array]:
    """Returns the known vectors (T, F) and the present one (F,), standardised by the known; NaN where missing.

    Only features that vary over the known targets are kept, in the order of their names.
    """
    names = sorted({name for vector in known for name in vector})
    raw = np.array([[_finite(vector.get(name)) for name in names] for vector in known]).reshape(len(known), len(names))
    now = np.array([_finite(present.get(name)) for name in names])
    has_two = (~np.isnan(raw)).sum(axis=0) >= 2
    raw, now = raw[:, has_two], now[has_two]
    mean = np.nanmean(raw, axis=0) if raw.size else np.zeros(raw.shape[1])
    spread = np.nanstd(raw, axis=0) if raw.size else np.zeros(raw.shape[1])
    varies = spread > SMALLEST_SPREAD
    centred = (raw[:, varies] - mean[varies]) / spread[varies]
    present_scores = (now[varies] - mean[varies]) / spread[varies]
    return np.clip(centred, -FARTHEST, FARTHEST), np.clip(present_scores, -FARTHEST, FARTHEST)


def _mean_square(known: Sequence[Features], present: Features) -> Array:
    """Returns the mean squared difference over the features that both have, (T,); NaN where there is none."""
    scores, now = standard_scores(known, present)
    squares = (scores - now) ** 2
    counts = (~np.isnan(squares)).sum(axis=1)
    sums = np.nansum(squares, axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _flat(pairs: Mapping[str, Features]) -> Features:
    return {f"{source}/{name}": value for source, vector in pairs.items() for name, value in vector.items()}


def _finite(value: float | None) -> float:
    return float(value) if value is not None and np.isfinite(value) else np.nan
