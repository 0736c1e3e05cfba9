"""How good the learned policy is on targets that it has never seen, from the record of all choices on them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from transmeta.core.experience import Experience, MetaFeatures
from transmeta.core.model import SCRATCH
from transmeta.core.protocols import Policy
from transmeta.core.trial import TrialResult, TrialStatus
from transmeta.experiments.adapt import best_of
from transmeta.policies.table import RegretTable

RESAMPLES: Final = 10_000
Record = Mapping[str, TrialResult]
"""Arm key → its completed trial on one target."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Mean test scores on held-out targets; choices are made by validation scores, that of `oracle` by test scores.

    Attributes:
        scratch: training from scratch, no choice made.
        best_fixed: the one choice that was best on the training targets.
        policy_1, policy_5: the learned policy after one trial and after five.
        network_1: the network's own first pick, without the portfolio behind it.
        portfolio_5: the greedy portfolio after five trials, the rival of policy_5.
        gain: policy_1 − best_fixed, with the bounds of its 95 % bootstrap interval over data sets.
    """

    scratch: float
    best_fixed: float
    policy_1: float
    policy_5: float
    network_1: float
    portfolio_5: float
    oracle: float
    gain: float
    gain_low: float
    gain_high: float


def judge(
    experience: Sequence[Experience],
    *,
    known: RegretTable,
    features: Mapping[str, MetaFeatures],
    policy: Policy,
    network: Policy,
    portfolio: Policy,
    seed: int,
) -> HeldOut:
    """Returns how the policies do on the targets of `experience`, none of which they may know.

    Data sets count alike: the shots of one are averaged first.

    Args:
        experience: all choices on the held-out targets.
        known: the training targets, for the best fixed choice.
    """
    overlap = {target.dataset for target in known.targets} & {row.result.spec.target.dataset for row in experience}
    assert not overlap, f"held-out data sets were learned from: {sorted(overlap)}"
    records: dict[str, dict[str, TrialResult]] = {}
    dataset_of: dict[str, str] = {}
    for row in experience:
        if row.result.status is TrialStatus.COMPLETED:
            records.setdefault(row.result.spec.target.id, {})[row.arm.key] = row.result
            dataset_of[row.result.spec.target.id] = row.result.spec.target.dataset
    order = [known.arms[column].key for column in np.argsort(-np.nanmean(known.utility, axis=0), kind="stable")]

    def per_dataset(score: Callable[[str, Record], float]) -> npt.NDArray[np.float64]:
        groups: dict[str, list[float]] = {}
        for target, record in sorted(records.items()):
            groups.setdefault(dataset_of[target], []).append(score(target, record))
        return np.array([np.mean(scores) for scores in groups.values()])

    def after(chosen: Policy, count: int) -> Callable[[str, Record], float]:
        return lambda target, record: _tested(replay(chosen, features[target], record, count=count))

    best_fixed = per_dataset(lambda _, record: _test(record[next(key for key in order if key in record)]))
    policy_1 = per_dataset(after(policy, 1))
    low, high = interval(policy_1 - best_fixed, seed=seed)
    return HeldOut(
        scratch=_mean(per_dataset(lambda _, record: _tested([r for k, r in record.items() if k.startswith(SCRATCH)]))),
        best_fixed=_mean(best_fixed),
        policy_1=_mean(policy_1),
        policy_5=_mean(per_dataset(after(policy, 5))),
        network_1=_mean(per_dataset(after(network, 1))),
        portfolio_5=_mean(per_dataset(after(portfolio, 5))),
        oracle=_mean(per_dataset(lambda _, record: max(_test(result) for result in record.values()))),
        gain=_mean(policy_1 - best_fixed),
        gain_low=low,
        gain_high=high,
    )


def replay(policy: Policy, features: MetaFeatures, record: Record, *, count: int) -> list[TrialResult]:
    """Returns the results of the first `count` picks of `policy`, each made after seeing those before.

    A pick that has no record is passed over, so that all policies choose among the same trials.
    """
    history: list[TrialResult] = []
    for _ in range(min(count, len(record))):
        picks = policy.suggest(features, history, count=2 * len(record), seed=0)
        history.append(next(record[pick.arm.key] for pick in picks if pick.arm.key in record))
    return history


def interval(differences: npt.NDArray[np.float64], *, seed: int) -> tuple[float, float]:
    """Returns the bounds of the 95 % percentile bootstrap interval of the mean of `differences` (data sets,)."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice(differences, size=(RESAMPLES, len(differences))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return round(float(low), 4), round(float(high), 4)


def _tested(results: Sequence[TrialResult]) -> float:
    best = best_of(results)
    assert best is not None, "completed trials have scores"
    return _test(best)


def _test(result: TrialResult) -> float:
    assert result.test_score is not None, "completed trials have a test score"
    return result.spec.target.metric.utility(result.test_score)


def _mean(values: npt.NDArray[np.float64]) -> float:
    return round(float(values.mean()), 4)
