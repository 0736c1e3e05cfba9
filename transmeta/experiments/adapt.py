"""Searches the transfer choices for one target within a budget, and picks the best model by validation."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

from transmeta.core.experience import MetaFeatures
from transmeta.core.plan import Precision
from transmeta.core.protocols import CostAware, Policy, Search
from transmeta.core.task import Task
from transmeta.core.trial import Budget, TrialResult, TrialStatus
from transmeta.errors import InputError, NoValidTrialError
from transmeta.experiments.run import Workbench, run
from transmeta.experiments.search import Deadline, Halving, PolicySearch, ReplaySearch

MOST_TRIALS: Final = 100_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation:
    """What a search on one target found.

    Attributes:
        best: the trial with the best validation score; its checkpoint is set where the executor keeps models.
        results: all trials in the order in which they were proposed.
        is_settled: whether it ended since no choice was expected to gain enough.
    """

    best: TrialResult
    results: tuple[TrialResult, ...]
    is_settled: bool


def search_target(
    target: Task,
    *,
    features: MetaFeatures,
    policy: Policy,
    bench: Workbench,
    budget: Budget,
    halving: Halving | None,
    seed: int,
    clock: Callable[[], float],
    precision: Precision = Precision.FLOAT32,
) -> Adaptation:
    """Returns what `policy` finds on `target` within `budget`.

    The number of trials alone makes the search deterministic; a time budget ends it wherever it then is.

    Args:
        clock: seconds since the budget began to run.
        precision: of all trials.

    Raises:
        InputError: if the budget has neither trials nor time, or none left.
        NoValidTrialError: if no trial gave a model.
    """
    check_budget(budget)
    inner = PolicySearch(
        target,
        features=features,
        policy=policy.by_cost() if budget.trials is None and isinstance(policy, CostAware) else policy,
        trials=budget.trials or MOST_TRIALS,
        halving=halving,
        seed=seed,
        precision=precision,
        min_gain=budget.min_gain,
    )
    search: Search = inner if budget.wall_s is None else Deadline(inner, clock=clock, at=budget.wall_s)
    run(search, bench=bench, features={target.id: features})
    best = best_of(inner.results)
    if best is None:
        raise NoValidTrialError(f"{target.name}: {_why_none(inner.results)}")
    return Adaptation(best=best, results=inner.results, is_settled=inner.is_settled)


def run_again(result: TrialResult, *, bench: Workbench) -> TrialResult:
    """Returns the same trial, run once more to its end, for its model; the numbers are the same."""
    (again,) = bench.executor.drive(ReplaySearch([result.spec]))
    return again


def best_of(results: Sequence[TrialResult]) -> TrialResult | None:
    """Returns the result with the best validation score, the cheaper of equals; None if none has a score."""
    return next(iter(ranked(results)), None)


def ranked(results: Sequence[TrialResult]) -> Sequence[TrialResult]:
    """Returns the results that have a score, best validation score first, of equals the complete and cheaper ones."""
    scored = [result for result in results if result.status in (TrialStatus.COMPLETED, TrialStatus.STOPPED)]
    scored = [result for result in scored if result.utility is not None]
    return sorted(
        scored, key=lambda r: (r.utility, r.status is TrialStatus.COMPLETED, -r.parameter_count), reverse=True
    )


def check_budget(budget: Budget) -> None:
    """Checks that there is something to spend.

    Raises:
        InputError: if not, with what was given.
    """
    if budget.trials is None and budget.wall_s is None:
        raise InputError("no budget: give a number of trials (--trials 20) or a time (--budget 2m)")
    if budget.trials is not None and budget.trials < 1:
        raise InputError(f"a budget of {budget.trials} trials; give 1 or more")
    if budget.wall_s is not None and not 0 < budget.wall_s < float("inf"):
        raise InputError(f"a budget of {budget.wall_s:g} s; give a positive time such as 2m")
    if not 0 <= budget.min_gain < float("inf"):
        raise InputError(f"a least gain of {budget.min_gain:g}; give 0 or more, such as 0.002")


def _why_none(results: Sequence[TrialResult]) -> str:
    """Returns why none of `results` gave a model, and what to do."""
    if not results:
        return "the budget was over before the first trial; give a larger one"
    reasons = sorted({result.reason for result in results if result.reason})
    return (
        f"none of {len(results)} trials gave a model "
        f"({'; '.join(reasons[:3]) or 'the budget ended first'}); give a larger budget"
    )
