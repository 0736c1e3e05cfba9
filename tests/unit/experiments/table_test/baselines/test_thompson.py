"""The quantile prior, by hand and against what it should find."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import norm

from transmeta.experiments.table_test.baselines.design import design, normal_scores
from transmeta.experiments.table_test.baselines.thompson import Thompson, prior
from transmeta.experiments.table_test.ground import Ground
from transmeta.policies.adaptive.protocol import Allowance, Curves

from ..cases import NAN, finals


def curves(*, targets: int = 10, configs: int = 60, noise: float = 0.0) -> Curves:
    """Returns targets of different scale that agree on the best rate, 1e-3."""
    rng = np.random.default_rng(0)
    powers = np.linspace(-5, -1, configs)
    level = -((powers + 3) ** 2) + noise * rng.standard_normal((targets, configs))
    table = finals(level * 10.0 ** np.arange(targets)[:, None])
    return Ground(dataclasses.replace(table, params=tuple({"rate": float(10**p)} for p in powers))).curves(
        range(targets)
    )


def test_scores_are_normal_quantiles_of_ranks_whatever_the_scale() -> None:
    scores = normal_scores(np.array([[0.0, 1.0, 2.0, NAN], [9.0, 0.1, 0.1, 3.0]]))

    np.testing.assert_allclose(scores[0], [*norm.ppf([5 / 6, 1 / 2, 1 / 6]), NAN])
    np.testing.assert_allclose(scores[1], norm.ppf([1 / 8, 3 / 4, 3 / 4, 3 / 8]))


def test_the_design_has_scaled_numbers_and_one_column_for_each_choice() -> None:
    table = finals([[1, 2, 3], [1, 2, 3]], strategies=["lora", "probe", "lora"])
    table = dataclasses.replace(table, params=({"rank": 2}, {}, {"rank": 4}))
    points = design(Ground(table).curves([0, 1]))

    np.testing.assert_array_equal(points, [[0, 1, 0], [NAN, 0, 1], [1, 1, 0]])


def test_the_prior_finds_what_is_good_on_all_known_targets() -> None:
    mean, deviation = prior(curves(), seed=0)

    assert abs(int(np.argmax(mean)) - 29.5) < 6
    assert deviation < 0.5


def test_the_deviation_grows_with_disagreement() -> None:
    assert prior(curves(noise=3.0), seed=0)[1] > 2 * prior(curves(), seed=0)[1]


def test_without_known_targets_nothing_is_preferred() -> None:
    known = curves()
    nothing = dataclasses.replace(known, observed=np.zeros_like(known.observed))
    mean, deviation = prior(nothing, seed=0)

    assert (np.ptp(mean), deviation) == (0.0, 1.0)


def test_draws_differ_by_seed_and_lean_to_the_good() -> None:
    table = finals(np.tile(np.arange(20.0), (6, 1)))
    table = dataclasses.replace(table, params=tuple({"rate": index / 20} for index in range(20)))
    ground = Ground(table)
    learned = Thompson().learn(ground.curves(range(5)), seed=0)
    present = ground.present(5, allowance=Allowance(evaluations=3))
    first = [learned.start(present, seed=seed).next() for seed in range(10)]
    configs = [move.config for move in first if move is not None]

    assert len(configs) == 10
    assert np.mean(configs) > 14
    assert configs[0] == getattr(learned.start(present, seed=0).next(), "config", None)


def test_learning_takes_no_column_from_configurations_without_parameters() -> None:
    known = dataclasses.replace(curves(), params=tuple({} for _ in range(60)))

    assert design(known).shape == (60, 60)
    assert prior(known, seed=0)[0] == pytest.approx(np.zeros(60), abs=3.0)


@pytest.mark.parametrize("rates", [(0.1, 0.2), (0.1, 0.1)], ids=["the other varies", "the other does not"])
def test_a_number_that_no_tried_configuration_has_is_left_out(rates) -> None:
    params = ({"rate": rates[0]}, {"rate": rates[1]}, {"rank": 4}, {"rank": 8, "rate": 0.3})
    values = finals([[1.0, 2.0, NAN, NAN], [2.0, 3.0, NAN, NAN]])
    table = dataclasses.replace(values, params=params, failed=np.zeros((2, 4), dtype=np.bool_))

    mean, _ = prior(Ground(table).curves([0, 1]), seed=0)

    assert np.isfinite(mean).all()
