"""What runs are expected to cost."""

import numpy as np
import pytest

from transmeta.policies.adaptive.costs import CostModel, correction

RNG = np.random.default_rng(2)
SIZES = RNG.uniform(0, 4, 40)
COST = np.exp(np.array([0.0, 1.0, 2.0]) + SIZES[:, None])


def test_the_cost_of_a_new_target_follows_its_features() -> None:
    model = CostModel.fit(COST, features=SIZES[:, None])

    predicted = model.predict(np.array([2.5]))

    assert predicted == pytest.approx(np.exp(np.array([2.5, 3.5, 4.5])), rel=0.15)


def test_what_the_trials_so_far_have_cost_corrects_the_prediction() -> None:
    model = CostModel.fit(COST, features=SIZES[:, None])
    plain = model.predict(np.array([2.0]))

    corrected = model.predict(np.array([2.0]), ratios=np.full(20, np.log(3.0)))

    assert corrected / plain == pytest.approx(np.full(3, 3.0), rel=0.05)


def test_a_trial_that_pays_for_all_later_ones_moves_what_they_are_expected_to_cost_no_further_than_one_of_them() -> (
    None
):
    usual = np.array([-0.1, 0.0, 0.1, 0.2])

    assert correction(np.array([*usual, 5.0])) == correction(np.array([*usual, 0.3]))
    assert correction(np.zeros(0)) == 1.0


def test_a_trial_that_was_left_early_counts_by_the_share_that_was_run() -> None:
    ratios = np.array([0.0, 0.0, 2.0, 2.0])

    mostly_low = correction(ratios, weights=np.array([1.0, 1.0, 0.1, 0.1]))
    mostly_high = correction(ratios, weights=np.array([0.1, 0.1, 1.0, 1.0]))

    assert mostly_low == pytest.approx(1.0)
    assert mostly_high > 4.0


def test_a_configuration_that_never_ran_costs_what_the_others_do_on_average() -> None:
    cost = np.concatenate([COST, np.full((40, 1), np.nan)], axis=1)

    predicted = CostModel.fit(cost, features=np.zeros((40, 0))).predict(np.zeros(0))

    assert predicted[3] == pytest.approx(np.exp(np.log(predicted[:3]).mean()))


def test_a_configuration_that_never_ran_costs_what_others_of_its_kind_do() -> None:
    cost = np.concatenate([COST, np.full((40, 1), np.nan)], axis=1)

    model = CostModel.fit(cost, features=np.zeros((40, 0)), kinds=("probe", "full", "full", "full"))

    predicted = model.predict(np.zeros(0))
    assert predicted[3] == pytest.approx(np.exp(np.log(predicted[1:3]).mean()))
