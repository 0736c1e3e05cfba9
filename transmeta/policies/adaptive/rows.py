"""What the known targets, and the network, say of each configuration at each rung: the rows that are weighed.

Letters: R rows, C configurations, K rungs.
"""

import dataclasses
from typing import Final, final

import numpy as np
import numpy.typing as npt

from transmeta.policies.greedy import filled
from transmeta.policies.table import WORST

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

SHARES: Final = (0.1, 0.2, 1 / 3, 0.5, 2 / 3, 1.0)
"""Rungs: the shares of a full run after which it may be left, and gone on with later."""
LEAST_COVER: Final = 0.25
"""A known target that tried less than this share of the present configurations says nothing about them."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Regret rows over rungs, without gaps.

    Attributes:
        regret: (R, C, K), in [0, 3].
        weights: (R,) before anything was tried on the present target, with sum 1.
        known: how many of the rows, from the first on, are known targets; the others are predictions.
    """

    regret: Array
    weights: Array
    known: int


def rung_steps(steps: Indices) -> Indices:
    """Returns the 1-based step of each rung, (..., K), for full runs of `steps` (...)."""
    return np.asarray(np.maximum(np.rint(steps[..., None] * np.array(SHARES)), 1), dtype=np.int64)


def at_rungs(regret: Array, steps: Indices) -> Array:
    """Returns the regret at the rungs, (T, C, K), of curves (T, C, S); NaN where the cell was not recorded.

    A curve with a gap counts by its last recorded step before the rung; beyond the end of its record, not at all.
    """
    last = regret.shape[2] - 1
    indices = np.clip(rung_steps(steps) - 1, 0, last)
    known = np.where(np.isnan(regret), -1, np.arange(last + 1))
    latest = np.maximum.accumulate(known, axis=2)
    found = np.take_along_axis(latest, indices, axis=2)
    values = np.take_along_axis(regret, np.maximum(found, 0), axis=2)
    is_reached = indices <= latest[:, :, -1:]
    return np.where((found >= 0) & is_reached & (steps > 0)[..., None], values, np.nan)


def without_gaps(regret: Array) -> Array:
    """Returns `regret` (T, C, K) with what was not tried replaced by a cautious guess.

    The last rung is that of `greedy.filled`; the others lie above it as they do on average for the configuration.
    """
    final = filled(regret[:, :, -1])
    return np.where(np.isnan(regret), np.clip(final[:, :, None] + rung_gaps(regret), 0.0, WORST), regret)


def rung_gaps(regret: Array) -> Array:
    """Returns how far the regret at each rung lies above that of the full run, (C, K), on average over targets."""
    gaps = regret - regret[:, :, -1:]
    counts = (~np.isnan(gaps)).sum(axis=0)
    overall = np.nansum(gaps, axis=(0, 1)) / np.maximum(counts.sum(axis=0), 1)
    return np.asarray((np.nansum(gaps, axis=0) + overall) / (counts + 1))


def mean_of_known(values: Array) -> Array:
    """Returns the mean over the first axis of what is not NaN; NaN where nothing is."""
    counts = (~np.isnan(values)).sum(axis=0)
    return np.where(counts > 0, np.nansum(values, axis=0) / np.maximum(counts, 1), np.nan)


def cover(regret: Array, is_allowed: Flags) -> Flags:
    """Returns which known targets tried enough of the allowed configurations to be heard, (T,)."""
    if not is_allowed.any():
        return np.zeros(len(regret), dtype=np.bool_)
    return np.asarray((~np.isnan(regret[:, is_allowed, -1])).mean(axis=1) >= LEAST_COVER)
