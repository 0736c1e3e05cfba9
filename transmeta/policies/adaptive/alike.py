"""How alike two configurations are in what they compute, as far as their description says. Letter: C configurations."""

import dataclasses
from collections.abc import Sequence
from typing import Final, final

import numpy as np

from transmeta.core.trial import Arm
from transmeta.policies.adaptive.rows import Array, Flags

WORK: Final = ("epochs", "probe_epochs", "cut", "stage", "rank", "width", "augment_shift")
"""Hyperparameters that say how much there is to compute."""
LENGTH: Final = ("epochs", "probe_epochs")
"""Those of them that it is about proportional to."""
SIZE_WIDTH: Final = 0.3
WORK_WIDTH: Final = 0.5
"""Differences of logarithms at which likeness has fallen to exp(-1/2)."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """Variances of the parts of an effect that configurations have in common.

    Attributes:
        everything: all of them.
        strategy, size: those of a strategy, those of sources of a size.
        both: those of a strategy on sources of a size; `work` of these, those with about as much to compute.
        length, growth: of slopes on the logarithms of a run's length, and of the source's size.
    """

    everything: float = 0.0
    strategy: float
    size: float
    both: float
    work: float = 0.0
    length: float = 0.0
    growth: float = 0.0


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alike:
    """How alike each two are, (C, C).

    Attributes:
        strategy: whether it is the same, 0 or 1.
        size: how near the sources' sizes are, from 0 to 1.
        work: how near the hyperparameters are that say how much there is to compute, from 0 to 1.
        length, growth: products of the logarithms of their lengths, and of their sources' sizes, less the mean ones.
    """

    strategy: Array
    size: Array
    work: Array
    length: Array
    growth: Array

    @classmethod
    def of(cls, arms: Sequence[Arm], *, sizes: Array) -> "Alike":
        """Returns it for `arms`, whose sources have `sizes` (C,); sources of unknown size are like themselves only."""
        is_known = ~np.isnan(sizes)
        difference = np.where(is_known[:, None] & is_known[None], sizes[:, None] - sizes[None], np.inf)
        centred = np.nan_to_num(sizes - (sizes[is_known].mean() if is_known.any() else 0.0))
        is_same_source = are_equal([arm.source for arm in arms])
        work = np.stack([_logs(arms, name) for name in WORK], axis=1)
        length = np.stack([_logs(arms, name, centred=True) for name in LENGTH], axis=1)
        return cls(
            strategy=are_equal([arm.strategy.name for arm in arms]).astype(np.float64),
            size=np.where(is_same_source, 1.0, _near(difference**2, SIZE_WIDTH)),
            work=_near(_squared_distances(work), WORK_WIDTH),
            length=length @ length.T,
            growth=np.outer(centred, centred),
        )

    def covariance(self, of: Likeness) -> Array:
        """Returns the covariance (C, C) of effects."""
        both = self.strategy * self.size * (of.both + of.work * self.work)
        apart = of.strategy * self.strategy + of.size * self.size
        return np.asarray(of.everything + apart + both + of.length * self.length + of.growth * self.growth)


def are_equal(names: Sequence[str]) -> Flags:
    """Returns which pairs of `names` (C,) are equal, (C, C)."""
    _, numbers = np.unique(np.array(names), return_inverse=True)
    return np.asarray(numbers[:, None] == numbers[None])


def _squared_distances(points: Array) -> Array:
    """Returns those between `points` (C, D), (C, C), without an array of (C, C, D)."""
    lengths = (points**2).sum(axis=1)
    return np.asarray(np.maximum(lengths[:, None] + lengths[None] - 2.0 * points @ points.T, 0.0))


def _near(squares: Array, width: float) -> Array:
    return np.asarray(np.exp(-0.5 * squares / width**2))


def _logs(arms: Sequence[Arm], name: str, *, centred: bool = False) -> Array:
    """Returns the logarithm of 1 + a hyperparameter, (C,), less its mean if `centred`; 0 for arms without it."""
    given = [arm.strategy.params.get(name) for arm in arms]
    values = np.array([np.log1p(max(value, 0)) if isinstance(value, int | float) else np.nan for value in given])
    if centred and not np.isnan(values).all():
        values -= np.nanmean(values)
    return np.asarray(np.nan_to_num(values))
