"""Knobs are kept where they help on known targets, and given up where they do harm."""

import dataclasses

import numpy as np

from tests.unit.experiments.table_test.cases import ground
from transmeta.policies.adaptive.method import AdaptiveMethod
from transmeta.policies.adaptive.protocol import Array
from transmeta.policies.adaptive.session import DEFAULT, PORTFOLIO, Knobs

TARGETS, CONFIGS, STEPS = 18, 60, 6


def _learned(final: Array, *, method: AdaptiveMethod) -> Knobs:
    """Returns the knobs that are learned from runs that show nothing before they reach `final` (T, C)."""
    known = ground(final[:, :, None] * (np.arange(STEPS) == STEPS - 1))
    return method.learn(known.curves(known.rows), seed=0).knobs


def test_where_every_configuration_has_one_rank_the_portfolio_is_kept() -> None:
    rng = np.random.default_rng(0)
    final = np.linspace(0.2, 0.9, CONFIGS) + 0.01 * rng.random((TARGETS, 1))

    assert _learned(final, method=AdaptiveMethod()) == PORTFOLIO


def test_where_targets_are_of_kinds_they_are_weighed() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.random((6, CONFIGS))
    final = kinds[np.arange(TARGETS) % 6] + 0.2 * rng.random((TARGETS, CONFIGS))

    knobs = _learned(final, method=AdaptiveMethod())

    assert knobs.beta == DEFAULT.beta


def test_given_knobs_stand() -> None:
    final = np.linspace(0.2, 0.9, CONFIGS) + np.zeros((TARGETS, 1))
    given = dataclasses.replace(DEFAULT, beta=2.0)

    assert _learned(final, method=AdaptiveMethod(knobs=given)) == given
