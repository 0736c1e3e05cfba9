"""What runs are expected to cost."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pytest

from transmeta.core.trial import Arm, StrategySpec
from transmeta.policies.adaptive.costs import ALONE, SHARED, CostModel, ExpectedCost, Paid
from transmeta.policies.adaptive.protocol import Array
from transmeta.policies.table import KnownTarget, RegretTable

RNG = np.random.default_rng(2)
SIZES = RNG.uniform(0, 4, 40)
COST = np.exp(np.array([0.0, 1.0, 2.0]) + SIZES[:, None])
STRATEGIES = ("full_finetune", "full_finetune", "linear_probe")
SOURCES = ("photos", "icons", "icons")


def _model(cost: Array = COST, *, strategies: tuple[str, ...] = STRATEGIES) -> CostModel:
    arms = _arms(strategies, sources=(*SOURCES, "icons")[: cost.shape[1]])
    return CostModel.fit(_table(cost, arms, features=[{"log_examples": size} for size in SIZES]))


def _table(
    cost: Array,
    arms: Sequence[Arm],
    *,
    features: Sequence[Mapping[str, float]] | None = None,
    sizes: Mapping[str, float] = MappingProxyType({}),
) -> RegretTable:
    pairs = {source: {"log_macs": size} for source, size in sizes.items()}
    targets = [
        KnownTarget(id=f"t{t}", dataset=f"t{t}", domain="d", features=features[t] if features else {}, pairs=pairs)
        for t in range(len(cost))
    ]
    return RegretTable(targets=tuple(targets), arms=tuple(arms), utility=cost, regret=cost, cost_s=cost)


def _expected(model: CostModel, feature: float) -> ExpectedCost:
    return model.predict({"log_examples": feature})


def _arms(strategies: Sequence[str], *, sources: Sequence[str] | None = None) -> Sequence[Arm]:
    named = zip(strategies, sources or ["any"] * len(strategies), strict=True)
    return [Arm(source=source, strategy=StrategySpec(name=name, params={})) for name, source in named]


def _paid(columns: list[int], cost_s: list[float], *, shares: list[float] | None = None, noise: float = ALONE) -> Paid:
    return Paid(
        columns=np.array(columns, dtype=np.int64),
        cost_s=np.array(cost_s, dtype=np.float64),
        shares=np.ones(len(columns)) if shares is None else np.array(shares),
        noise=noise,
    )


def test_the_cost_of_a_new_target_follows_its_features() -> None:
    predicted = _expected(_model(), 2.5).full

    assert predicted == pytest.approx(np.exp(np.array([2.5, 3.5, 4.5])), rel=0.15)


def test_a_strategy_that_depends_on_the_features_more_than_others_does_so_on_new_targets() -> None:
    cost = np.exp(np.array([0.0, 1.0, 2.0]) + SIZES[:, None] * np.array([1.0, 1.0, 2.0]))

    predicted = _expected(_model(cost), 4.0).full

    assert np.log(predicted[2] / predicted[0]) == pytest.approx(6.0, abs=0.6)
    assert np.log(predicted[1] / predicted[0]) == pytest.approx(1.0, abs=0.1)


def test_what_the_trials_so_far_have_cost_corrects_the_prediction() -> None:
    expected = _expected(_model(), 2.0)

    corrected = expected.after(_paid([0, 1, 2], list(3.0 * expected.full)))

    assert corrected / expected.full == pytest.approx(np.full(3, 3.0), rel=0.3)


def test_a_trial_tells_most_of_others_of_its_strategy_and_source() -> None:
    cost = np.concatenate([COST, COST[:, :1]], axis=1)
    model = _model(cost, strategies=("lora", "full_finetune", "linear_probe", "linear_probe"))
    expected = _expected(model, 2.0)

    factors = expected.after(_paid([3], [2.0 * expected.full[3]])) / expected.full

    assert 1.0 < factors[0] < factors[2] < 2.0  # nothing in common; the same strategy and source
    assert factors[0] < factors[1] < factors[2]  # the same source


def test_nothing_paid_changes_nothing() -> None:
    expected = _expected(_model(), 2.0)

    assert np.array_equal(expected.after(_paid([], [])), expected.full)


def test_a_trial_that_was_left_early_counts_less_and_by_the_share_that_was_run() -> None:
    expected = _expected(_model(), 2.0)
    third = expected.full[0] / 3

    as_expected = expected.after(_paid([0], [third], shares=[1 / 3]))
    part = expected.after(_paid([0], [2 * third], shares=[1 / 3]))
    whole = expected.after(_paid([0], [2 * expected.full[0]]))

    assert as_expected == pytest.approx(expected.full)
    assert expected.full[0] < part[0] < whole[0]


def test_a_trial_beside_others_tells_less_than_one_by_itself() -> None:
    expected = _expected(_model(), 2.0)
    double = [2.0 * expected.full[0]]

    alone, shared = (expected.after(_paid([0], double, noise=noise)) / expected.full for noise in (ALONE, SHARED))

    assert np.all(shared > 1.0)
    assert np.all(shared < alone)


def test_a_configuration_that_never_ran_costs_about_what_others_of_its_strategy_do() -> None:
    cost = np.exp(np.array([3.0, 0.0, 0.0, np.nan]) + np.zeros((40, 1)))
    arms = _arms(["full", "probe", "probe", "probe"], sources=["photos", "icons", "animals", "photos"])

    predicted = np.log(CostModel.fit(_table(cost, arms)).predict({}).full)

    assert -0.1 < predicted[3] < 1.0


def test_a_source_that_nobody_used_costs_what_one_of_its_size_does() -> None:
    cost = np.exp(np.array([0.0, 4.0, np.nan, np.nan]) + np.zeros((40, 1)))
    arms = _arms(["full"] * 4, sources=["small", "large", "new", "newer"])
    model = CostModel.fit(_table(cost, arms, sizes={"small": 11.0, "large": 15.0}))

    predicted = np.log(model.predict({}, sizes=np.array([np.nan, np.nan, 15.1, 11.1])).full)

    assert predicted == pytest.approx(np.array([0.0, 4.0, 4.0, 0.0]), abs=1.0)


def test_a_source_larger_than_all_others_costs_more_than_most() -> None:
    cost = np.exp(np.array([0.0, 1.0, 2.0, np.nan]) + np.zeros((40, 1)))
    arms = _arms(["full"] * 4, sources=["small", "middle", "large", "largest"])
    model = CostModel.fit(_table(cost, arms, sizes={"small": 11.0, "middle": 13.0, "large": 15.0, "largest": 17.0}))

    predicted = np.log(model.predict({}).full)

    assert 1.5 < predicted[3] < 4.0


def test_more_epochs_than_anybody_ran_cost_more_than_anybody_paid() -> None:
    epochs = (5, 10, 20, 40)
    cost = np.exp(np.array([0.0, 0.7, 1.4, np.nan]) + np.zeros((40, 1)))
    arms = [Arm(source="photos", strategy=StrategySpec(name="full", params={"epochs": count})) for count in epochs]

    predicted = np.log(CostModel.fit(_table(cost, arms)).predict({}).full)

    assert 1.4 < predicted[3] < 2.1


def test_how_the_data_look_has_no_part_in_what_a_run_costs_where_it_is_known_how_many_they_are() -> None:
    features = [{"log_examples": size, "colourfulness": size} for size in SIZES]
    model = CostModel.fit(_table(COST, _arms(STRATEGIES), features=features))

    grey, bright = (model.predict({"log_examples": 2.0, "colourfulness": value}).full for value in (0.0, 4.0))

    assert np.array_equal(grey, bright)
    assert model.names == ("log_examples",)


def test_features_of_other_names_count_where_there_are_no_others() -> None:
    model = CostModel.fit(_table(COST, _arms(STRATEGIES), features=[{"rows": size} for size in SIZES]))

    assert model.predict({"rows": 2.5}).full == pytest.approx(np.exp(np.array([2.5, 3.5, 4.5])), rel=0.2)


def test_new_configurations_cost_about_what_those_of_their_strategy_do() -> None:
    cost = np.exp(np.array([0.0, 0.0, 3.0]) + SIZES[:, None])
    model = _model(cost).widened(_arms(["full_finetune"], sources=["animals"]))

    predicted = np.log(_expected(model, 2.0).full)

    assert predicted[3] == pytest.approx(predicted[0], abs=0.5)
    assert predicted[2] - predicted[3] > 2.0
