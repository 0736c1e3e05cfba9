"""The Gaussian process over configurations."""

import numpy as np
import pytest

from transmeta.policies.adaptive.posterior import Beliefs, covariance_of
from transmeta.policies.forecast import Normal

RNG = np.random.default_rng(1)


def _beliefs(*, level: float = 0.8, deviation: float = 0.2) -> Beliefs:
    factors = RNG.normal(size=(40, 2)) @ RNG.normal(size=(2, 6))
    return Beliefs(
        mean=-np.linspace(0.2, 1.2, 6),
        covariance=covariance_of(factors),
        noise=np.full((6, 1), 1e-6),
        gaps=np.zeros((6, 1)),
        level=Normal(mean=level, deviation=deviation),
        log_scale=Normal(mean=np.log(0.2), deviation=0.3),
        normal=RNG.normal(size=(64, 6)),
    )


def test_without_observations_a_value_is_level_less_scale_times_regret() -> None:
    nothing = np.zeros(0, dtype=np.int64)

    now = _beliefs().after(observed=nothing, rungs=nothing, utility=np.zeros(0))

    assert now.value(0).mean == pytest.approx(0.8 - 0.2 * 0.2)
    assert now.value(0).deviation > 0.2


def test_what_was_observed_is_predicted_as_observed() -> None:
    observed = np.array([1, 4])
    utility = np.array([0.71, 0.42])

    now = _beliefs().after(observed=observed, rungs=np.zeros(2, dtype=np.int64), utility=utility)

    assert [now.value(int(c)).mean for c in observed] == pytest.approx(list(utility), abs=1e-3)
    assert now.value(1).deviation < 0.01


def test_the_posterior_is_that_of_the_normal_distribution_conditioned_by_hand() -> None:
    beliefs = _beliefs()
    observed, utility = np.array([2]), np.array([0.6])

    now = beliefs.after(observed=observed, rungs=np.zeros(1, dtype=np.int64), utility=utility)

    prior = beliefs.covariance + (0.2 / 0.2) ** 2
    gain = prior[:, 2] / (prior[2, 2] + 1e-6)
    expected = beliefs.mean + gain * ((0.6 - 0.8) / now.scale - beliefs.mean[2])
    assert now.mean == pytest.approx(expected)


def test_samples_are_regrets_with_a_best_configuration_each() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    beliefs = _beliefs()

    samples = beliefs.after(observed=nothing, rungs=nothing, utility=np.zeros(0)).samples(beliefs.normal)

    assert samples.shape == (64, 6)
    assert samples.min(axis=1) == pytest.approx(np.zeros(64))
    assert samples.max() <= 3


def test_a_covariance_with_missing_blocks_is_positive_definite_and_no_configuration_is_certain() -> None:
    residuals = RNG.normal(size=(20, 8))
    residuals[:10, :3] = np.nan
    residuals[:, 7] = np.nan

    covariance = covariance_of(residuals)

    assert np.linalg.eigvalsh(covariance).min() > 0
    assert covariance[7, 7] == pytest.approx(np.nanvar(residuals[:, :7], axis=0).mean(), rel=0.3)


def test_the_expected_improvement_is_that_of_the_normal_distribution() -> None:
    now = _beliefs().after(observed=np.array([2]), rungs=np.zeros(1, dtype=np.int64), utility=np.array([0.6]))
    drawn = RNG.standard_normal(200_000)

    improvement = now.expected_improvement(0.7)

    by_hand = [np.maximum(now.value(c).mean + now.value(c).deviation * drawn - 0.7, 0.0).mean() for c in range(6)]
    assert improvement == pytest.approx(by_hand, abs=2e-3)
    assert improvement[2] == pytest.approx(0.0, abs=1e-9)


def test_a_run_that_exploded_says_no_more_than_one_that_is_as_bad_as_can_be() -> None:
    beliefs, observed, rungs = _beliefs(), np.array([1, 4]), np.zeros(2, dtype=np.int64)

    exploded, bad = (
        beliefs.after(observed=observed, rungs=rungs, utility=np.array([0.7, worst])) for worst in (-1e6, -10.0)
    )

    assert exploded.value(0).mean == bad.value(0).mean
    assert exploded.value(0).mean > 0.0
