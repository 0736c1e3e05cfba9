import dataclasses

import pytest

from transmeta.core.outcome import Suggestion
from transmeta.core.trial import Arm
from transmeta.policies.forecast import level_of
from transmeta.policies.portfolio import PortfolioPolicy
from transmeta.policies.table import RegretTable

from .cases import CountingProposer, arm, experience, meta_features, result, task

ARMS = {"a": arm("latin"), "b": arm("icons"), "c": arm("latin", "lora", rank=4)}
LEVELS = {f"t{i}": 0.3 + 0.05 * i for i in range(10)}
SCORES = {
    name: {"a": level, "b": level - 0.1, "c": level - 0.2 - 0.01 * (i % 3)}
    for i, (name, level) in enumerate(LEVELS.items())
}
FEATURES = {name: {"log_examples": float(i)} for i, name in enumerate(LEVELS)}
TABLE = RegretTable.from_experience(experience(SCORES, arms=ARMS, features=FEATURES))
POLICY = PortfolioPolicy(table=TABLE, proposer=CountingProposer())


def _suggestion(choice: Arm, size: float, *history: float) -> Suggestion:
    features = meta_features(["latin", "icons"], target={"log_examples": size})
    told = [result(task("new"), ARMS["a"], score, cost_s=8.0) for score in history]
    found = [item for item in POLICY.suggest(features, told, count=3, seed=0) if item.arm == choice]
    return found[0]


def test_the_predicted_score_follows_the_features_of_the_target():
    small, large = _suggestion(ARMS["a"], 1.0), _suggestion(ARMS["a"], 8.0)

    assert small.predicted_score == pytest.approx(0.35, abs=0.05)
    assert large.predicted_score == pytest.approx(0.70, abs=0.05)


def test_the_score_is_inside_its_interval():
    item = _suggestion(ARMS["c"], 4.0)

    assert item.low < item.predicted_score < item.high


def test_a_disappointing_trial_lowers_the_other_arms_predictions():
    before, after = _suggestion(ARMS["b"], 5.0), _suggestion(ARMS["b"], 5.0, 0.3)

    assert after.predicted_score < before.predicted_score


def test_predictions_of_a_share_stay_a_share():
    item = _suggestion(ARMS["a"], 20.0)

    assert item.predicted_score <= 1
    assert item.high <= 1


def test_a_trial_that_cost_more_raises_the_predicted_cost():
    before, after = _suggestion(ARMS["b"], 5.0), _suggestion(ARMS["b"], 5.0, 0.5)

    assert before.predicted_cost_s == pytest.approx(1.0)
    assert after.predicted_cost_s > 1.0


def test_evidence_names_known_targets_heaviest_first_with_weights_of_at_most_one():
    item = _suggestion(ARMS["a"], 5.0)

    assert item.evidence
    assert {evidence.target for evidence in item.evidence} <= {target.id for target in TABLE.targets}
    assert sum(evidence.weight for evidence in item.evidence) <= 1
    assert all(evidence.regret == 0 for evidence in item.evidence)


def test_what_a_source_costs_to_run_says_nothing_of_the_score():
    targets = tuple(
        dataclasses.replace(target, pairs={"latin": {"log_macs": float(i)}}) for i, target in enumerate(TABLE.targets)
    )
    told = dataclasses.replace(TABLE, targets=targets)

    assert level_of(told, {"log_examples": 3.0}, {"latin": {"log_macs": 9.0}}) == level_of(
        TABLE, {"log_examples": 3.0}, {}
    )
