import math

import numpy as np
import pytest

from transmeta.policies.similarity import closeness, distances, misranking, reweighted
from transmeta.policies.table import RegretTable

from .cases import arm, experience, meta_features

ARMS = {"a": arm("latin"), "b": arm("icons")}
SCORES = {name: {"a": 0.5, "b": 0.6} for name in ("few", "some", "many")}
FEATURES = {"few": {"log_examples": 1.0}, "some": {"log_examples": 2.0}, "many": {"log_examples": 3.0}}
KNOWN = RegretTable.from_experience(experience(SCORES, arms=ARMS, features=FEATURES)).targets


def test_the_target_with_the_same_features_is_at_distance_zero():
    squared = distances(KNOWN, meta_features(["latin"], target={"log_examples": 1.0}))

    by_name = dict(zip([item.dataset for item in KNOWN], squared, strict=True))
    assert by_name["few"] == 0
    assert by_name["few"] < by_name["some"] < by_name["many"]


def test_a_feature_that_the_target_lacks_is_left_out_of_the_distance():
    assert distances(KNOWN, meta_features(["latin"], target={})).tolist() == [0, 0, 0]


def test_the_scale_of_a_feature_does_not_matter():
    large = {name: {"log_examples": 1000 * line["log_examples"]} for name, line in FEATURES.items()}
    known = RegretTable.from_experience(experience(SCORES, arms=ARMS, features=large)).targets

    small_scale = distances(KNOWN, meta_features(["latin"], target={"log_examples": 1.5}))
    large_scale = distances(known, meta_features(["latin"], target={"log_examples": 1500.0}))
    np.testing.assert_allclose(small_scale, large_scale)


def test_pair_features_of_common_sources_tell_targets_apart():
    pairs = {
        "few": {"latin": {"logme": 0.0}},
        "some": {"latin": {"logme": 1.0}},
        "many": {"latin": {"logme": 2.0}},
    }
    known = RegretTable.from_experience(experience(SCORES, arms=ARMS, pairs=pairs)).targets

    squared = distances(known, meta_features(["latin"], pairs={"latin": {"logme": 2.0}}))
    assert known[int(squared.argmin())].dataset == "many"


def test_an_infinite_width_makes_all_targets_equal():
    assert closeness(np.array([0.0, 4.0, 9.0, 1.0]), tau=math.inf).tolist() == [0.25] * 4


def test_weights_fall_with_distance_by_the_formula():
    weights = closeness(np.array([0.0, 1.0]), tau=2.0)

    assert weights[1] / weights[0] == pytest.approx(math.exp(-1 / 4))


def test_a_row_that_orders_the_observed_arms_rightly_has_no_mistakes():
    rows = np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0], [1.0, 1.0, 1.0]])

    mistakes = misranking(rows, np.array([0.9, 0.8, 0.7]))
    np.testing.assert_allclose(mistakes, np.array([0, 3, 1.5]) / math.sqrt(3))


def test_observed_ties_say_nothing():
    assert misranking(np.array([[0.0, 1.0]]), np.array([0.5, 0.5])).tolist() == [0]


def test_reweighting_keeps_the_sum_and_moves_weight_to_the_row_with_fewer_mistakes():
    weights = reweighted(np.array([0.3, 0.3]), np.array([0.0, 1.0]), beta=2.0)

    assert weights.sum() == pytest.approx(0.6)
    assert weights[1] / weights[0] == pytest.approx(math.exp(-2))
