"""What to run next: the start or continuation that removes the most regret, for what it costs.

Letters: R rows, C configurations, K rungs, w_r the rows' weights, cur_r the least regret of what was run, in row r.
With one rung, equal weights and equal costs the choices are those of the greedy regret portfolio.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from transmeta.policies.adaptive.rows import Array, Flags, Indices
from transmeta.policies.table import WORST

TIE: Final = 1e-9
"""Weight of the mean regret, which orders moves that remove equally much."""


def next_move(
    regret: Array,
    *,
    weights: Array,
    paid: Indices,
    remaining: Array,
    left: float,
    exponents: Sequence[float],
) -> tuple[int, int] | None:
    """Returns configuration and rung to run next; None if nothing fits what is left of the budget.

    The utility is Σ_r w_r (cur_r − g_r(c, k))₊ / cost^γ, averaged over the exponents γ after each is scaled to a
    largest value of 1: between what removes most (γ = 0) and what removes most for its cost (γ = 1).

    Args:
        regret: (R, C, K).
        paid: (C,) rungs that were paid for; 0 for a configuration that was not started.
        remaining: (C, K) cost of getting to each rung from where it is; not above 0 where it is there already.
        left: budget in the unit of `remaining`.
    """
    can = affordable(remaining, left=left)
    if not can.any():
        return None
    gain = expected_gain(regret, weights=weights, current=current(regret, paid))
    utility = np.zeros_like(gain)
    cost = np.maximum(remaining, TIE)
    for exponent in exponents:
        scaled = np.where(can, gain / cost**exponent, 0.0)
        utility += scaled / max(float(scaled.max()), TIE)
    mean = np.tensordot(weights, regret, axes=1)
    utility = np.where(can, np.round(utility, 12) - TIE * mean, -np.inf)
    configuration, rung = np.unravel_index(int(np.argmax(utility)), utility.shape)
    return int(configuration), int(rung)


def planned_move(
    regret: Array,
    *,
    weights: Array,
    paid: Indices,
    remaining: Array,
    left: float,
    exponents: Sequence[float],
) -> tuple[int, int] | None:
    """Returns the first move of the plan that leaves least regret once `left` is spent; None if nothing fits.

    A plan follows `next_move` with one of the `exponents` to its end, every row being a world that is known. Gain per
    cost alone, or gain alone, can be arbitrarily bad where a budget is tight, but hardly both (Khuller, Moss and Naor,
    1999). The first of equally good plans counts.

    Args:
        regret, weights, paid, remaining, left: as in `next_move`.
    """
    best, least = None, np.inf
    for exponent in exponents:
        now, ahead, budget, first = paid.copy(), remaining.copy(), left, None
        while (
            move := next_move(regret, weights=weights, paid=now, remaining=ahead, left=budget, exponents=(exponent,))
        ) is not None:
            first = first or move
            budget -= float(ahead[move])
            ahead[move[0]] -= ahead[move]
            now[move[0]] = move[1] + 1
        outcome = round(float(weights @ current(regret, now)), 9)
        if first is not None and outcome < least:
            best, least = first, outcome
    return best


def affordable(remaining: Array, *, left: float) -> Flags:
    """Returns which rungs are still ahead and within what is left of the budget, (C, K)."""
    return (remaining > 0) & (remaining <= left + TIE)


def current(regret: Array, paid: Indices) -> Array:
    """Returns cur_r, (R,): the least regret in each row of what was paid for, at the rungs reached."""
    started = np.flatnonzero(paid)
    return np.asarray(regret[:, started, paid[started] - 1].min(axis=1, initial=WORST))


def expected_gain(regret: Array, *, weights: Array, current: Array) -> Array:
    """Returns Σ_r w_r (cur_r − g_r(c, k))₊, (C, K)."""
    return np.tensordot(weights, np.maximum(current[:, None, None] - regret, 0.0), axes=1)
