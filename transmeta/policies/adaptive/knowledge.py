"""What was learned from the known targets, in the terms of the network, the similarity and the costs.

Letters: T known targets, C configurations, K rungs, M members.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from transmeta.core.experience import MetaFeatures
from transmeta.core.trial import Arm, StrategySpec
from transmeta.policies.adaptive.protocol import Allowance, Array, Curves, Present
from transmeta.policies.adaptive.rows import at_rungs, mean_of_known
from transmeta.policies.table import KnownTarget, RegretTable

UNKNOWN: Final = "unknown"


def regret_table(curves: Curves) -> RegretTable:
    """Returns the final regrets of `curves` as the table that the network learns from, columns as in `curves`."""
    arms = tuple(
        Arm(
            source=curves.sources[c] if curves.sources else UNKNOWN,
            strategy=StrategySpec(name=curves.strategies[c] if curves.strategies else UNKNOWN, params=params),
        )
        for c, params in enumerate(curves.params)
    )
    final = np.where(
        curves.observed, np.where(curves.failed, 3.0, at_rungs(curves.regret, curves.steps)[:, :, -1]), np.nan
    )
    return RegretTable(
        targets=tuple(_known(curves, t) for t in range(len(curves.targets))),
        arms=arms,
        utility=curves.final,
        regret=final,
        cost_s=full_cost(curves),
    )


def full_cost(curves: Curves) -> Array:
    """Returns the cost of each full run, (T, C); NaN where it was not recorded or failed before its end."""
    total = np.nansum(curves.cost_s, axis=2)
    return np.where(curves.observed & ~curves.failed, total, np.nan)


def part_costs(curves: Curves) -> Array:
    """Returns the share of a full run's cost that is paid at each rung, (C, K), on average over the targets.

    It is no share of the steps, as the first of them pay for what a run needs before it starts. Configurations that
    nobody ran to their end have the mean of their strategy, or else of all; NaN where there is none.
    """
    paid = at_rungs(np.nancumsum(curves.cost_s, axis=2), curves.steps)
    full = full_cost(curves)[:, :, None]
    shares = np.divide(paid, full, out=np.full(paid.shape, np.nan), where=full > 0)
    own = mean_of_known(shares)
    is_known = np.asarray(~np.isnan(own).any(axis=1))
    parts = np.where(is_known[:, None], own, mean_of_known(own[is_known]) if is_known.any() else np.nan)
    names = np.array(curves.strategies or [UNKNOWN] * len(own))
    for name in set(names[~is_known]) & set(names[is_known]):
        parts[~is_known & (names == name)] = own[is_known & (names == name)].mean(axis=0)
    return parts


def features_of(present: Present, *, sources: Sequence[str] | None) -> MetaFeatures:
    """Returns what is known of `present`, pair features by source."""
    pairs: dict[str, dict[str, float]] = {}
    if sources is not None:
        for c in np.flatnonzero(present.is_allowed).tolist():
            if sources[c] not in pairs:
                pairs[sources[c]] = _finite({name: float(v[c]) for name, v in present.pair_features.items()})
    return MetaFeatures(target_id=present.target, target=_finite(present.target_features), pairs=pairs)


def present_of(curves: Curves, t: int) -> Present:
    """Returns what was known of a known target before its trials."""
    return Present(
        target=curves.targets[t],
        is_allowed=curves.observed[t],
        steps=curves.steps[t],
        target_features={name: float(values[t]) for name, values in curves.target_features.items()},
        pair_features={name: values[t] for name, values in curves.pair_features.items()},
        allowance=Allowance(),
    )


def _known(curves: Curves, t: int) -> KnownTarget:
    features = features_of(present_of(curves, t), sources=curves.sources)
    return KnownTarget(
        id=curves.targets[t],
        dataset=curves.groups[t],
        domain=curves.domains[t],
        features=features.target,
        pairs=features.pairs,
    )


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if np.isfinite(value)}
