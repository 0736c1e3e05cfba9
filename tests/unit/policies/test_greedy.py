import numpy as np
import pytest

from transmeta.core.trial import TrialStatus
from transmeta.policies.greedy import PESSIMISM, PRIOR_STRENGTH, filled, order, situation
from transmeta.policies.table import RegretTable

from .cases import arm, experience, meta_features, result, task

ARMS = {"a": arm("latin"), "b": arm("icons"), "c": arm("scratch-small_cnn", "from_scratch")}
TABLE = RegretTable.from_experience(experience({"grek": {"a": 0.9, "b": 0.7, "c": 0.6}}, arms=ARMS))


def test_the_second_arm_is_the_one_that_helps_where_the_first_does_not():
    rows = np.array([[0.0, 0.1, 2.0], [0.0, 0.1, 2.0], [2.0, 1.9, 0.0]])
    everything = np.ones(3, dtype=np.bool_)

    chosen = order(rows, weights=np.full(3, 1 / 3), is_available=everything, covering=(), count=3)
    assert chosen == (0, 2, 1)


def test_what_covers_the_targets_already_is_not_covered_again():
    rows = np.array([[0.0, 0.1, 2.0], [0.0, 0.1, 2.0], [2.0, 1.9, 0.0]])
    is_available = np.array([False, True, True])

    assert order(rows, weights=np.full(3, 1 / 3), is_available=is_available, covering=(0,), count=1) == (2,)


def test_a_row_without_weight_decides_nothing():
    rows = np.array([[0.0, 1.0], [3.0, 0.0]])

    assert order(rows, weights=np.array([1.0, 0.0]), is_available=np.ones(2, np.bool_), covering=(), count=1) == (0,)


def test_when_nothing_is_left_to_gain_the_mean_regret_decides():
    rows = np.array([[0.0, 2.0, 1.0]])

    assert order(rows, weights=np.ones(1), is_available=np.ones(3, np.bool_), covering=(), count=3) == (0, 2, 1)


def test_an_untried_cell_is_worse_than_its_arms_mean():
    regret = np.array([[0.2, 1.0], [np.nan, 1.0], [0.4, 0.0]])

    drawn = (0.6 + PRIOR_STRENGTH * regret[~np.isnan(regret)].mean()) / (2 + PRIOR_STRENGTH)
    assert filled(regret)[1, 0] == pytest.approx(drawn + PESSIMISM / np.sqrt(2))


def test_an_arm_that_was_lucky_once_does_not_pass_for_the_best():
    regret = np.array([[0.0, 0.2, 1.0], [np.nan, 0.2, 1.0], [np.nan, 0.2, 1.0], [np.nan, 0.2, 1.0]])

    assert filled(regret)[3, 0] > 0.2


def test_only_allowed_sources_and_untried_arms_are_available():
    history = [result(task("new"), ARMS["b"], 0.5)]

    now = situation(TABLE, meta_features(["latin", "icons"]), history)
    available = {TABLE.arms[column].source for column in np.flatnonzero(now.is_available)}
    assert available == {"latin", "scratch-small_cnn"}


def test_a_scratch_architecture_is_barred_where_the_features_name_another():
    now = situation(TABLE, meta_features(["latin", "scratch-mlp"]), ())

    assert {TABLE.arms[column].source for column in np.flatnonzero(now.is_available)} == {"latin"}


def test_an_arm_that_failed_here_covers_nothing_but_is_not_tried_again():
    history = [result(task("new"), ARMS["a"], None, status=TrialStatus.FAILED)]

    now = situation(TABLE, meta_features(["latin"]), history)
    assert now.covering == ()
    assert not now.is_available[TABLE.columns()[ARMS["a"].key]]
