"""Curves of what a policy knows, joined with those of new trials: so that a policy is extended without its trials.

Letters: T known targets, C configurations, K rungs, S steps.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from transmeta.core.trial import Arm, StrategySpec
from transmeta.policies.adaptive.learned import AdaptiveLearned
from transmeta.policies.adaptive.protocol import Array, Curves
from transmeta.policies.adaptive.rows import SHARES, rung_steps
from transmeta.policies.adaptive.trials import empty, with_features
from transmeta.policies.table import WORST, RegretTable, regret_scale

LENGTH: Final = 18
"""Steps on which all rungs fall apart."""

Scalar = TypeVar("Scalar", bound=np.generic)


def known_curves(learned: AdaptiveLearned) -> Curves:
    """Returns the curves that `learned` was learned from, as far as it holds them: at the rungs.

    Values below the best by more than three times best − median are lost, since regrets are clipped there.
    """
    return _curves(learned.table, learned.rungs)


def table_curves(table: RegretTable) -> Curves:
    """Returns the curves of a table, which knows full runs alone."""
    rungs = np.full((*table.regret.shape, len(SHARES)), np.nan)
    rungs[:, :, -1] = table.regret
    return _curves(table, rungs)


def merged(known: Curves, new: Curves) -> Curves:
    """Returns the targets of both, on the configurations of both, ordered by name.

    A target that both know is taken from where more configurations were finished on it.
    """
    arms = {**_arms(known), **_arms(new)}
    keys = sorted(arms)
    first, second = (aligned(curves, [arms[key] for key in keys]) for curves in (known, new))
    counts = dict(zip(known.targets, known.observed.sum(axis=1).tolist(), strict=True))
    fresh = [
        t for t, target in enumerate(new.targets) if int(new.observed[t].sum()) >= counts.get(target, 0)
    ]  # of equals the new one: its machine is this one
    replaced = {new.targets[t] for t in fresh}
    kept = [t for t, target in enumerate(known.targets) if target not in replaced]
    joined = _joined(take(first, kept), take(second, fresh))
    return take(joined, sorted(range(len(joined.targets)), key=lambda t: joined.targets[t]))


def aligned(curves: Curves, arms: Sequence[Arm]) -> Curves:
    """Returns `curves` with a column for each of `arms`, empty where there was none; other columns are left out."""
    place = {key: c for c, key in enumerate(curves.configs)}
    columns = np.array([place.get(arm.key, -1) for arm in arms], dtype=np.int64)
    is_there = columns >= 0

    def moved(array: npt.NDArray[Scalar], fill: float) -> npt.NDArray[Scalar]:
        shape = (array.shape[0], len(arms), *array.shape[2:])
        result: npt.NDArray[Scalar] = np.full(shape, fill, dtype=array.dtype)
        result[:, is_there] = array[:, columns[is_there]]
        return result

    return dataclasses.replace(
        curves,
        values=moved(curves.values, np.nan),
        failed=moved(curves.failed, 0),
        observed=moved(curves.observed, 0),
        steps=moved(curves.steps, 0),
        cost_s=moved(curves.cost_s, np.nan),
        final=moved(curves.final, np.nan),
        regret=moved(curves.regret, np.nan),
        configs=tuple(arm.key for arm in arms),
        sources=tuple(arm.source for arm in arms),
        strategies=tuple(arm.strategy.name for arm in arms),
        params=tuple(arm.strategy.params for arm in arms),
        pair_features={name: moved(values, np.nan) for name, values in curves.pair_features.items()},
    )


def take(curves: Curves, rows: Sequence[int]) -> Curves:
    """Returns the curves of some targets."""
    kept = list(rows)
    return dataclasses.replace(
        curves,
        targets=tuple(curves.targets[t] for t in kept),
        groups=tuple(curves.groups[t] for t in kept),
        domains=tuple(curves.domains[t] for t in kept),
        values=curves.values[kept],
        failed=curves.failed[kept],
        observed=curves.observed[kept],
        steps=curves.steps[kept],
        cost_s=curves.cost_s[kept],
        final=curves.final[kept],
        regret=curves.regret[kept],
        target_features={name: values[kept] for name, values in curves.target_features.items()},
        pair_features={name: values[kept] for name, values in curves.pair_features.items()},
    )


def _curves(table: RegretTable, rungs: Array) -> Curves:
    names = [(target.id, target.dataset, target.domain) for target in table.targets]
    curves = empty(table.arms, names, length=LENGTH)
    is_known = ~np.isnan(rungs).all(axis=2)
    curves.observed[:] = table.is_tried
    curves.failed[:] = table.is_tried & np.isnan(table.utility)
    curves.steps[:] = np.where(is_known, LENGTH, 0)
    curves.final[:] = table.utility
    curves.cost_s[:] = table.cost_s[:, :, None] / LENGTH
    curves.regret[:] = _between_rungs(rungs)
    finals = [row[~np.isnan(row)] for row in table.utility]
    best = np.array([final.max() if final.size else np.nan for final in finals])
    scale = np.array([regret_scale(final) if final.size else np.nan for final in finals])
    curves.values[:] = best[:, None, None] - scale[:, None, None] * curves.regret
    curves.values[np.isfinite(table.utility), -1] = table.utility[np.isfinite(table.utility)]
    return with_features(
        curves,
        features=[target.features for target in table.targets],
        pairs=[target.pairs for target in table.targets],
    )


def _between_rungs(rungs: Array) -> Array:
    """Returns curves (T, C, S) that are at each rung what `rungs` says, and stay there until the next."""
    steps = rung_steps(np.array(LENGTH))
    latest = np.searchsorted(steps, np.arange(1, LENGTH + 1), side="right") - 1
    curves = rungs[:, :, np.maximum(latest, 0)]
    is_past_end = np.isnan(rungs)[:, :, np.maximum(latest, 0)]
    return np.where(is_past_end, np.nan, np.clip(curves, 0.0, WORST))


def _arms(curves: Curves) -> dict[str, Arm]:
    if curves.sources is None or curves.strategies is None:
        return {}
    return {
        key: Arm(source=source, strategy=StrategySpec(name=name, params=params))
        for key, source, name, params in zip(
            curves.configs, curves.sources, curves.strategies, curves.params, strict=True
        )
    }


def _joined(first: Curves, second: Curves) -> Curves:
    """Returns the targets of both, which have the same columns."""
    length = max(first.values.shape[2], second.values.shape[2])
    return dataclasses.replace(
        first,
        targets=first.targets + second.targets,
        groups=first.groups + second.groups,
        domains=first.domains + second.domains,
        values=np.concatenate([_padded(first.values, length), _padded(second.values, length)]),
        failed=np.concatenate([first.failed, second.failed]),
        observed=np.concatenate([first.observed, second.observed]),
        steps=np.concatenate([first.steps, second.steps]),
        cost_s=np.concatenate([_padded(first.cost_s, length), _padded(second.cost_s, length)]),
        final=np.concatenate([first.final, second.final]),
        regret=np.concatenate([_padded(first.regret, length), _padded(second.regret, length)]),
        target_features=_stacked(first.target_features, second.target_features, first, second),
        pair_features=_stacked(first.pair_features, second.pair_features, first, second),
    )


def _padded(array: Array, length: int) -> Array:
    missing = length - array.shape[2]
    return np.pad(array, ((0, 0), (0, 0), (0, missing)), constant_values=np.nan)


def _stacked(
    ours: Mapping[str, Array], theirs: Mapping[str, Array], first: Curves, second: Curves
) -> Mapping[str, Array]:
    """Returns name → features of both; NaN for the targets where the name is unknown."""

    def part(features: Mapping[str, Array], name: str, count: int) -> Array:
        shape = (ours if name in ours else theirs)[name].shape
        return features[name] if name in features else np.full((count, *shape[1:]), np.nan)

    return {
        name: np.concatenate([part(ours, name, len(first.targets)), part(theirs, name, len(second.targets))])
        for name in sorted({*ours, *theirs})
    }
