"""Trials as curves: what the adaptive portfolio learns from, made of experience.

A step is a measurement: up to nine, evenly spread over the epochs of a trial. A trial that measures itself once has one
step, so it cannot be left before its end. Letters: T known targets, C configurations, S steps.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from transmeta.core.experience import Experience
from transmeta.core.trial import Arm, TrialResult, TrialStatus
from transmeta.policies.adaptive.protocol import Array, Curves
from transmeta.policies.adaptive.rows import mean_of_known
from transmeta.policies.table import FEWEST_ARMS, WORST, regret_scale

MOST_STEPS: Final = 64
"""A trial has nine measurements at most; this bounds what a damaged record can ask for."""

Trials = Mapping[str, Sequence[TrialResult]]


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
    length = max(
        (_length(result) for target in kept for trials in cells[target].values() for result in trials), default=1
    )
    curves = empty([arms[key] for key in keys], [_names(by_target[target]) for target in kept], length=length)
    features = {target: by_target[target][0].target_features for target in kept}
    pairs = {target: {row.arm.source: row.pair_features for row in by_target[target]} for target in kept}
    for t, target in enumerate(kept):
        places = [columns[key] for key in cells[target]]
        _fill(curves, t, places, list(cells[target].values()))
    return with_features(curves, features=[features[t] for t in kept], pairs=[pairs[t] for t in kept])


def empty(arms: Sequence[Arm], names: Sequence[tuple[str, str, str]], *, length: int) -> Curves:
    """Returns curves of `length` steps without trials, whose arrays are to be filled.

    Args:
        names: of the targets: id, data set, domain.
    """
    shape = (len(names), len(arms))
    return Curves(
        targets=tuple(name[0] for name in names),
        groups=tuple(name[1] for name in names),
        domains=tuple(name[2] for name in names),
        values=np.full((*shape, length), np.nan),
        failed=np.zeros(shape, dtype=np.bool_),
        observed=np.zeros(shape, dtype=np.bool_),
        steps=np.zeros(shape, dtype=np.int64),
        cost_s=np.full((*shape, length), np.nan),
        final=np.full(shape, np.nan),
        regret=np.full((*shape, length), np.nan),
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
    length = curves.values.shape[2]
    lines_of = [np.stack([_values(result, length) for result in results]) for results in cells]
    for c, results, lines in zip(places, cells, lines_of, strict=True):
        is_completed = np.array([_has_score(result) for result in results])
        heard = is_completed if is_completed.any() else np.ones(len(results), dtype=np.bool_)
        curves.steps[t, c] = max(_length(result) for result, is_heard in zip(results, heard, strict=True) if is_heard)
        curves.observed[t, c] = _is_final(results)
        curves.failed[t, c] = bool(curves.observed[t, c]) and not is_completed.any()
        curves.values[t, c] = mean_of_known(lines[heard])
        costs = [result.cost_s for result, is_done in zip(results, is_completed, strict=True) if is_done]
        if costs:
            curves.final[t, c] = curves.values[t, c, curves.steps[t, c] - 1]
            curves.cost_s[t, c, : curves.steps[t, c]] = np.mean(costs) / curves.steps[t, c]
    final = curves.final[t][~np.isnan(curves.final[t])]
    best, scale = (float(final.max()), regret_scale(final)) if final.size else (0.0, 1.0)
    for c, results, lines in zip(places, cells, lines_of, strict=True):
        has_failed = np.array([result.status is TrialStatus.FAILED for result in results])
        loss = np.clip((best - curves.values[t, c]) / scale, 0.0, WORST)
        if curves.failed[t, c]:
            losses = np.clip((best - lines) / scale, 0.0, WORST)
            for line, result in zip(losses, results, strict=True):
                line[_measured(result) :] = WORST
            loss = mean_of_known(losses)
        else:  # seeds that failed where others did not count by their share
            loss = loss + has_failed.mean() * (WORST - loss)
        curves.regret[t, c] = np.where(np.arange(length) < curves.steps[t, c], loss, np.nan)


def _length(result: TrialResult) -> int:
    """Returns the number of measurements that the full run has, or would have had."""
    if not result.curve:
        return 1
    count = len(result.curve)
    if result.status is TrialStatus.COMPLETED:
        return count
    most = max(round(count / max(result.curve[-1].progress, 1e-9)), count)
    return min(most, MOST_STEPS) + (result.status is TrialStatus.FAILED and most == count)


def _measured(result: TrialResult) -> int:
    """Returns how many measurements were made before the trial ended."""
    values = [measurement.value for measurement in result.curve]
    return next((k for k, value in enumerate(values) if not np.isfinite(value)), len(values))


def _values(result: TrialResult, length: int) -> Array:
    """Returns the utilities of a trial, (S,); NaN beyond its end."""
    values = np.full(length, np.nan)
    metric = result.spec.target.metric
    for k, measurement in enumerate(result.curve[: _measured(result)]):
        values[k] = metric.utility(measurement.value)
    if _has_score(result) and result.utility is not None:
        values[_length(result) - 1] = result.utility
    return values
