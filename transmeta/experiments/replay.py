"""A policy's picks on a target, played from the record of all trials there, without training anything."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final, final

import numpy as np

from transmeta.core.experience import Experience, MetaFeatures
from transmeta.core.protocols import Policy
from transmeta.core.trial import Arm, TrialResult, TrialStatus
from transmeta.policies.table import is_scratch, regret_scale
from transmeta.training.seeding import derive_seed

MOST_SUGGESTIONS: Final = 1024
"""Asked of a policy at once, before it is given up that one of them has a record."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A target with all that was ever tried on it.

    Attributes:
        results: arm key → COMPLETED result, seeds averaged, or a FAILED one. Censored trials have no final score, so
            they are not part of the record.
        completed: the results with a validation and a test score; at least one.
        best: the best validation utility.
        scale: best − median of the validation utilities.
        spread: best − worst.
    """

    features: MetaFeatures
    dataset: str
    results: Mapping[str, TrialResult]
    completed: Mapping[str, TrialResult]
    best: float
    scale: float
    spread: float

    def scratch_score(self) -> float | None:
        """Returns the test utility of training from scratch with the numbers that validate best; None if not tried."""
        from_scratch = [result for result in self.completed.values() if is_scratch(result.spec.pair.source)]
        return None if not from_scratch else tested(max(from_scratch, key=validation))


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecordedProposer:
    """Draws from the arms that were ever tried: their names only, no results."""

    arms: tuple[Arm, ...]

    @classmethod
    def of(cls, experience: Sequence[Experience]) -> "RecordedProposer":
        """Returns the proposer over all arms of `experience`."""
        arms = {row.arm.key: row.arm for row in experience}
        return cls(arms=tuple(arms[key] for key in sorted(arms)))

    def propose(self, *, sources: Sequence[str], count: int, seed: int) -> Sequence[Arm]:
        """Returns up to `count` distinct arms over `sources`, in an order drawn by `seed`."""
        allowed = [arm for arm in self.arms if arm.source in sources]
        order = np.random.default_rng(derive_seed(seed, "recorded")).permutation(len(allowed))
        return tuple(allowed[index] for index in order[:count])


def record(
    experience: Sequence[Experience], *, features: Mapping[str, MetaFeatures] | None = None
) -> tuple[Recorded, ...]:
    """Returns the targets of `experience`, ordered by id; those without any completed trial are left out.

    Args:
        features: by target id; where missing, those that were stored with the trials.
    """
    rows_of: dict[str, list[Experience]] = {}
    for row in sorted((row for row in experience if row.is_lesson), key=lambda row: row.id):
        rows_of.setdefault(row.result.spec.target.id, []).append(row)
    recorded = []
    for target, rows in sorted(rows_of.items()):
        by_arm: dict[str, list[TrialResult]] = {}
        for row in rows:
            if row.result.status is not TrialStatus.STOPPED:
                by_arm.setdefault(row.arm.key, []).append(row.result)
        results = {key: _merged(group) for key, group in sorted(by_arm.items())}
        completed = {key: result for key, result in results.items() if _is_final(result)}
        if not completed:
            continue
        values = np.array([validation(result) for result in completed.values()])
        recorded.append(
            Recorded(
                features=(features or {}).get(target) or _stored_features(rows),
                dataset=rows[0].result.spec.target.dataset,
                results=results,
                completed=completed,
                best=float(values.max()),
                scale=regret_scale(values),
                spread=float(np.ptp(values)) or 1.0,
            )
        )
    return tuple(recorded)


def replay(policy: Policy, target: Recorded, *, count: int, seed: int) -> tuple[TrialResult, ...]:
    """Returns the results of up to `count` picks, each made after seeing those before.

    A suggestion without a record on the target is passed over, so that all policies choose among the same trials.
    """
    history: list[TrialResult] = []
    while len(history) < min(count, len(target.results)):
        pick = _next(policy, target, history, seed=seed)
        if pick is None:
            break
        history.append(pick)
    return tuple(history)


def validation(result: TrialResult) -> float:
    """Returns the validation utility of a completed trial."""
    assert result.utility is not None, "a completed trial has a score"
    return result.utility


def tested(result: TrialResult) -> float:
    """Returns the test utility of a completed trial."""
    assert result.test_score is not None, "a completed trial has a test score"
    return result.spec.target.metric.utility(result.test_score)


def _next(policy: Policy, target: Recorded, history: Sequence[TrialResult], *, seed: int) -> TrialResult | None:
    tried = {result.spec.arm.key for result in history}
    ask_for = 8
    while True:
        suggestions = policy.suggest(target.features, history, count=ask_for, seed=seed)
        for suggestion in suggestions:
            key = suggestion.arm.key
            if key in target.results and key not in tried:
                return target.results[key]
        if len(suggestions) < ask_for or ask_for >= MOST_SUGGESTIONS:
            return None
        ask_for *= 4


def _is_final(result: TrialResult) -> bool:
    has_scores = result.score is not None and result.test_score is not None
    return result.status is TrialStatus.COMPLETED and has_scores


def _merged(results: Sequence[TrialResult]) -> TrialResult:
    """Returns the first completed result with the means over all completed ones, or else the first failed one."""
    completed = [result for result in results if _is_final(result)]
    if not completed:
        return results[0]
    return dataclasses.replace(
        completed[0],
        score=float(np.mean([result.score for result in completed if result.score is not None])),
        test_score=float(np.mean([result.test_score for result in completed if result.test_score is not None])),
        cost_s=float(np.mean([result.cost_s for result in completed])),
    )


def _stored_features(rows: Sequence[Experience]) -> MetaFeatures:
    pairs = {row.arm.source: row.pair_features for row in rows}
    return MetaFeatures(
        target_id=rows[0].result.spec.target.id, target=rows[0].target_features, pairs=dict(sorted(pairs.items()))
    )
