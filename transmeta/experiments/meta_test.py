"""How good policies are on targets that they were not learned from, replayed from the record of all trials there.

The incumbent after k trials is the one that validates best; its test score is what counts. Regret is that of its
validation score. The unit is the data set: seeds, then shots are averaged first. Direction: higher is better for
scores (utilities), lower for regret.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from transmeta.core.experience import Experience, MetaFeatures
from transmeta.core.protocols import Policy
from transmeta.core.trial import TrialResult
from transmeta.errors import InputError
from transmeta.experiments.figures import MetaTestReport, Row, Scores, report_of
from transmeta.experiments.replay import Recorded, record, replay, tested, validation
from transmeta.policies.table import WORST, RegretTable, is_scratch

BUDGETS: Final = (1, 3, 5, 10, 20)
ORACLE: Final = "oracle"
"""The best test score in the record: optimistic, since noise helps it and no policy can see it."""
SCRATCH: Final = "scratch"
"""The from-scratch arm that was best on the training targets."""
BEST_FIXED: Final = "best_fixed"
"""The one arm that was best on the training targets; where it is barred, the next one."""

Learn = Callable[[Sequence[Experience]], Sequence[Policy]]
"""Makes the policies to compare out of training experience."""


_LearnNamed = Callable[[Sequence[Experience]], Mapping[str, Policy]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The policy that was best on left-out training targets.

    Attributes:
        regret: mean regret over the budgets, of each candidate.
    """

    name: str
    regret: Mapping[str, float]


def evaluate(
    learn: Learn,
    experience: Sequence[Experience],
    *,
    held_out: Sequence[str],
    features: Mapping[str, MetaFeatures] | None = None,
    budgets: Sequence[int] = BUDGETS,
    seeds: Sequence[int] = (0,),
) -> MetaTestReport:
    """Returns how the policies that `learn` makes without the data sets `held_out` do on these.

    Picks are restricted to arms that have a record on the target: other suggestions are passed over.

    Args:
        features: by target id; where missing, those that were stored with the trials.
        seeds: of the policies' choices; give several for random ones.

    Raises:
        InputError: if nothing is held out, or nothing is left to learn from.
    """
    return report_of(
        _fold(_by_name(learn), experience, held_out=held_out, features=features, budgets=budgets, seeds=seeds)
    )


def leave_one_dataset_out(
    learn: Learn,
    experience: Sequence[Experience],
    *,
    features: Mapping[str, MetaFeatures] | None = None,
    budgets: Sequence[int] = BUDGETS,
    seeds: Sequence[int] = (0,),
    most_folds: int | None = None,
) -> MetaTestReport:
    """Returns how the policies do on every data set, each time learned without it.

    Args:
        most_folds: leaves out several data sets at a time, so that there are at most so many folds.
    """
    return report_of(
        _folds(_by_name(learn), experience, features=features, budgets=budgets, seeds=seeds, most_folds=most_folds)
    )


def choose_default(
    candidates: Mapping[str, Callable[[Sequence[Experience]], Policy]],
    experience: Sequence[Experience],
    *,
    features: Mapping[str, MetaFeatures] | None = None,
    budgets: Sequence[int] = (1, 5),
    seeds: Sequence[int] = (0,),
    most_folds: int | None = 8,
) -> Choice:
    """Returns which candidate has the least validation regret on left-out data sets; ties go to the first.

    Args:
        candidates: name → makes the policy out of training experience.
        experience: of training targets only; test scores do not matter.

    Raises:
        InputError: if there is no candidate or there are fewer than two data sets.
    """
    if not candidates:
        raise InputError("choose_default: no candidates; give at least one policy")

    def learn(training: Sequence[Experience]) -> Mapping[str, Policy]:
        return {name: make(training) for name, make in candidates.items()}

    report = report_of(
        _folds(learn, experience, features=features, budgets=budgets, seeds=seeds, most_folds=most_folds)
    )
    regret = {
        name: float(np.mean([report.find(name, budget=budget).regret.mean for budget in budgets]))
        for name in candidates
    }
    return Choice(name=min(regret, key=lambda name: round(regret[name], 9)), regret=regret)


def _by_name(learn: Learn) -> _LearnNamed:
    def learn_named(training: Sequence[Experience]) -> Mapping[str, Policy]:
        policies = learn(training)
        named = {policy.name: policy for policy in policies}
        if len(named) < len(policies):
            raise InputError("meta-test: two policies of the same name; compare them in two calls")
        return named

    return learn_named


def _folds(
    learn: _LearnNamed,
    experience: Sequence[Experience],
    *,
    features: Mapping[str, MetaFeatures] | None,
    budgets: Sequence[int],
    seeds: Sequence[int],
    most_folds: int | None,
) -> list[Row]:
    datasets = sorted({row.result.spec.target.dataset for row in experience})
    count = len(datasets) if most_folds is None else min(most_folds, len(datasets))
    parts = [datasets[index::count] for index in range(count)]
    return [
        row
        for part in parts
        for row in _fold(learn, experience, held_out=part, features=features, budgets=budgets, seeds=seeds)
    ]


def _fold(
    learn: _LearnNamed,
    experience: Sequence[Experience],
    *,
    held_out: Sequence[str],
    features: Mapping[str, MetaFeatures] | None,
    budgets: Sequence[int],
    seeds: Sequence[int],
) -> list[Row]:
    training = [row for row in experience if row.result.spec.target.dataset not in held_out]
    targets = record([row for row in experience if row.result.spec.target.dataset in held_out], features=features)
    if not targets or not training:
        missing = "completed trials on held-out data sets" if not targets else "data sets to learn from"
        raise InputError(f"meta-test: no {missing} (held out: {', '.join(held_out) or 'none'}); collect more first")
    order = _fixed_order(RegretTable.from_experience(training))
    rows = [row for target in targets for row in _references(target, order)]
    for name, policy in learn(training).items():
        for target in targets:
            for seed in seeds:
                picks = replay(policy, target, count=max(budgets), seed=seed)
                rows.extend(_row(name, budget, target, _scores(target, picks, budget)) for budget in budgets)
    return rows


def _row(policy: str, budget: int, target: Recorded, scores: Scores) -> Row:
    return Row(policy=policy, budget=budget, dataset=target.dataset, target=target.features.target_id, scores=scores)


def _scores(target: Recorded, picks: Sequence[TrialResult], budget: int) -> Scores:
    """Returns the figures of the incumbent after each of the first `budget` picks."""
    incumbent: TrialResult | None = None
    regrets: list[float] = []
    for pick in picks[:budget]:
        is_done = pick.spec.arm.key in target.completed
        if is_done and (incumbent is None or validation(pick) > validation(incumbent)):
            incumbent = pick
        regrets.append(WORST if incumbent is None else min((target.best - validation(incumbent)) / target.scale, WORST))
    regrets += [regrets[-1] if regrets else WORST] * (budget - len(regrets))
    # Nothing that completed is as bad as the worst that did: leaving such targets out would reward failure.
    test_score = min(tested(result) for result in target.completed.values()) if incumbent is None else tested(incumbent)
    scratch = target.scratch_score()
    is_transfer = incumbent is None or not is_scratch(incumbent.spec.pair.source)
    return Scores(
        test_score=test_score,
        regret=regrets[-1],
        regret_worst=1.0 if incumbent is None else (target.best - validation(incumbent)) / target.spread,
        anytime=float(np.mean(regrets)),
        negative_transfer=None if scratch is None else float(is_transfer and test_score < scratch - 1e-12),
    )


def _fixed_order(table: RegretTable) -> tuple[str, ...]:
    """Returns arm keys, best mean utility on the known targets first, ties by key.

    Utilities are taken relative to the target's mean, with 0 where the arm was not tried and the target's worst where
    it failed, so that an arm does not lead for having been tried on easy targets alone.
    """
    worst = np.where(np.isnan(table.utility), np.inf, table.utility).min(axis=1, initial=np.inf)[:, None]
    utility = np.where(table.is_tried & np.isnan(table.utility), worst, table.utility)
    utility = np.where(np.isfinite(utility), utility, np.nan)
    counts = np.maximum((~np.isnan(utility)).sum(axis=1, keepdims=True), 1)
    centred = np.nan_to_num(utility - np.nansum(utility, axis=1, keepdims=True) / counts, nan=0.0)
    means = np.round(centred.mean(axis=0), 12) if len(centred) else np.zeros(0)
    return tuple(table.arms[column].key for column in np.argsort(-means, kind="stable"))


def _references(target: Recorded, order: Sequence[str]) -> list[Row]:
    """Returns the rows of `oracle`, `scratch` and `best_fixed`, where they have a trial on the target."""
    completed = target.completed
    known = [target.results[key] for key in order if key in target.results]
    from_scratch = [result for result in known if is_scratch(result.spec.pair.source)]
    if not from_scratch:  # no scratch arm is known from training: the first by key stands for "no choice made"
        from_scratch = [result for _, result in sorted(completed.items()) if is_scratch(result.spec.pair.source)]
    chosen = {
        ORACLE: max(completed.values(), key=tested),
        SCRATCH: from_scratch[0] if from_scratch else None,
        BEST_FIXED: known[0] if known else None,
    }
    return [
        _row(name, 1, target, _scores(target, [result], 1)) for name, result in chosen.items() if result is not None
    ]
