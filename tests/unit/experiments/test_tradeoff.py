import pytest

from transmeta.core.outcome import Suggestion
from transmeta.errors import InputError, UnknownNameError
from transmeta.experiments.tradeoff import parse_objective, trade_off
from transmeta.testing.fakes import ListPolicy

from .cases import FEATURES, arms

FIGURES = {1: (0.90, 10.0), 2: (0.85, 1.0), 3: (0.80, 5.0), 4: (0.50, 0.1)}
"""Rank → predicted score and cost; 3 is beaten in both by 2."""
ARMS = arms(5)


def sizes(arm):
    return {"parameters": 10.0, "macs": 100.0, "memory_bytes": 1000.0}


def policy(known=FIGURES) -> ListPolicy:
    return ListPolicy(
        arms=ARMS,
        suggestions={
            arm.key: Suggestion(arm=arm, predicted_score=known[rank][0], predicted_cost_s=known[rank][1])
            for rank, arm in enumerate(ARMS, start=1)
            if rank in known
        },
    )


def ranks(text: str, count: int | None = None, known=FIGURES, sizes=sizes) -> list[object]:
    found = trade_off(FEATURES, policy=policy(known), objective=parse_objective(text), sizes=sizes, count=count)
    return [item.recommendation.params["rank"] for item in found]


def test_the_front_leaves_out_what_is_beaten_in_everything() -> None:
    assert ranks("pareto") == [1, 2, 4]
    assert ranks("pareto", count=2) == [1, 2]


def test_of_choices_that_are_alike_the_front_has_the_first() -> None:
    assert ranks("pareto", known={1: (0.9, 1.0), 2: (0.9, 1.0)}) == [1]


def test_weights_move_the_choice_from_the_best_to_the_cheapest() -> None:
    firsts = [ranks(text, count=1) for text in ("score=1", "score=1,cost_s=0.5", "cost_s=1")]

    assert firsts == [[1], [2], [4]]


def test_a_fresh_arm_without_predictions_is_not_weighed() -> None:
    assert len(ranks("score=1")) == 4


def test_arms_that_do_not_go_with_the_target_are_left_out() -> None:
    assert ranks("pareto", sizes=lambda arm: None if arm.strategy.params["rank"] == 1 else sizes(arm)) == [2, 4]


def test_figures_stand_beside_the_recommendation() -> None:
    (first,) = trade_off(FEATURES, policy=policy(), objective=parse_objective("score=1"), sizes=sizes, count=1)

    assert first.objectives == {"score": 0.9, "cost_s": 10.0, **sizes(None)}
    assert first.recommendation.predicted_score == 0.9


def test_without_predictions_objectives_are_refused() -> None:
    with pytest.raises(InputError, match="predicts no scores"):
        ranks("pareto", known={})


@pytest.mark.parametrize(
    "text", ["score", "score=", "score=-1", "score=nan", "score=0", "score=1,score=2", "cost_s=inf"]
)
def test_a_weight_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="score=1,cost_s"):
        parse_objective(text)


def test_an_unknown_objective_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cost_s'"):
        parse_objective("score=1,cost=2")
