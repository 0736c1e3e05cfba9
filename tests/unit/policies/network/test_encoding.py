import dataclasses

import numpy as np
import pytest

from transmeta.core import codec
from transmeta.policies.network.encoding import Encoder, Scaled, arm_means
from transmeta.policies.table import RegretTable

from ..cases import arm, meta_features
from .cases import EVEN_FEATURES, ROWS

TABLE = RegretTable.from_experience(ROWS)
ENCODER = Encoder.fit(TABLE)


def test_inputs_have_one_row_per_arm_and_the_stated_width():
    inputs = ENCODER.encode(meta_features(["latin", "icons"], **EVEN_FEATURES), TABLE.arms)

    assert inputs.shape == (len(TABLE.arms), ENCODER.width)
    assert np.isfinite(inputs).all()


def test_a_wide_positive_parameter_is_read_as_a_logarithm():
    assert [(scale.name, scale.is_log) for scale in ENCODER.numbers] == [("rate", True)]


def test_the_constants_survive_the_way_through_json_so_run_time_scales_as_training_did():
    read = codec.loads(Encoder, codec.dumps(ENCODER))

    features = meta_features(["latin", "icons"], **EVEN_FEATURES)
    np.testing.assert_array_equal(read.encode(features, TABLE.arms), ENCODER.encode(features, TABLE.arms))


def test_an_unknown_source_strategy_and_parameter_still_give_finite_inputs():
    stranger = arm("moths", "side_tuning", width=8, mode="wide")

    inputs = ENCODER.encode(meta_features(["moths"], target={"ink": float("nan")}), [stranger])
    assert np.isfinite(inputs).all()


def test_features_far_outside_are_clipped():
    assert Scaled(name="ink", mean=0.0, scale=1.0).read(1e9) == 5


def test_what_only_says_what_a_source_costs_to_run_is_not_read():
    targets = [
        dataclasses.replace(target, pairs={name: {**vector, "log_macs": i} for name, vector in target.pairs.items()})
        for i, target in enumerate(TABLE.targets)
    ]

    assert Encoder.fit(dataclasses.replace(TABLE, targets=tuple(targets))) == ENCODER


@pytest.mark.parametrize("value", [None, float("nan"), -1.0])
def test_what_has_no_logarithm_is_missing(value):
    assert np.isnan(Scaled(name="rate", mean=0.0, scale=1.0, is_log=True).read(value))


def test_an_arm_seen_once_is_drawn_towards_the_mean_of_all():
    means = arm_means(np.array([[0.0, 1.0], [np.nan, 1.0]]))

    assert means[0] == pytest.approx((0 + 2 * 2 / 3) / 3)
    assert means[0] < means[1]
