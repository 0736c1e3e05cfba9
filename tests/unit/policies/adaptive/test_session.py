"""One search, from rows that are given."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from transmeta.policies.adaptive.costs import ExpectedCost
from transmeta.policies.adaptive.posterior import Beliefs
from transmeta.policies.adaptive.protocol import Array, Move
from transmeta.policies.adaptive.rows import Rows
from transmeta.policies.adaptive.session import DEFAULT, PORTFOLIO, AdaptiveSession, Knobs, Spending
from transmeta.policies.forecast import Normal

CONFIGS = 6
LAST = CONFIGS - 1
SHARED = dataclasses.replace(DEFAULT, sampled=0.5)


def _session(*, reference: list[int], budget: float = 5.0, dear: float = 1.0) -> AdaptiveSession:
    """Each of the first configurations is good in a row of its own, the last is bad in all; it costs `dear`."""
    regret = np.full((LAST, CONFIGS, 1), 1.0) - np.eye(LAST, CONFIGS)[:, :, None]
    regret[:, LAST] = 2.9
    cost = np.where(np.arange(CONFIGS) == LAST, dear, 1.0)
    return AdaptiveSession(
        Rows(regret=regret, weights=np.full(LAST, 1 / LAST), known=LAST),
        columns=np.arange(CONFIGS),
        steps=np.ones((CONFIGS, 1), dtype=np.int64),
        spending=Spending(
            cumulative=cost[:, None],
            budget=budget,
            cost=ExpectedCost.certain(cost),
            parts=np.ones((len(cost), 1)),
            is_actual=False,
        ),
        knobs=PORTFOLIO,
        beliefs=Beliefs(
            mean=np.zeros(CONFIGS),
            covariance=np.eye(CONFIGS),
            noise=np.full((CONFIGS, 1), 0.1),
            gaps=np.zeros((CONFIGS, 1)),
            level=Normal(mean=1.0, deviation=0.1),
            log_scale=Normal(mean=0.0, deviation=0.5),
            normal=np.zeros((4, CONFIGS)),
        ),
        reference=np.isin(np.arange(CONFIGS), reference),
    )


def _configs(session: AdaptiveSession) -> list[int]:
    configs = []
    while (move := session.next()) is not None:
        configs.append(move.config)
        session.tell(move, np.array([0.5]), np.zeros(1), failed=False)
    return configs


def test_the_reference_is_the_third_start_though_no_row_speaks_for_it() -> None:
    configs = _configs(_session(reference=[LAST]))

    assert len(configs) == 5
    assert configs.index(LAST) == 2


@pytest.mark.parametrize("reference", [[], [0]])
def test_without_a_reference_or_with_it_chosen_anyway_the_rows_alone_count(reference: list[int]) -> None:
    assert LAST not in _configs(_session(reference=reference))


def test_the_reference_is_run_to_its_end_before_anything_else() -> None:
    session = _partial(DEFAULT, budget=10.0, reference=[1])
    others = [Move(config=0, step=1), Move(config=2, step=5)]
    for move in others:
        session.tell(move, np.array([0.5]), np.zeros(1), failed=False)

    first = session.next()
    session.tell(Move(config=1, step=9), np.array([0.5]), np.zeros(1), failed=False)
    second = session.next()
    session.tell(Move(config=1, step=10), np.array([0.5]), np.zeros(1), failed=False)
    third = session.next()

    assert first == second == Move(config=1, step=10)
    assert third is not None
    assert third.config != 1


def test_a_reference_that_the_budget_does_not_cover_is_left_out() -> None:
    configs = _configs(_session(reference=[LAST], dear=9.0))

    assert len(configs) == 5
    assert LAST not in configs


ONE_IS_BEST = np.array([[[1.4, 1.3], [2.9, 0.0], [1.5, 0.9]]])
"""A short run of the first configuration gains most for its cost; the second needs more than is left after it."""
TWO_ARE_BEST = np.array([[[0.2, 0.1], [2.9, 0.9], [2.5, 2.5]], [[2.5, 2.5], [2.9, 0.9], [0.3, 0.2]]])
"""Short runs of the first and the third together are better than any full run."""


def _partial(
    knobs: Knobs, *, budget: float, regret: Array = ONE_IS_BEST, reference: Sequence[int] = ()
) -> AdaptiveSession:
    return AdaptiveSession(
        Rows(regret=regret, weights=np.full(len(regret), 1 / len(regret)), known=len(regret)),
        columns=np.arange(3),
        steps=np.array([[1, 10], [9, 10], [5, 10]]),
        spending=Spending(
            cumulative=np.array([[0.1, 1.0], [0.95, 1.0], [0.5, 1.0]]),
            budget=budget,
            cost=ExpectedCost.certain(np.ones(3)),
            parts=np.array([[0.1, 1.0], [0.95, 1.0], [0.5, 1.0]]),
            is_actual=False,
        ),
        knobs=dataclasses.replace(knobs, beta=0.0),
        beliefs=Beliefs(
            mean=-regret[0, :, -1],
            covariance=1e-4 * np.eye(3),
            noise=np.full((3, 2), 0.1),
            gaps=regret[0] - regret[0, :, -1:],
            level=Normal(mean=1.0, deviation=0.1),
            log_scale=Normal(mean=0.0, deviation=0.5),
            normal=np.zeros((4, 3)),
        ),
        reference=np.isin(np.arange(3), reference),
    )


def _spent_on_moves(session: AdaptiveSession) -> list[float]:
    """Returns what was spent after each move."""
    spent, reached, after = 0.0, {0: 0.0, 1: 0.0, 2: 0.0}, []
    costs = {(0, 1): 0.1, (1, 9): 0.95, (2, 5): 0.5}
    while (move := session.next()) is not None:
        cost = costs.get((move.config, move.step), 1.0)
        spent += cost - reached[move.config]
        reached[move.config] = cost
        after.append(spent)
        session.tell(move, np.array([0.5]), np.zeros(1), failed=False)
    return after


@pytest.mark.parametrize(("knobs", "budget"), [(DEFAULT, 5.0), (DEFAULT, 2.0), (SHARED, 2.0)])
def test_what_is_begun_in_the_first_full_run_ends_within_it(knobs: Knobs, budget: float) -> None:
    after = _spent_on_moves(_partial(knobs, budget=budget, regret=TWO_ARE_BEST))

    assert after[0] < after[1] <= 1.0


def test_the_first_full_run_is_not_begun_with_what_spoils_the_best_plan() -> None:
    move = _partial(DEFAULT, budget=5.0).next()

    assert move == Move(config=1, step=10)


def test_a_run_that_was_not_measured_yet_is_gone_on_with() -> None:
    session = _partial(DEFAULT, budget=5.0)

    session.tell(Move(config=1, step=9), np.array([-np.inf]), np.zeros(1), failed=False)

    assert session.next() == Move(config=1, step=10)


def test_a_run_that_failed_is_not_gone_on_with() -> None:
    session = _partial(DEFAULT, budget=5.0)

    session.tell(Move(config=1, step=9), np.array([-np.inf]), np.zeros(1), failed=True)

    move = session.next()
    assert move is not None
    assert move.config != 1


def test_with_posterior_samples_an_ample_budget_is_not_divided() -> None:
    after = _spent_on_moves(_partial(SHARED, budget=5.0))

    assert after[0] == pytest.approx(0.1)
    assert after[1] > 1.0
