"""The next move removes the most regret for its cost."""

import numpy as np
import pytest

from transmeta.policies.adaptive.choice import current, expected_gain, next_move
from transmeta.policies.greedy import order

RNG = np.random.default_rng(0)


def test_with_one_rung_and_equal_costs_the_moves_are_those_of_the_greedy_portfolio() -> None:
    regret = RNG.uniform(0, 3, (6, 12))
    weights = np.full(6, 1 / 6)
    expected = order(regret, weights=weights, is_available=np.ones(12, dtype=np.bool_), covering=(), count=8)

    paid = np.zeros(12, dtype=np.int64)
    chosen = []
    for _ in range(8):
        remaining = np.where(paid[:, None] > 0, 0.0, 1.0)
        move = next_move(regret[:, :, None], weights=weights, paid=paid, remaining=remaining, left=99, exponents=(1.0,))
        assert move is not None
        chosen.append(move[0])
        paid[move[0]] = 1

    assert tuple(chosen) == expected


def test_a_move_that_gains_half_for_a_tenth_of_the_cost_comes_first_when_cost_counts() -> None:
    regret = np.array([[[3.0, 0.0], [1.5, 1.4]]])
    remaining = np.array([[5.0, 10.0], [1.0, 10.0]])
    paid = np.zeros(2, dtype=np.int64)

    def chosen(exponents: tuple[float, ...]) -> tuple[int, int] | None:
        return next_move(regret, weights=np.ones(1), paid=paid, remaining=remaining, left=20, exponents=exponents)

    assert chosen((1.0,)) == (1, 0)
    assert chosen((0.0,)) == (0, 1)


def test_a_move_beyond_the_budget_is_never_chosen() -> None:
    regret = np.array([[[0.0], [1.0]]])
    remaining = np.array([[2.0], [1.0]])
    paid = np.zeros(2, dtype=np.int64)

    def chosen(left: float) -> tuple[int, int] | None:
        return next_move(regret, weights=np.ones(1), paid=paid, remaining=remaining, left=left, exponents=(0.0,))

    assert chosen(2.0) == (0, 0)
    assert chosen(1.5) == (1, 0)
    assert chosen(0.5) is None


def test_current_is_the_least_regret_at_the_rungs_that_were_reached() -> None:
    regret = np.array([[[2.0, 1.0], [0.5, 0.1]], [[3.0, 0.2], [2.5, 2.4]]])

    assert current(regret, np.array([0, 0])).tolist() == [3.0, 3.0]
    assert current(regret, np.array([2, 1])).tolist() == [0.5, 0.2]


def test_the_expected_gain_is_the_weighted_regret_that_is_removed() -> None:
    regret = np.array([[[1.0], [2.0]], [[0.5], [0.0]]])

    gain = expected_gain(regret, weights=np.array([0.25, 0.75]), current=np.array([1.5, 0.4]))

    assert gain[:, 0] == pytest.approx([0.25 * 0.5, 0.75 * 0.4])
