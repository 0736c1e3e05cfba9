"""What runs are expected to cost."""

from collections.abc import Sequence

import numpy as np
import pytest

from transmeta.core.trial import Arm, StrategySpec
from transmeta.policies.adaptive.costs import CostModel, Paid
from transmeta.policies.adaptive.protocol import Array

RNG = np.random.default_rng(2)
SIZES = RNG.uniform(0, 4, 40)
COST = np.exp(np.array([0.0, 1.0, 2.0]) + SIZES[:, None])
STRATEGIES = ("full_finetune", "full_finetune", "linear_probe")
SOURCES = ("photos", "icons", "icons")


def _model(cost: Array = COST, *, strategies: tuple[str, ...] = STRATEGIES) -> CostModel:
    arms = _arms(strategies, sources=(*SOURCES, "icons")[: cost.shape[1]])
    return CostModel.fit(cost, features=SIZES[:, None], arms=arms)


def _arms(strategies: Sequence[str], *, sources: Sequence[str] | None = None) -> Sequence[Arm]:
    named = zip(strategies, sources or ["any"] * len(strategies), strict=True)
    return [Arm(source=source, strategy=StrategySpec(name=name, params={})) for name, source in named]


def _paid(columns: list[int], cost_s: list[float], *, shares: list[float] | None = None) -> Paid:
    return Paid(
        columns=np.array(columns, dtype=np.int64),
        cost_s=np.array(cost_s, dtype=np.float64),
        shares=np.ones(len(columns)) if shares is None else np.array(shares),
    )


def test_the_cost_of_a_new_target_follows_its_features() -> None:
    predicted = _model().predict(np.array([2.5])).full

    assert predicted == pytest.approx(np.exp(np.array([2.5, 3.5, 4.5])), rel=0.15)


def test_a_strategy_that_depends_on_the_features_more_than_others_does_so_on_new_targets() -> None:
    cost = np.exp(np.array([0.0, 1.0, 2.0]) + SIZES[:, None] * np.array([1.0, 1.0, 2.0]))

    predicted = _model(cost).predict(np.array([4.0])).full

    assert np.log(predicted[2] / predicted[0]) == pytest.approx(6.0, abs=0.6)
    assert np.log(predicted[1] / predicted[0]) == pytest.approx(1.0, abs=0.1)


def test_what_the_trials_so_far_have_cost_corrects_the_prediction() -> None:
    expected = _model().predict(np.array([2.0]))

    corrected = expected.after(_paid([0, 1, 2], list(3.0 * expected.full)))

    assert corrected / expected.full == pytest.approx(np.full(3, 3.0), rel=0.3)


def test_a_trial_tells_most_of_others_of_its_strategy_and_source() -> None:
    cost = np.concatenate([COST, COST[:, :1]], axis=1)
    expected = _model(cost, strategies=("lora", "full_finetune", "linear_probe", "linear_probe")).predict(
        np.array([2.0])
    )

    factors = expected.after(_paid([3], [2.0 * expected.full[3]])) / expected.full

    assert 1.0 < factors[0] < factors[2] < factors[3] < 2.0  # another source; same strategy and source; itself
    assert factors[0] < factors[1] < factors[2]  # the same source


def test_nothing_paid_changes_nothing() -> None:
    expected = _model().predict(np.array([2.0]))

    assert np.array_equal(expected.after(_paid([], [])), expected.full)


def test_a_trial_that_was_left_early_counts_less_and_by_the_share_that_was_run() -> None:
    expected = _model().predict(np.array([2.0]))
    third = expected.full[0] / 3

    as_expected = expected.after(_paid([0], [third], shares=[1 / 3]))
    part = expected.after(_paid([0], [2 * third], shares=[1 / 3]))
    whole = expected.after(_paid([0], [2 * expected.full[0]]))

    assert as_expected == pytest.approx(expected.full)
    assert expected.full[0] < part[0] < whole[0]


def test_a_configuration_that_never_ran_costs_what_the_others_do_on_average() -> None:
    cost = np.concatenate([COST, np.full((40, 1), np.nan)], axis=1)

    model = CostModel.fit(cost, features=np.zeros((40, 0)), arms=_arms(["any"] * 4))

    predicted = model.predict(np.zeros(0)).full
    assert predicted[3] == pytest.approx(np.exp(np.log(predicted[:3]).mean()))


def test_a_configuration_that_never_ran_costs_what_others_of_its_strategy_do() -> None:
    cost = np.concatenate([COST, np.full((40, 1), np.nan)], axis=1)

    model = CostModel.fit(cost, features=np.zeros((40, 0)), arms=_arms(["probe", "full", "full", "full"]))

    predicted = model.predict(np.zeros(0)).full
    assert predicted[3] == pytest.approx(np.exp(np.log(predicted[1:3]).mean()))


def test_new_configurations_cost_what_those_of_their_strategy_do() -> None:
    model = _model().widened(_arms(["full_finetune"], sources=["animals"]))

    predicted = model.predict(np.array([2.0])).full

    assert np.log(predicted[3]) == pytest.approx(np.log(predicted[:2]).mean())
