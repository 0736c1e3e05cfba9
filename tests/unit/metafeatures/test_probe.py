import time

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from transmeta.metafeatures.arrays import one_hot
from transmeta.metafeatures.probe import PENALTIES, _ridge, probe_accuracy


def clusters(*, n, d, k, gap, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    return rng.normal(size=(n, d)) + gap * rng.normal(size=(k, d))[labels], labels


def test_separate_classes_are_told_apart():
    features, labels = clusters(n=100, d=10, k=4, gap=5.0)

    assert probe_accuracy(features, labels) == 1.0


def test_labels_that_say_nothing_are_guessed():
    rng = np.random.default_rng(0)

    accuracy = probe_accuracy(rng.normal(size=(600, 20)), rng.integers(0, 4, 600))

    assert accuracy == pytest.approx(0.25, abs=0.06)  # three standard errors


@pytest.mark.parametrize(("n", "d"), [(60, 8), (30, 100)])
def test_the_head_is_ridge_regression_with_the_best_left_out_error(n, d):
    features, labels = clusters(n=n + 10, d=d, k=3, gap=0.5)
    reference = make_pipeline(StandardScaler(), RidgeCV(alphas=n * PENALTIES))
    reference.fit(features[:n], one_hot(labels)[:n])

    scores = _ridge(features[:n], one_hot(labels)[:n], held_out=features[n:])

    np.testing.assert_allclose(scores, reference.predict(features[n:]), atol=1e-8)


def test_it_depends_on_the_seed_alone():
    features, labels = clusters(n=60, d=5, k=6, gap=0.7)

    assert probe_accuracy(features, labels, seed=3) == probe_accuracy(features, labels, seed=3)
    assert len({probe_accuracy(features, labels, seed=seed) for seed in range(8)}) > 1


@pytest.mark.parametrize("shots", [2, 3])
def test_few_examples_per_class_are_enough(shots):
    features, labels = clusters(n=5 * shots, d=40, k=5, gap=4.0)

    assert probe_accuracy(features, labels) == 1.0


def test_one_example_per_class_is_guessed():
    features, labels = clusters(n=5, d=10, k=5, gap=4.0)

    assert probe_accuracy(features, labels) == 0.2


def test_a_class_of_one_example_is_never_tested():
    features, labels = clusters(n=40, d=10, k=2, gap=5.0)
    labels = np.append(labels, 2)
    features = np.append(features, features[:1], axis=0)

    assert probe_accuracy(features, labels) > 0.9


@pytest.mark.parametrize(
    "features",
    [np.zeros((12, 4)), np.full((12, 4), 0.1), np.eye(12), np.random.default_rng(0).normal(size=(12, 3)) * 1e200],
)
def test_degenerate_features_have_an_accuracy(features):
    with np.errstate(all="raise", under="ignore"):
        assert 0 <= probe_accuracy(features, np.arange(12) % 3) <= 1


def test_one_class_is_always_right():
    assert probe_accuracy(np.random.default_rng(0).normal(size=(6, 2)), np.zeros(6, dtype=np.int64)) == 1.0


def test_a_thousand_examples_take_a_fraction_of_a_second():
    features, labels = clusters(n=1000, d=80, k=20, gap=0.3)
    started = time.process_time()

    probe_accuracy(features, labels)

    assert time.process_time() - started < 0.5  # measured 0.1 s
