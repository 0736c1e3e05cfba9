"""The figures of `meta_test`: from what was reached on each target to means, intervals and comparisons."""

import dataclasses
from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np

from transmeta.errors import InputError
from transmeta.experiments.statistics import Interval, PairedTest, bootstrap, holm, paired


class Measure(StrEnum):
    """What is compared; `regret` and `anytime` with their sign turned, so that higher is better."""

    TEST_SCORE = "test_score"
    REGRET = "regret"
    ANYTIME = "anytime"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Figures of one policy with one budget on one data set, or on one target.

    Attributes:
        test_score: test utility of the incumbent.
        regret: of its validation score, over (best − median), at most 3; 3 where nothing completed.
        regret_worst: the same over (best − worst).
        anytime: mean of `regret` over the trials so far.
        negative_transfer: share of targets where it uses a source and its test score is below that of training from
            scratch with the numbers that validate best there; None where scratch was not tried.
    """

    test_score: float
    regret: float
    regret_worst: float
    anytime: float
    negative_transfer: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures of one policy with one budget, over data sets. References have budget 1.

    Attributes:
        by_dataset: what the intervals are over.
    """

    policy: str
    budget: int
    test_score: Interval
    regret: Interval
    regret_worst: Interval
    anytime: Interval
    negative_transfer: float | None
    by_dataset: Mapping[str, Scores]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One policy against a rival; `p_holm` is corrected over all rivals of the same call."""

    policy: str
    budget: int
    rival: str
    rival_budget: int
    measure: Measure
    test: PairedTest
    p_holm: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MetaTestReport:
    """All figures, with those of the references `oracle`, `scratch` and `best_fixed`.

    Attributes:
        targets: ids of the held-out targets.
    """

    targets: tuple[str, ...]
    figures: tuple[Figures, ...]

    def find(self, policy: str, *, budget: int) -> Figures:
        """Returns the figures of one policy with one budget.

        Raises:
            InputError: if it was not evaluated.
        """
        for item in self.figures:
            if item.policy == policy and item.budget == budget:
                return item
        known = ", ".join(f"{item.policy}@{item.budget}" for item in self.figures)
        raise InputError(f"meta-test: no figures of {policy!r} with budget {budget}; there are {known}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one policy reached on one target with one budget and seed."""

    policy: str
    budget: int
    dataset: str
    target: str
    scores: Scores


def report_of(rows: Sequence[Row]) -> MetaTestReport:
    """Returns the figures of `rows`: seeds are averaged first, then the targets of a data set."""
    groups: dict[tuple[str, int], dict[str, dict[str, list[Scores]]]] = {}
    for row in rows:
        by_dataset = groups.setdefault((row.policy, row.budget), {})
        by_dataset.setdefault(row.dataset, {}).setdefault(row.target, []).append(row.scores)
    figures = []
    for (policy, budget), by_dataset in groups.items():
        scores = {
            dataset: _mean([_mean(seeds) for seeds in by_target.values()])
            for dataset, by_target in sorted(by_dataset.items())
        }
        figures.append(_figures(policy, budget, scores))
    return MetaTestReport(targets=tuple(sorted({row.target for row in rows})), figures=tuple(figures))


def compare(
    report: MetaTestReport,
    policy: str,
    *,
    budget: int,
    rivals: Sequence[tuple[str, int]],
    measure: Measure = Measure.TEST_SCORE,
    seed: int = 0,
) -> tuple[Comparison, ...]:
    """Returns `policy` against each of `rivals` (name, budget), on the data sets that both have.

    Raises:
        InputError: if one of them was not evaluated, or on other data sets only.
    """
    ours = report.find(policy, budget=budget).by_dataset
    tests = []
    for name, rival_budget in rivals:
        theirs = report.find(name, budget=rival_budget).by_dataset
        common = [dataset for dataset in ours if dataset in theirs]
        if not common:
            raise InputError(f"meta-test: {policy!r} and {name!r} have no data set in common; evaluate them together")
        tests.append(paired([_value(ours[d], measure) - _value(theirs[d], measure) for d in common], seed=seed))
    corrected = holm([test.p for test in tests])
    return tuple(
        Comparison(
            policy=policy,
            budget=budget,
            rival=name,
            rival_budget=rival_budget,
            measure=measure,
            test=test,
            p_holm=p,
        )
        for (name, rival_budget), test, p in zip(rivals, tests, corrected, strict=True)
    )


def _figures(policy: str, budget: int, scores: Mapping[str, Scores]) -> Figures:
    overall = _mean(list(scores.values()))
    return Figures(
        policy=policy,
        budget=budget,
        test_score=bootstrap([item.test_score for item in scores.values()]),
        regret=bootstrap([item.regret for item in scores.values()]),
        regret_worst=bootstrap([item.regret_worst for item in scores.values()]),
        anytime=bootstrap([item.anytime for item in scores.values()]),
        negative_transfer=overall.negative_transfer,
        by_dataset=scores,
    )


def _mean(scores: Sequence[Scores]) -> Scores:
    transfers = [item.negative_transfer for item in scores if item.negative_transfer is not None]
    return Scores(
        test_score=float(np.mean([item.test_score for item in scores])),
        regret=float(np.mean([item.regret for item in scores])),
        regret_worst=float(np.mean([item.regret_worst for item in scores])),
        anytime=float(np.mean([item.anytime for item in scores])),
        negative_transfer=float(np.mean(transfers)) if transfers else None,
    )


def _value(scores: Scores, measure: Measure) -> float:
    return {
        Measure.TEST_SCORE: scores.test_score,
        Measure.REGRET: -scores.regret,
        Measure.ANYTIME: -scores.anytime,
    }[measure]
