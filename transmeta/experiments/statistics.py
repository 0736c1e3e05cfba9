"""Intervals and tests over targets: the unit is a data set, whose shots and seeds were averaged before."""

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import wilcoxon

Array = npt.NDArray[np.float64]

RESAMPLES: Final = 10_000
TIE: Final = 1e-9


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over data sets with its 95 % bootstrap interval (percentile, 10,000 resamples)."""

    mean: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """A compared with B on the same data sets; above zero means that A is better.

    Attributes:
        gain: mean of A − B.
        p: two-sided Wilcoxon signed-rank test; 1 where all differences are zero.
    """

    gain: Interval
    wins: int
    ties: int
    losses: int
    p: float


def bootstrap(values: Sequence[float], *, seed: int = 0) -> Interval:
    """Returns the mean of `values` with its interval; equal arguments give equal intervals.

    Raises:
        ValueError: for no values.
    """
    if not len(values):
        raise ValueError("bootstrap: no values; give one for each data set")
    array = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(len(array), size=(RESAMPLES, len(array)))
    low, high = np.quantile(array[drawn].mean(axis=1), [0.025, 0.975])
    return Interval(mean=float(array.mean()), low=float(low), high=float(high))


def paired(differences: Sequence[float], *, seed: int = 0) -> PairedTest:
    """Returns the test of `differences` A − B, one for each data set."""
    array = np.asarray(differences, dtype=np.float64)
    is_tie = np.abs(array) <= TIE
    return PairedTest(
        gain=bootstrap(differences, seed=seed),
        wins=int((array > TIE).sum()),
        ties=int(is_tie.sum()),
        losses=int((array < -TIE).sum()),
        p=1.0 if is_tie.all() else float(wilcoxon(np.where(is_tie, 0.0, array)).pvalue),
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Returns `p_values` corrected for their number (Holm 1979), in the same order."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.zeros(len(p_values))
    running = 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = running
    return tuple(float(p) for p in corrected)
