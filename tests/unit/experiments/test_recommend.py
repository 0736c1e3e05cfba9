import pytest

from transmeta.core.outcome import Evidence, Suggestion
from transmeta.core.trial import Arm
from transmeta.experiments.recommend import recommend
from transmeta.testing.fakes import ListPolicy

from .cases import FEATURES, arms

EVIDENCE = (Evidence(target="glyphs-cyrl.k10.s0.01234567", weight=0.7, regret=0.0),)


def policy(arm: Arm, **predicted: object) -> ListPolicy:
    return ListPolicy(arms=(arm,), suggestions={arm.key: Suggestion(arm=arm, **predicted)})  # type: ignore[arg-type]


def test_a_recommendation_holds_what_the_policy_predicts_and_why():
    (arm,) = arms(1)

    (first,) = recommend(
        FEATURES,
        policy=policy(arm, predicted_score=0.8, low=0.7, high=0.9, predicted_cost_s=2.5, evidence=EVIDENCE),
        count=3,
    )

    assert (first.source, first.strategy, first.params) == ("latin", "lora", {"rank": 1})
    assert (first.predicted_score, first.interval, first.predicted_cost_s) == (0.8, (0.7, 0.9), 2.5)
    assert first.evidence == EVIDENCE
    assert first.transfer


@pytest.mark.parametrize("bounds", [{}, {"low": 0.1}, {"high": 0.9}])
def test_without_both_bounds_there_is_no_interval(bounds):
    (first,) = recommend(FEATURES, policy=policy(arms(1)[0], **bounds), count=1)

    assert first.interval is None


def test_an_interval_that_begins_at_zero_is_an_interval():
    (first,) = recommend(FEATURES, policy=policy(arms(1)[0], low=0.0, high=0.0), count=1)

    assert first.interval == (0.0, 0.0)


@pytest.mark.parametrize(
    ("source", "transfer"),
    [("scratch-small_cnn", False), ("scratch-mlp-13", False), ("latin", True), ("scratchpad-1a2b3c4d", True)],
)
def test_training_from_scratch_is_no_transfer_whatever_other_models_are_called(source, transfer):
    (arm,) = arms(1, source=source)
    features = type(FEATURES)(target_id=FEATURES.target_id, target={}, pairs={source: {}})

    (first,) = recommend(features, policy=policy(arm), count=1)

    assert first.transfer is transfer


def test_recommendations_come_best_first_and_at_most_as_many_as_are_asked_for():
    listed = recommend(FEATURES, policy=ListPolicy(arms=arms(9)), count=4)

    assert [item.params["rank"] for item in listed] == [1, 2, 3, 4]


def test_the_seed_reaches_the_policy():
    seen = []

    class Noting:
        name = "noting"

        def suggest(self, features, history, *, count, seed):
            seen.append((tuple(history), count, seed))
            return ()

    assert recommend(FEATURES, policy=Noting(), count=2, seed=5) == []
    assert seen == [((), 2, 5)]
