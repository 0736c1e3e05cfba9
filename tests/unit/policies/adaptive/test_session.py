"""One search, from rows that are given."""

import numpy as np
import pytest

from transmeta.policies.adaptive.posterior import Beliefs
from transmeta.policies.adaptive.rows import Rows
from transmeta.policies.adaptive.session import PORTFOLIO, AdaptiveSession, Spending
from transmeta.policies.forecast import Normal

CONFIGS = 6
LAST = CONFIGS - 1


def _session(*, reference: list[int], budget: float = 5.0, dear: float = 1.0) -> AdaptiveSession:
    """Each of the first configurations is good in a row of its own, the last is bad in all; it costs `dear`."""
    regret = np.full((LAST, CONFIGS, 1), 1.0) - np.eye(LAST, CONFIGS)[:, :, None]
    regret[:, LAST] = 2.9
    cost = np.where(np.arange(CONFIGS) == LAST, dear, 1.0)
    return AdaptiveSession(
        Rows(regret=regret, weights=np.full(LAST, 1 / LAST), known=LAST),
        columns=np.arange(CONFIGS),
        steps=np.ones((CONFIGS, 1), dtype=np.int64),
        spending=Spending(cumulative=cost[:, None], budget=budget, cost=cost, is_actual=False),
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


def test_a_reference_that_the_budget_does_not_cover_is_left_out() -> None:
    configs = _configs(_session(reference=[LAST], dear=9.0))

    assert len(configs) == 5
    assert LAST not in configs
