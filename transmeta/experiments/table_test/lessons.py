"""What static baselines make of curves: one regret for each known target and configuration, ranks, greedy orders.

Letters: T known targets, C configurations.
"""

from collections.abc import Callable
from typing import final

import numpy as np
from scipy.stats import rankdata

from transmeta.policies.adaptive.protocol import Array, Curves, Flags, Indices, Move, Present
from transmeta.policies.greedy import filled, order
from transmeta.policies.table import WORST

OrderOf = Callable[[Present, int], Indices]
"""The configurations to run on the present target one after the other, for a seed."""


def final_regret(curves: Curves) -> Array:
    """Returns the regret of each full run, (T, C): 3 where it failed, NaN where there was none."""
    last = np.maximum(curves.steps - 1, 0)[:, :, None]
    reached = np.take_along_axis(curves.regret, last, axis=2)[:, :, 0]
    return np.where(curves.observed, np.where(curves.failed, WORST, reached), np.nan)


def mean_regret(curves: Curves) -> Array:
    """Returns each configuration's mean regret over the known targets, (C,), cautious where it was not tried."""
    regret = filled(final_regret(curves))
    return np.asarray(regret.mean(axis=0)) if len(regret) else np.zeros(regret.shape[1])


def ranks(curves: Curves) -> Array:
    """Returns the rank of each configuration on each known target, (T, C), in (0, 1]; equal ones share a rank."""
    regret = filled(final_regret(curves))
    return np.asarray(rankdata(np.round(regret, 12), axis=1) / max(regret.shape[1], 1))


def greedy_order(rows: Array, is_allowed: Flags, *, count: int) -> Indices:
    """Returns up to `count` configurations: each next lowers Σ_r min(cur_r, row_r) most; ties by mean, index."""
    weights = np.full(len(rows), 1 / max(len(rows), 1))
    chosen = order(rows, weights=weights, is_available=is_allowed, covering=(), count=count)
    return np.array(chosen, dtype=np.int64)


def ascending(values: Array, is_allowed: Flags) -> Indices:
    """Returns the allowed configurations, least value first, ties by index."""
    allowed = np.flatnonzero(is_allowed)
    return np.asarray(allowed[np.argsort(np.round(values[allowed], 12), kind="stable")])


@final
class OrderSession:
    """Runs configurations in full, in a given order."""

    def __init__(self, order: Indices, steps: Indices) -> None:
        self._moves = [Move(config=int(config), step=int(steps[config])) for config in reversed(order)]

    def next(self) -> Move | None:
        """Returns the next full run; None when all were run."""
        return self._moves.pop() if self._moves else None

    def tell(self, move: Move, values: Array, cost_s: Array, failed: bool) -> None:
        """Does not learn."""


@final
class OrderLearned:
    """Starts searches that follow an order."""

    def __init__(self, order_of: OrderOf) -> None:
        self._order_of = order_of

    def start(self, present: Present, *, seed: int) -> OrderSession:
        """Returns the search on the target."""
        return OrderSession(self._order_of(present, seed), present.steps)
