import dataclasses

import pytest

from transmeta.core.trial import Arm, StrategySpec, TrialStatus
from transmeta.policies.adaptive.learned import AdaptiveLearned
from transmeta.policies.portfolio import PortfolioLearner
from transmeta.policies.ranking import is_transfer
from transmeta.policies.table import is_scratch

from ..cases import CountingProposer, experience, meta_features, result, task
from .live import ARMS, LEARNER, PROPOSER, policy, present, rows, stopped, trial


def keys(suggestions) -> list[str]:
    return [item.arm.key for item in suggestions]


def test_the_source_that_fits_comes_first() -> None:
    firsts = [policy().suggest(present(fit), (), count=1, seed=0)[0].arm.source for fit in (-0.9, 0.9)]

    assert firsts == ["far", "near"]


def test_the_same_arguments_give_the_same_suggestions() -> None:
    history = [trial("new", ARMS[0], 0.6)]

    first = policy().suggest(present(0.4), history, count=8, seed=3)
    assert first == policy().suggest(present(0.4), history, count=8, seed=3)


def test_known_arms_come_first_and_then_fresh_ones_all_distinct_and_untried() -> None:
    history = [trial("new", ARMS[0], 0.6)]

    found = keys(policy().suggest(present(0.4), history, count=12, seed=0))
    assert len(set(found)) == 12
    assert set(found[:5]) == {arm.key for arm in ARMS[1:]}
    assert all("|lora|" in key for key in found[5:])


def test_only_allowed_sources_are_suggested() -> None:
    found = policy().suggest(present(0.9, sources=("far",)), (), count=8, seed=0)

    assert "near" not in {item.arm.source for item in found}
    assert {item.arm.source for item in found if is_scratch(item.arm.source)} == {ARMS[4].source}


def test_asked_for_nothing_it_suggests_nothing() -> None:
    assert len(policy().suggest(present(0.1), (), count=0, seed=0)) == 0


@pytest.mark.parametrize("status", list(TrialStatus))
def test_what_was_tried_is_not_suggested_again_however_it_ended(status: TrialStatus) -> None:
    score = 0.5 if status in (TrialStatus.COMPLETED, TrialStatus.STOPPED) else None
    tried = result(task("new"), ARMS[2], score, status=status)

    assert ARMS[2].key not in keys(policy().suggest(present(-0.9), [tried], count=20, seed=0))


def test_trials_that_speak_against_its_first_choice_change_its_mind() -> None:
    before = policy().suggest(present(0.5), (), count=1, seed=0)[0]
    history = [trial("new", ARMS[0], 0.2), trial("new", ARMS[3], 0.8)]

    after = policy().suggest(present(0.5), history, count=1, seed=0)[0]
    assert before.arm.source == "near"
    assert after.arm.source == "far"


def test_a_stopped_trial_tells_as_well() -> None:
    learned = policy().suggest(
        present(0.5), [stopped("new", ARMS[0], 0.1), stopped("new", ARMS[1], 0.1)], count=1, seed=0
    )

    assert learned[0].arm.source != "near"


def test_what_is_suggested_together_is_not_alike() -> None:
    """After the best arm of one source, the same source with another rate removes next to nothing."""
    found = policy().suggest(present(0.0), (), count=2, seed=0)

    assert found[0].arm.source != found[1].arm.source


def test_suggestions_say_what_they_expect_and_why() -> None:
    (first,) = policy().suggest(present(0.9), (), count=1, seed=0)

    assert first.predicted_score is not None
    assert first.low is not None
    assert first.high is not None
    assert 0 <= first.low <= first.predicted_score <= first.high <= 1
    assert first.predicted_score == pytest.approx(0.77, abs=0.15)
    assert first.evidence
    assert 0 < sum(item.weight for item in first.evidence) <= 1 + 1e-9


def test_suggestions_name_the_feature_that_decided() -> None:
    good = policy().suggest(present(0.8), (), count=1, seed=0)[0]

    assert good.arm.source == "near"
    assert good.features[0].name == "logme"
    assert good.features[0].value == pytest.approx(0.8)
    assert good.features[0].effect > 0


def test_costs_follow_the_machine() -> None:
    plain = policy().suggest(present(0.9), (), count=6, seed=0)
    slow = [trial("new", ARMS[5], 0.5, cost_s=10 * _cost(plain, ARMS[5].key))]

    after = policy().suggest(present(0.9), slow, count=1, seed=0)[0]
    assert after.predicted_cost_s is not None
    assert after.predicted_cost_s > 3 * _cost(plain, after.arm.key)


def _cost(suggestions, key: str) -> float:
    return next(item.predicted_cost_s for item in suggestions if item.arm.key == key)


def test_with_a_budget_of_time_the_cheaper_of_two_arms_that_promise_alike_comes_first() -> None:
    scores = {f"set{i}": {"dear": 0.8, "cheap": 0.799, "bad": 0.1} for i in range(2)}
    arms = {"dear": ARMS[0], "cheap": ARMS[2], "bad": ARMS[4]}
    known = [
        dataclasses.replace(line, result=dataclasses.replace(line.result, cost_s=9.0 if line.arm == ARMS[0] else 1.0))
        for line in experience(scores, arms=arms)
    ]
    learned = LEARNER.update(LEARNER.initial(), known)
    features = meta_features([arm.source for arm in arms.values()])

    assert learned.suggest(features, (), count=1, seed=0)[0].arm == ARMS[0]
    assert learned.by_cost().suggest(features, (), count=1, seed=0)[0].arm == ARMS[2]


def test_where_scratch_is_best_the_first_suggestion_does_not_transfer() -> None:
    scores = {f"set{i}": {"near": 0.4, "scratch": 0.9, "far": 0.3} for i in range(4)}
    arms = {"near": ARMS[0], "scratch": ARMS[4], "far": ARMS[2]}
    learned = LEARNER.update(LEARNER.initial(), experience(scores, arms=arms))

    (first,) = learned.suggest(meta_features([arm.source for arm in arms.values()]), (), count=1, seed=0)
    assert not is_transfer(first)


def test_without_experience_arms_come_from_the_proposer() -> None:
    found = LEARNER.initial().suggest(meta_features(["latin"]), (), count=3, seed=1)

    assert len(found) == 3
    assert all(item.predicted_score is None and item.evidence == () for item in found)


def test_with_two_data_sets_it_is_the_greedy_portfolio() -> None:
    few = [line for line in rows() if line.result.spec.target.dataset in ("set2", "set7")]
    portfolio = PortfolioLearner(proposer=PROPOSER)

    ours = LEARNER.update(LEARNER.initial(), few).suggest(present(0.3), (), count=6, seed=0)
    theirs = portfolio.update(portfolio.initial(), few).suggest(present(0.3), (), count=6, seed=0)
    assert keys(ours) == keys(theirs)


def test_a_space_that_is_exhausted_gives_fewer_arms_than_asked_for() -> None:
    tiny = dataclasses.replace(policy(), proposer=CountingProposer(most=0))

    assert len(tiny.suggest(present(0.1), (), count=50, seed=0)) == len(ARMS)


def test_a_source_that_nobody_had_is_judged_by_its_features_before_known_arms_run_out() -> None:
    pairs = {"near": {"logme": -1.0}, "far": {"logme": -1.0}, "cold": {"logme": 1.0}, ARMS[4].source: {"logme": 0.0}}
    features = meta_features(list(pairs), target={"log_examples": 3.0}, pairs=pairs)

    found = policy().suggest(features, (), count=30, seed=0)

    cold = [item for item in found if item.arm.source == "cold"]
    known = [place for place, item in enumerate(found) if item.arm in ARMS]
    assert len(known) == len(ARMS)
    assert found.index(cold[0]) < known[-1]
    assert cold[0].predicted_score is not None
    assert cold[0].predicted_cost_s is not None
    assert cold[0].evidence == ()


def test_the_arms_of_a_cold_source_stay_the_same_during_a_search() -> None:
    features = meta_features(["near", "cold"], target={"log_examples": 3.0}, pairs={"cold": {"logme": 1.0}})
    first = policy().suggest(features, (), count=18, seed=0)
    history = [trial("new", first[0].arm, 0.7), trial("new", first[1].arm, 0.6)]

    later = policy().suggest(features, history, count=16, seed=5)

    assert set(keys(later)) == set(keys(first)[2:])


def test_what_was_drawn_afresh_tells_about_the_target() -> None:
    (before,) = policy().suggest(present(0.5), (), count=1, seed=0)
    fresh = [
        trial("new", Arm(source="near", strategy=StrategySpec(name="lora", params={"rank": k})), 0.2) for k in (1, 2, 3)
    ]

    (after,) = policy().suggest(present(0.5), fresh, count=1, seed=0)
    assert after.predicted_score is not None
    assert before.predicted_score is not None
    assert after.predicted_score < before.predicted_score


def test_when_the_known_arms_are_used_up_the_network_chooses_among_new_ones_of_the_same_sources() -> None:
    history = [trial("new", arm, 0.5) for arm in ARMS]

    found = policy().suggest(present(0.4), history, count=4, seed=0)

    assert len({*keys(found), *(arm.key for arm in ARMS)}) == 4 + len(ARMS)
    assert {item.arm.source for item in found} <= {arm.source for arm in ARMS}
    assert all(item.predicted_score is not None for item in found)


def test_a_target_is_met_once_and_again_only_when_it_or_what_is_allowed_changes(monkeypatch) -> None:
    met: list[str] = []
    meet = AdaptiveLearned.meet
    monkeypatch.setattr(AdaptiveLearned, "meet", lambda self, now: (met.append(now.target), meet(self, now))[1])
    searching = policy()

    first = searching.suggest(present(0.123), (), count=1, seed=0)
    searching.suggest(present(0.123), [trial("new", first[0].arm, 0.6)], count=2, seed=1)
    assert len(met) == 1

    searching.suggest(present(-0.123), (), count=1, seed=0)
    assert len(met) == 2
    assert searching.suggest(present(0.123), (), count=1, seed=0) == first


def test_what_going_on_is_worth_falls_with_what_was_found() -> None:
    features = present(0.8)
    poor = [trial("new", ARMS[4], 0.5)]
    good = [*poor, trial("new", ARMS[0], 0.74)]

    before, after_poor, after_good = (policy().expected_gain(features, history) for history in ((), poor, good))

    assert before is None
    assert after_poor is not None
    assert after_good is not None
    assert after_poor > 0.1
    assert 0.0 < after_good < after_poor / 3


def test_what_failed_tells_nothing_of_what_going_on_is_worth() -> None:
    failed = result(task("new"), ARMS[0], None, status=TrialStatus.FAILED)

    assert policy().expected_gain(present(0.8), [failed]) is None
