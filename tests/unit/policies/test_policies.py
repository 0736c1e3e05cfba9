import dataclasses
import math

import pytest

from transmeta.core.protocols import Policy
from transmeta.core.trial import TrialStatus
from transmeta.policies.fixed import FixedLearner
from transmeta.policies.mean_rank import MeanRankLearner
from transmeta.policies.nearest_task import NearestTaskLearner, NearestTaskPolicy
from transmeta.policies.portfolio import PortfolioLearner
from transmeta.policies.random import RandomLearner
from transmeta.policies.ranking import is_transfer

from .cases import CountingProposer, arm, experience, meta_features, result, row, task

ARMS = {
    "probe-latin": arm("latin"),
    "probe-icons": arm("icons"),
    "lora-latin": arm("latin", "lora", rank=4),
    "scratch": arm("scratch-small_cnn", "from_scratch"),
}
SCORES = {
    "grek": {"probe-latin": 0.90, "probe-icons": 0.85, "lora-latin": 0.50, "scratch": 0.40},
    "cyrl": {"probe-latin": 0.90, "probe-icons": 0.85, "lora-latin": 0.60, "scratch": 0.30},
    "star": {"probe-latin": 0.10, "probe-icons": 0.15, "lora-latin": 0.80, "scratch": 0.20},
}
FEATURES = {"grek": {"ink": 0.10}, "cyrl": {"ink": 0.12}, "star": {"ink": 0.90}}
ROWS = experience(SCORES, arms=ARMS, features=FEATURES)
PROPOSER = CountingProposer(strategies=("linear_probe", "lora"))
SOURCES = ["latin", "icons", "scratch-small_cnn"]


def learned(rows=ROWS) -> list[Policy]:
    return [
        RandomLearner(proposer=PROPOSER).update(RandomLearner(proposer=PROPOSER).initial(), rows),
        *(
            learner.update(learner.initial(), rows)
            for learner in (
                FixedLearner(strategy="linear_probe", proposer=PROPOSER),
                MeanRankLearner(proposer=PROPOSER),
                PortfolioLearner(proposer=PROPOSER),
                NearestTaskLearner(proposer=PROPOSER),
            )
        ),
    ]


ALL = learned()
names = pytest.mark.parametrize("policy", ALL, ids=lambda policy: policy.name)


@names
def test_the_same_arguments_give_the_same_suggestions(policy):
    features = meta_features(SOURCES, target={"ink": 0.5})

    first = policy.suggest(features, (), count=9, seed=3)
    assert first == policy.suggest(features, (), count=9, seed=3)


@names
def test_suggestions_are_distinct_untried_and_as_many_as_asked_for(policy):
    features = meta_features(SOURCES, target={"ink": 0.5})
    history = [result(task("new"), ARMS["probe-latin"], 0.5)]

    keys = [item.arm.key for item in policy.suggest(features, history, count=12, seed=0)]
    assert len(set(keys)) == 12
    assert ARMS["probe-latin"].key not in keys


@names
def test_a_barred_source_is_never_suggested(policy):
    suggestions = policy.suggest(meta_features(["icons"], target={"ink": 0.1}), (), count=8, seed=0)

    assert suggestions
    assert "latin" not in {item.arm.source for item in suggestions}


@names
def test_nothing_is_suggested_where_nothing_is_asked_for(policy):
    assert len(policy.suggest(meta_features(SOURCES), (), count=0, seed=0)) == 0


@pytest.mark.parametrize("policy", learned(()), ids=lambda policy: policy.name)
def test_without_experience_arms_come_from_the_proposer(policy):
    suggestions = policy.suggest(meta_features(["latin"]), (), count=3, seed=1)

    assert len(suggestions) == 3
    assert all(item.predicted_score is None and item.evidence == () for item in suggestions)


@names
def test_a_space_that_is_exhausted_gives_fewer_arms_than_asked_for(policy):
    tiny = dataclasses.replace(policy, proposer=CountingProposer(most=1))

    suggestions = tiny.suggest(meta_features(["latin"]), (), count=50, seed=0)
    assert 1 <= len(suggestions) <= 4


def test_the_portfolio_starts_with_the_least_mean_regret_and_then_covers_the_odd_target():
    portfolio = PortfolioLearner(proposer=PROPOSER)
    policy = portfolio.update(portfolio.initial(), ROWS)

    first, second = policy.suggest(meta_features(SOURCES), (), count=2, seed=0)
    assert {first.arm.key, second.arm.key} == {ARMS["probe-latin"].key, ARMS["lora-latin"].key}


def test_the_portfolio_continues_from_what_was_tried():
    portfolio = PortfolioLearner(proposer=PROPOSER)
    policy = portfolio.update(portfolio.initial(), ROWS)
    history = [result(task("new"), ARMS["lora-latin"], 0.5)]

    asked_once = policy.suggest(meta_features(SOURCES), (), count=4, seed=0)
    assert asked_once[0].arm == ARMS["lora-latin"] or asked_once[1].arm == ARMS["lora-latin"]
    assert policy.suggest(meta_features(SOURCES), history, count=1, seed=0)[0].arm == ARMS["probe-latin"]


def test_the_nearest_task_decides_by_the_features():
    nearest = NearestTaskLearner(proposer=PROPOSER, tau=0.3, beta=0.0)
    policy = nearest.update(nearest.initial(), ROWS)

    like_star = policy.suggest(meta_features(SOURCES, target={"ink": 0.9}), (), count=1, seed=0)[0]
    like_grek = policy.suggest(meta_features(SOURCES, target={"ink": 0.1}), (), count=1, seed=0)[0]
    assert like_star.arm == ARMS["lora-latin"]
    assert like_grek.arm == ARMS["probe-latin"]
    assert like_star.evidence[0].target == task("star").id


def test_the_nearest_task_learns_from_the_ranks_that_it_observes():
    nearest = NearestTaskLearner(proposer=PROPOSER, tau=math.inf, beta=20.0)
    policy = nearest.update(nearest.initial(), ROWS)
    history = [result(task("new"), ARMS["scratch"], 0.5), result(task("new"), ARMS["probe-icons"], 0.1)]

    assert policy.suggest(meta_features(SOURCES), history, count=1, seed=0)[0].arm == ARMS["lora-latin"]


def test_the_nearest_task_with_infinite_width_and_no_memory_is_the_portfolio():
    portfolio = PortfolioLearner(proposer=PROPOSER)
    policy = portfolio.update(portfolio.initial(), ROWS)
    flat = NearestTaskPolicy(table=policy.table, proposer=PROPOSER, tau=math.inf, beta=0.0)
    history = [result(task("new"), ARMS["probe-icons"], 0.4)]

    features = meta_features(SOURCES, target={"ink": 0.3})
    assert flat.suggest(features, history, count=6, seed=4) == policy.suggest(features, history, count=6, seed=4)


def test_the_fixed_policy_keeps_to_its_strategy():
    fixed = FixedLearner(strategy="lora", proposer=PROPOSER)
    policy = fixed.update(fixed.initial(), ROWS)

    suggestions = policy.suggest(meta_features(SOURCES), (), count=5, seed=0)
    assert suggestions[0].arm == ARMS["lora-latin"]
    assert {item.arm.strategy.name for item in suggestions} == {"lora"}
    assert policy.name == "fixed-lora"


def test_mean_rank_is_blind_to_the_size_of_differences():
    line = {"probe-latin": 0.51, "lora-latin": 0.50, "probe-icons": 0.20, "scratch": 0.10}
    far = {"odd": {"probe-latin": 0.10, "lora-latin": 0.90, "probe-icons": 0.50, "scratch": 0.40}}
    rows = experience({**{f"close{i}": line for i in range(4)}, **far}, arms=ARMS)
    ranks, portfolio = MeanRankLearner(proposer=PROPOSER), PortfolioLearner(proposer=PROPOSER)

    by_rank = ranks.update(ranks.initial(), rows).suggest(meta_features(SOURCES), (), count=1, seed=0)[0]
    by_regret = portfolio.update(portfolio.initial(), rows).suggest(meta_features(SOURCES), (), count=1, seed=0)[0]
    assert by_rank.arm == ARMS["probe-latin"]
    assert by_regret.arm == ARMS["lora-latin"]


def test_an_arm_that_always_fails_comes_last():
    broken = arm("latin", "side_tuning")
    failures = [row(result(task(name), broken, None, status=TrialStatus.FAILED)) for name in SCORES]
    portfolio = PortfolioLearner(proposer=PROPOSER)
    policy = portfolio.update(portfolio.initial(), [*ROWS, *failures])

    assert policy.suggest(meta_features(SOURCES), (), count=5, seed=0)[-1].arm == broken


def test_where_scratch_is_best_the_suggestion_does_not_transfer():
    scores = {name: {"scratch": 0.9, "probe-latin": 0.4, "lora-latin": 0.3} for name in ("one", "two")}
    portfolio = PortfolioLearner(proposer=PROPOSER)
    policy = portfolio.update(portfolio.initial(), experience(scores, arms=ARMS))

    first, second, *_ = policy.suggest(meta_features(SOURCES), (), count=2, seed=0)
    assert not is_transfer(first)
    assert is_transfer(second)
