"""Knobs are kept where they help on known targets, and given up where they do harm."""

import dataclasses

import numpy as np

from transmeta.policies.adaptive.method import AdaptiveMethod
from transmeta.policies.adaptive.protocol import Array, Curves
from transmeta.policies.adaptive.session import DEFAULT, PORTFOLIO
from transmeta.policies.table import regret_scale

TARGETS, CONFIGS, STEPS = 18, 60, 6


def _curves(final: Array, *, shape: Array) -> Curves:
    """Returns curves without features that rise to `final` (T, C) as `shape` (C, S) does."""
    values = final[:, :, None] * shape
    scale = np.array([regret_scale(row) for row in final])
    names = tuple(f"t{t:02d}" for t in range(len(final)))
    everything = np.ones(final.shape, dtype=np.bool_)
    return Curves(
        targets=names,
        groups=names,
        domains=names,
        values=values,
        failed=~everything,
        observed=everything,
        steps=np.full(final.shape, STEPS),
        cost_s=np.ones(values.shape),
        final=final,
        regret=np.clip((final.max(axis=1)[:, None, None] - values) / scale[:, None, None], 0.0, 3.0),
        configs=tuple(f"c{c:02d}" for c in range(CONFIGS)),
        sources=None,
        strategies=None,
        params=({},) * CONFIGS,
        target_features={},
        pair_features={},
    )


def _only_at_the_end() -> Array:
    return np.tile(np.arange(STEPS) == STEPS - 1, (CONFIGS, 1)).astype(np.float64)


def test_where_every_configuration_has_one_rank_the_portfolio_is_kept() -> None:
    rng = np.random.default_rng(0)
    final = np.linspace(0.2, 0.9, CONFIGS) + 0.01 * rng.random((TARGETS, 1))

    assert AdaptiveMethod().learn(_curves(final, shape=_only_at_the_end()), seed=0).knobs == PORTFOLIO


def test_where_targets_are_of_kinds_they_are_weighed() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.random((6, CONFIGS))
    final = kinds[np.arange(TARGETS) % 6] + 0.2 * rng.random((TARGETS, CONFIGS))

    knobs = AdaptiveMethod().learn(_curves(final, shape=_only_at_the_end()), seed=0).knobs

    assert knobs.beta == DEFAULT.beta


def test_given_knobs_stand() -> None:
    final = np.linspace(0.2, 0.9, CONFIGS) + np.zeros((TARGETS, 1))
    given = dataclasses.replace(DEFAULT, beta=2.0)

    assert AdaptiveMethod(knobs=given).learn(_curves(final, shape=_only_at_the_end()), seed=0).knobs == given
