"""The closed form against scikit-learn's Gaussian process, and the search."""

import dataclasses

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from transmeta.experiments.table_test.baselines.gaussian_bo import (
    LENGTHS,
    NOISES,
    GaussianBo,
    expected_improvement,
    fit,
    posterior,
)
from transmeta.experiments.table_test.ground import Ground
from transmeta.policies.adaptive.protocol import Allowance

from ..cases import finals


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x, others = rng.random((8, 2)), rng.random((5, 2))
    y = np.sin(4 * x[:, 0]) + 0.1 * rng.standard_normal(8)
    return x, y - y.mean(), others


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a[:, None] - b[None], axis=2)


def test_evidence_mean_and_deviation_are_those_of_scikit_learn() -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    x, y, others = data()
    one = fit(distance(x, x), y)
    kernel = ConstantKernel(one.variance, "fixed") * Matern(one.length, "fixed", nu=2.5)
    reference = GaussianProcessRegressor(kernel, alpha=one.variance * one.noise, optimizer=None).fit(x, y)
    mean, deviation = reference.predict(others, return_std=True)

    ours = posterior(one, distance(x, x), distance(others, x), y)
    np.testing.assert_allclose(ours[0], mean, rtol=1e-6)
    np.testing.assert_allclose(ours[1], deviation, rtol=1e-6)
    assert one.evidence == pytest.approx(reference.log_marginal_likelihood_value_, rel=1e-6)
    for factor in (0.8, 1.25):  # another variance has less evidence
        other = ConstantKernel(factor * one.variance, "fixed") * Matern(one.length, "fixed", nu=2.5)
        alpha = factor * one.variance * one.noise
        refit = GaussianProcessRegressor(other, alpha=alpha, optimizer=None).fit(x, y)
        assert refit.log_marginal_likelihood_value_ < one.evidence


def test_the_kernel_with_the_most_evidence_is_taken() -> None:
    x, y, _ = data()
    one = fit(distance(x, x), y)

    assert one.length in LENGTHS
    assert one.noise in NOISES
    assert fit(distance(x, x), y, unit=2.0).length in [2 * length for length in LENGTHS]


def test_the_expected_improvement_is_its_integral() -> None:
    by_hand = quad(lambda f: max(f - 1.0, 0.0) * norm.pdf(f, 0.4, 0.7), -5, 6, points=[1.0])[0]

    assert expected_improvement(np.array([0.4]), np.array([0.7]), best=1.0) == pytest.approx([by_hand], rel=1e-6)


def test_it_finds_the_best_of_a_smooth_line_sooner_than_chance() -> None:
    powers = np.linspace(0, 1, 101)
    table = finals(np.tile(-((powers - 0.71) ** 2), (2, 1)))
    ground = Ground(dataclasses.replace(table, params=tuple({"rate": float(p)} for p in powers)))
    learned = GaussianBo().learn(ground.curves([0]), seed=0)
    for seed in range(3):
        session = learned.start(ground.present(1, allowance=Allowance(evaluations=15)), seed=seed)
        chosen = []
        for _ in range(15):
            move = session.next()
            assert move is not None
            chosen.append(move.config)
            # One that failed must not spoil the others.
            failed = move.config < 10
            session.tell(
                move, np.array([-np.inf if failed else ground.targets[1].final[move.config]]), np.ones(1), failed
            )

        assert min(abs(config - 71) for config in chosen) <= 1
