import dataclasses
import math

import numpy as np
import pytest

from transmeta.errors import InputError
from transmeta.metafeatures.pair import pair_features, shift
from transmeta.metafeatures.probe import probe_accuracy
from transmeta.metafeatures.transferability import h_score, leep, logme, nearest_class_mean_accuracy
from transmeta.testing.strategy_cases import example_card

CARD, SCRATCH = example_card(), example_card(is_pretrained=False)
RNG = np.random.default_rng(0)
LABELS = np.arange(60) % 4
FEATURES = RNG.normal(size=(60, 8)) + RNG.normal(size=(4, 8))[LABELS]
PROBABILITIES = RNG.dirichlet(np.ones(10), size=60)


def test_the_measures_are_those_of_their_modules():
    found = pair_features(card=CARD, labels=LABELS, features=FEATURES, source_probabilities=PROBABILITIES)

    assert found["logme"] == logme(FEATURES, LABELS)
    assert found["leep"] == leep(PROBABILITIES, LABELS)
    assert found["h_score"] == h_score(FEATURES, LABELS, shrinkage=True) / 3
    assert found["ncm"] == nearest_class_mean_accuracy(FEATURES, LABELS)
    assert found["probe"] == probe_accuracy(FEATURES, LABELS)
    assert found["has_leep"] == 1.0


def test_the_card_is_told():
    found = pair_features(card=CARD, labels=LABELS, features=FEATURES)

    assert found["log_parameters"] == math.log1p(CARD.parameter_count)
    assert found["log_macs"] == math.log1p(sum(stage.macs for stage in CARD.stages))
    assert found["log_source_classes"] == math.log1p(10)
    assert found["source_score"] == 0.9
    assert found["has_source_score"] == 1.0
    assert found["is_pretrained"] == 1.0


def test_a_card_without_weights_has_only_its_own_features():
    found = pair_features(card=SCRATCH, labels=LABELS, features=FEATURES, source_probabilities=PROBABILITIES)

    assert {name for name, value in found.items() if value} == {"log_parameters", "log_macs"}


def test_the_names_are_the_same_whatever_is_known():
    moments = {"source_feature_mean": FEATURES.mean(axis=0), "source_feature_std": FEATURES.std(axis=0)}
    full = pair_features(card=CARD, labels=LABELS, features=FEATURES, source_probabilities=PROBABILITIES, **moments)

    assert full.keys() == pair_features(card=SCRATCH, labels=LABELS).keys()
    assert full.keys() == pair_features(card=dataclasses.replace(CARD, score=None), labels=LABELS).keys()


def test_features_that_are_the_sources_have_no_shift():
    moments = {"source_feature_mean": FEATURES.mean(axis=0), "source_feature_std": FEATURES.std(axis=0)}

    found = pair_features(card=CARD, labels=LABELS, features=FEATURES, **moments)

    assert found["shift"] == pytest.approx(0.0, abs=1e-12)
    assert found["has_shift"] == 1.0


def test_the_shift_is_the_frechet_distance_over_the_sources_variance():
    x = np.array([[0.0, 0.0], [2.0, 0.0]])  # means 1, 0; deviations 1, 0

    assert shift(x, mean=np.array([4.0, 0.0]), std=np.array([3.0, 1.0])) == pytest.approx(math.log1p((9 + 4 + 1) / 10))


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (np.zeros((6, 5)), np.arange(6) % 2),
        (RNG.normal(size=(4, 50)), np.arange(4)),
        (RNG.normal(size=(1, 5)), np.zeros(1, dtype=np.int64)),
        (np.eye(3)[LABELS % 3], LABELS % 3),
        (RNG.normal(size=(12, 5)).astype(np.float32) * 1e30, np.arange(12) % 3),
    ],
)
def test_degenerate_pairs_have_finite_features(features, labels):
    found = pair_features(
        card=CARD,
        labels=labels,
        features=features,
        source_probabilities=np.ones((len(labels), 1)),
        source_feature_mean=np.zeros(features.shape[1]),
        source_feature_std=np.zeros(features.shape[1]),
    )

    assert np.isfinite(list(found.values())).all(), found
    assert all(type(value) is float for value in found.values())


def test_features_that_are_not_finite_are_refused():
    broken = FEATURES.copy()
    broken[0, 0] = np.inf

    with pytest.raises(InputError, match=r"image-4: its features on the target are not finite"):
        pair_features(card=CARD, labels=LABELS, features=broken)
