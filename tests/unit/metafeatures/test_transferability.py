import math
import time

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf

from transmeta.metafeatures.transferability import (
    h_score,
    ledoit_wolf,
    leep,
    logme,
    nearest_class_mean_accuracy,
)


def clusters(*, n=60, d=5, k=3, gap=2.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    return rng.normal(size=(n, d)) + gap * rng.normal(size=(k, d))[labels], labels


def largest_log_evidence(features, target):
    """max over α, β of log N(y; 0, I/β + FFᵀ/α), by a general optimiser."""
    n = len(target)

    def loss(logs):
        covariance = np.eye(n) * math.exp(-logs[1]) + features @ features.T * math.exp(-logs[0])
        return -multivariate_normal.logpdf(target, mean=np.zeros(n), cov=covariance)

    starts = [(a, b) for a in (-2.0, 2.0) for b in (0.0, 4.0)]
    return -min(
        minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9}).fun for start in starts
    )


@pytest.mark.parametrize(("n", "d"), [(24, 3), (12, 20)])
def test_logme_is_the_largest_log_evidence_per_example(n, d):
    features, labels = clusters(n=n, d=d)

    expected = np.mean([largest_log_evidence(features, (labels == c).astype(float)) / n for c in range(3)])

    assert logme(features, labels) == pytest.approx(expected, abs=1e-4)  # what the floor may cost


def test_logme_prefers_features_that_separate():
    near, labels = clusters(gap=0.2)
    far, _ = clusters(gap=4.0)

    assert logme(far, labels) > logme(near, labels)


def test_logme_does_not_depend_on_the_scale_of_the_features():
    features, labels = clusters()

    assert logme(1e4 * features, labels) == pytest.approx(logme(features, labels), abs=1e-9)


def test_leep_is_the_formula_of_the_paper():
    rng = np.random.default_rng(1)
    theta, labels = rng.dirichlet(np.ones(4), size=15), rng.integers(0, 3, 15)
    joint = [[sum(theta[i, z] for i in range(15) if labels[i] == y) / 15 for z in range(4)] for y in range(3)]
    marginal = [sum(joint[y][z] for y in range(3)) for z in range(4)]

    total = 0.0
    for i in range(15):
        total += math.log(sum(joint[labels[i]][z] / marginal[z] * theta[i, z] for z in range(4)))

    assert leep(theta, labels) == pytest.approx(total / 15, abs=1e-12)


def test_leep_is_zero_where_the_source_knows_the_classes():
    labels = np.array([0, 1, 2, 0, 1, 2])

    assert leep(np.eye(5)[labels + 1], labels) == pytest.approx(0.0, abs=1e-12)


def test_leep_of_a_source_that_says_nothing_is_minus_the_entropy():
    labels = np.array([0, 0, 0, 1])

    expected = 0.75 * math.log(0.75) + 0.25 * math.log(0.25)

    assert leep(np.full((4, 6), 1 / 6), labels) == pytest.approx(expected)


def between_covariance(features, labels):
    means = np.stack([features[labels == label].mean(axis=0) for label in labels])
    return np.cov(means.T, bias=True)


def test_h_score_is_the_trace_of_the_paper():
    features, labels = clusters(n=40, d=6)

    expected = np.trace(np.linalg.pinv(np.cov(features.T, bias=True)) @ between_covariance(features, labels))

    assert h_score(features, labels) == pytest.approx(expected, rel=1e-9)


def test_h_score_of_dependent_columns_takes_the_pseudo_inverse():
    features, labels = clusters(n=40, d=4)
    doubled = np.concatenate([features, features @ np.ones((4, 2))], axis=1)

    assert h_score(doubled, labels) == pytest.approx(h_score(features, labels), rel=1e-9)


@pytest.mark.parametrize("d", [6, 70])
def test_h_score_with_shrinkage_is_the_trace_of_its_paper(d):
    features, labels = clusters(n=40, d=d)
    estimate = LedoitWolf().fit(features)

    shrunk = (1 - estimate.shrinkage_) * between_covariance(features, labels)
    expected = np.trace(np.linalg.inv(estimate.covariance_) @ shrunk)

    assert h_score(features, labels, shrinkage=True) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("d", [3, 90])
def test_the_shrinkage_is_scikit_learns(d):
    features = np.random.default_rng(2).normal(size=(30, d)) * np.linspace(0.1, 3, d)

    assert ledoit_wolf(features - features.mean(axis=0)) == pytest.approx(LedoitWolf().fit(features).shrinkage_)


def test_the_nearest_mean_is_made_without_the_example():
    features, labels = clusters(n=30, d=4, gap=1.0)
    z = (features - features.mean(axis=0)) / features.std(axis=0)

    correct = 0
    for i in range(30):
        others = np.arange(30) != i
        means = [z[others & (labels == c)].mean(axis=0) for c in range(3)]
        correct += int(np.argmin([np.sum((z[i] - mean) ** 2) for mean in means]) == labels[i])

    assert nearest_class_mean_accuracy(features, labels) == correct / 30


def test_classes_of_one_example_are_guessed():
    assert nearest_class_mean_accuracy(np.random.default_rng(0).normal(size=(4, 3)), np.arange(4)) == 0.25


def test_examples_without_a_mean_of_their_class_are_left_out():
    features = np.array([[0.0], [0.1], [10.0], [10.1], [5.0]])

    assert nearest_class_mean_accuracy(features, np.array([0, 0, 1, 1, 2])) == 1.0


DEGENERATE = {
    "one example per class": (np.random.default_rng(0).normal(size=(5, 8)), np.arange(5)),
    "two examples per class": (np.random.default_rng(0).normal(size=(10, 80)), np.arange(10) % 5),
    "constant features": (np.full((12, 4), 0.1), np.arange(12) % 3),
    "zero features": (np.zeros((12, 4)), np.arange(12) % 3),
    "one class": (np.random.default_rng(0).normal(size=(9, 3)), np.zeros(9, dtype=np.int64)),
    "one example": (np.ones((1, 3)), np.zeros(1, dtype=np.int64)),
    "more columns than examples": (np.random.default_rng(0).normal(size=(20, 300)), np.arange(20) % 2),
    "features that are the labels": (np.eye(3)[np.arange(30) % 3], np.arange(30) % 3),
    "huge features": (np.random.default_rng(0).normal(size=(20, 4)) * 1e180, np.arange(20) % 2),
    "tiny features": (np.random.default_rng(0).normal(size=(20, 4)) * 1e-180, np.arange(20) % 2),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_features_have_finite_measures(case):
    features, labels = DEGENERATE[case]

    measures = [
        logme(features, labels),
        h_score(features, labels),
        h_score(features, labels, shrinkage=True),
        nearest_class_mean_accuracy(features, labels),
    ]

    assert np.isfinite(measures).all(), measures
    assert -1e-9 <= measures[1] <= max(len(set(labels)) - 1, 0) + 1e-6
    assert 0 <= measures[3] <= 1


def test_degenerate_predictions_have_a_finite_leep():
    for theta in (np.zeros((4, 3)), np.eye(3)[[0, 0, 0, 0]], np.ones((4, 1))):
        assert math.isfinite(leep(theta, np.array([0, 1, 2, 3])))


def test_a_thousand_examples_take_a_fraction_of_a_second():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(1000, 80)), rng.integers(0, 20, 1000)
    theta = rng.dirichlet(np.ones(60), size=1000)
    started = time.process_time()

    logme(features, labels)
    h_score(features, labels, shrinkage=True)
    nearest_class_mean_accuracy(features, labels)
    leep(theta, labels)

    assert time.process_time() - started < 0.8  # four measures, 0.2 s each; measured below 0.1 s together
