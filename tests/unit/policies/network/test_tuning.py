import dataclasses

import numpy as np

from transmeta.policies.network.rows import PORTFOLIO
from transmeta.policies.network.tuning import LeftOut, choose_knobs

KNOWN = np.array([[0.0, 1.0, 2.0], [0.0, 1.2, 2.0], [2.0, 1.0, 0.0]])


def _case(index: int, *, regret: list[float], members: list[float], known=KNOWN) -> LeftOut:
    values = np.array(regret)
    return LeftOut(
        dataset=f"d{index}",
        regret=values,
        utility=1 - values / 3,
        known=known,
        squared=np.ones(len(known)),
        members=np.array([members]),
    )


def test_where_the_networks_know_better_they_are_given_weight():
    cases = [_case(i, regret=[1.5, 0.0, 1.0], members=[2.0, 0.1, 2.0]) for i in range(6)]

    assert choose_knobs(cases).blend > 0


def test_where_the_networks_know_nothing_better_it_stays_the_portfolio():
    cases = [_case(i, regret=[0.0, 1.0, 2.0], members=[2.0, 0.1, 2.0]) for i in range(6)]

    assert choose_knobs(cases) == PORTFOLIO


def test_a_gain_on_one_data_set_among_many_is_not_enough():
    good = _case(0, regret=[0.1, 0.0, 1.0], members=[2.0, 0.1, 2.0])
    same = [_case(i, regret=[0.0, 0.0, 0.0], members=[0.0, 0.1, 2.0]) for i in range(1, 6)]

    assert choose_knobs([good, *same]) == PORTFOLIO


def test_one_data_set_is_not_enough_to_choose_by():
    assert choose_knobs([_case(0, regret=[1.5, 0.0, 1.0], members=[2.0, 0.1, 2.0])]) == PORTFOLIO


def test_arms_that_nobody_else_tried_are_not_picked():
    known = KNOWN.copy()
    known[:, 1] = np.nan
    cases = [_case(i, regret=[1.0, 0.0, 1.0], members=[2.0, 0.1, 2.0], known=known) for i in range(4)]

    assert choose_knobs(cases) == PORTFOLIO


def test_an_arm_that_failed_on_the_left_out_target_has_no_rank():
    case = _case(0, regret=[3.0, 0.0, 1.0], members=[2.0, 0.1, 2.0])
    utility = case.utility.copy()
    utility[0] = np.nan
    cases = [dataclasses.replace(case, dataset=f"d{i}", utility=utility) for i in range(4)]

    assert choose_knobs(cases).blend > 0
