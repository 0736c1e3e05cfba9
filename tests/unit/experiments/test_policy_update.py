import dataclasses

import pytest
from policies.adaptive.live import ARMS, COSTS, LEARNER, PROPOSER, policy, row, rows, score_of, trial

from transmeta.experiments.policy_update import Remembering, compared, extended
from transmeta.policies.adaptive.check import regret_on
from transmeta.policies.adaptive.policy import LeftOut
from transmeta.policies.adaptive.trials import curves_of
from transmeta.policies.portfolio import PortfolioLearner
from transmeta.policies.random import RandomPolicy

FRESH = tuple(
    row(
        trial(f"fresh{i}", choice, score_of(choice, fit), cost_s=COSTS[choice.source]),
        features={"log_examples": 2.0},
        pair={"logme": fit * {"near": 1.0, "far": -1.0}.get(choice.source, 0.0)},
    )
    for i, fit in enumerate((-0.5, 0.6))
    for choice in ARMS
)


def test_an_update_knows_what_the_policy_knew_and_what_was_tried() -> None:
    update = extended(policy(), FRESH, learner=LEARNER)

    assert (update.targets, update.data_sets, update.new_targets) == (10, 10, 2)
    assert {target.dataset for target in update.policy.table.targets} >= {"set0", "fresh0", "fresh1"}


def test_an_update_is_judged_on_data_sets_that_both_can_be_judged_on() -> None:
    update = extended(policy(), FRESH, learner=LEARNER)

    left_out = update.policy.left_out
    assert left_out is not None
    assert update.gate.after == pytest.approx(sum(left_out.regret.values()) / 10)


def test_a_policy_is_judged_as_it_is_on_data_sets_that_it_does_not_know() -> None:
    found = regret_on(policy().learned, curves_of((*rows(), *FRESH)))

    assert set(found) == {"fresh0", "fresh1"}
    assert all(0 <= regret < 1 for regret in found.values())


def test_from_trials_that_say_nothing_new_nothing_is_learned() -> None:
    for known in (rows(), FRESH[:1], ()):
        assert extended(policy(), known, learner=LEARNER) is None


@pytest.mark.parametrize("learner", [PortfolioLearner(proposer=PROPOSER)])
def test_a_policy_of_another_kind_lends_its_table(learner: PortfolioLearner) -> None:
    base = learner.update(learner.initial(), rows())

    update = extended(base, FRESH, learner=LEARNER)

    assert update.targets == 10
    assert update.gate.is_accepted


def test_a_policy_without_a_table_lends_nothing() -> None:
    assert extended(RandomPolicy(proposer=PROPOSER), FRESH, learner=LEARNER).targets == 2


def test_what_is_worse_on_left_out_data_sets_is_not_accepted() -> None:
    worse = LeftOut(regret={f"set{i}": 2.0 + 0.01 * i for i in range(8)}, portfolio={})

    report = compared(policy(), dataclasses.replace(policy(), left_out=worse), curves_of(rows()))

    assert report.after > report.before
    assert not report.is_accepted


def test_where_nothing_can_be_compared_the_new_one_is_accepted() -> None:
    assert compared(LEARNER.initial(), policy(), curves_of(rows())).is_accepted


def test_the_outer_loop_learns_each_round_once() -> None:
    loop = Remembering(LEARNER)

    first = loop.update(loop.initial(), rows())
    report = loop.gate(rows()[:24], rows())

    assert loop.update(first, rows()) is first
    assert report.after == pytest.approx(report.before, abs=1.0)
    assert loop.gate((), rows()).is_accepted
