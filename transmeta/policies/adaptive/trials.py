"""Trials as curves: what the adaptive portfolio learns from, made of experience and of what was learned before.

Curves are read on a grid over the share of a full run that was done, whatever its epochs, so that trials with nine
measurements and with one are comparable. Letters: T known targets, C configurations, S = `GRID` steps.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from transmeta.core.experience import Experience
from transmeta.core.trial import Arm, TrialResult, TrialStatus
from transmeta.policies.adaptive.protocol import Array, Curves
from transmeta.policies.table import FEWEST_ARMS, WORST, regret_scale

GRID: Final = 18
"""Steps of every full run: the least number that all rungs fall on, and ninths, where trials measure themselves."""

Trials = Mapping[str, Sequence[TrialResult]]


def step_of(progress: float) -> int:
    """Returns the step, from 1, of a measurement after the share `progress` of a run."""
    return min(max(round(progress * GRID), 1), GRID)


def curves_of(experience: Sequence[Experience]) -> Curves:
    """Returns the curves of `experience`, whatever its order; configurations are arms, ordered by `Arm.key`.

    CRASHED trials are skipped. Seeds are averaged; a failed one among others counts by its regret. A configuration that
    was only ever STOPPED is not `observed`, but its curve is there as far as it goes. Targets with fewer than two
    finished configurations are left out, since regret is relative to others.
    """
    by_target: dict[str, list[Experience]] = defaultdict(list)
    for row in sorted((row for row in experience if row.is_lesson), key=lambda row: row.id):
        by_target[row.result.spec.target.id].append(row)
    cells = {target: _trials(rows) for target, rows in sorted(by_target.items())}
    kept = [target for target, trials in cells.items() if sum(map(_is_final, trials.values())) >= FEWEST_ARMS]
    arms = {row.arm.key: row.arm for target in kept for row in by_target[target] if row.arm.key in cells[target]}
    keys = tuple(sorted(arms))
    columns = {key: c for c, key in enumerate(keys)}
    curves = empty([arms[key] for key in keys], [_names(by_target[target]) for target in kept])
    features = {target: by_target[target][0].target_features for target in kept}
    pairs = {target: {row.arm.source: row.pair_features for row in by_target[target]} for target in kept}
    for t, target in enumerate(kept):
        places = [columns[key] for key in cells[target]]
        _fill(curves, t, places, list(cells[target].values()))
    return with_features(curves, features=[features[t] for t in kept], pairs=[pairs[t] for t in kept])


def empty(arms: Sequence[Arm], names: Sequence[tuple[str, str, str]]) -> Curves:
    """Returns curves without trials, for targets with (id, data set, domain) `names`; the arrays are to be filled."""
    shape = (len(names), len(arms))
    return Curves(
        targets=tuple(name[0] for name in names),
        groups=tuple(name[1] for name in names),
        domains=tuple(name[2] for name in names),
        values=np.full((*shape, GRID), np.nan),
        failed=np.zeros(shape, dtype=np.bool_),
        observed=np.zeros(shape, dtype=np.bool_),
        steps=np.zeros(shape, dtype=np.int64),
        cost_s=np.full((*shape, GRID), np.nan),
        final=np.full(shape, np.nan),
        regret=np.full((*shape, GRID), np.nan),
        configs=tuple(arm.key for arm in arms),
        sources=tuple(arm.source for arm in arms),
        strategies=tuple(arm.strategy.name for arm in arms),
        params=tuple(arm.strategy.params for arm in arms),
        target_features={},
        pair_features={},
    )


def with_features(
    curves: Curves,
    *,
    features: Sequence[Mapping[str, float]],
    pairs: Sequence[Mapping[str, Mapping[str, float]]],
) -> Curves:
    """Returns `curves` with the features of each target, and those of its pairs by source."""
    sources = curves.sources or ()
    names = sorted({name for vector in features for name in vector})
    pair_names = sorted({name for by_source in pairs for vector in by_source.values() for name in vector})
    return dataclasses.replace(
        curves,
        target_features={
            name: np.array([vector.get(name, np.nan) for vector in features], dtype=np.float64) for name in names
        },
        pair_features={
            name: np.array(
                [[by_source.get(source, {}).get(name, np.nan) for source in sources] for by_source in pairs],
                dtype=np.float64,
            ).reshape(len(pairs), len(sources))
            for name in pair_names
        },
    )


def _names(rows: Sequence[Experience]) -> tuple[str, str, str]:
    target = rows[0].result.spec.target
    return target.id, target.dataset, target.domain


def _trials(rows: Sequence[Experience]) -> Trials:
    """Returns arm key → the trials that count for it: finished ones, or else those that were stopped."""
    results: dict[str, list[TrialResult]] = defaultdict(list)
    for row in rows:
        results[row.arm.key].append(row.result)
    counted = {}
    for key, group in results.items():
        final = [result for result in group if result.status is TrialStatus.FAILED or _has_score(result)]
        stopped = [result for result in group if result.status is TrialStatus.STOPPED and result.curve]
        if final or stopped:
            counted[key] = final or stopped
    return counted


def _has_score(result: TrialResult) -> bool:
    utility = result.utility
    return result.status is TrialStatus.COMPLETED and utility is not None and bool(np.isfinite(utility))


def _is_final(results: Sequence[TrialResult]) -> bool:
    return results[0].status is not TrialStatus.STOPPED


def _fill(curves: Curves, t: int, places: Sequence[int], cells: Sequence[Sequence[TrialResult]]) -> None:
    """Writes the trials of one target into the arrays."""
    values = [np.stack([_values(result) for result in results]) for results in cells]
    for c, results, lines in zip(places, cells, values, strict=True):
        is_completed = np.array([_has_score(result) for result in results])
        curves.steps[t, c] = GRID
        curves.observed[t, c] = _is_final(results)
        curves.failed[t, c] = bool(curves.observed[t, c]) and not is_completed.any()
        heard = lines[is_completed] if is_completed.any() else lines
        curves.values[t, c] = _mean(heard)
        curves.final[t, c] = curves.values[t, c, -1] if is_completed.any() else np.nan
        costs = [result.cost_s for result, done in zip(results, is_completed, strict=True) if done]
        curves.cost_s[t, c] = np.mean(costs) / GRID if costs else np.nan
    final = curves.final[t][~np.isnan(curves.final[t])]
    best, scale = (float(final.max()), regret_scale(final)) if final.size else (0.0, 1.0)
    for c, results, lines in zip(places, cells, values, strict=True):
        losses = np.clip((best - lines) / scale, 0.0, WORST)
        for line, result in zip(losses, results, strict=True):
            if result.status is TrialStatus.FAILED:
                line[int((~np.isnan(line)).cumsum().argmax()) + 1 if (~np.isnan(line)).any() else 0 :] = WORST
        regret = _mean(losses)
        is_measured = ~np.isnan(curves.values[t, c])
        curves.regret[t, c] = regret if curves.failed[t, c] else np.where(is_measured, regret, np.nan)


def _values(result: TrialResult) -> Array:
    """Returns the utilities of a trial on the grid, (S,); NaN where nothing was measured."""
    values = np.full(GRID, np.nan)
    for measurement in result.curve:
        values[step_of(measurement.progress) - 1] = result.spec.target.metric.utility(measurement.value)
    if _has_score(result) and result.utility is not None:
        values[-1] = result.utility
    elif result.status is TrialStatus.FAILED:
        values[-1] = np.nan
    return np.where(np.isfinite(values), values, np.nan)


def _mean(lines: Array) -> Array:
    """Returns the mean over the lines, (S,), of what is known of each step."""
    counts = (~np.isnan(lines)).sum(axis=0)
    return np.where(counts > 0, np.nansum(lines, axis=0) / np.maximum(counts, 1), np.nan)
