import dataclasses
import math

import pytest

from transmeta.core.trial import Budget, TrialResult, TrialStatus
from transmeta.errors import InputError, NoValidTrialError
from transmeta.experiments.adapt import best_of, check_budget, run_again, search_target
from transmeta.experiments.run import Workbench
from transmeta.experiments.search import Halving
from transmeta.stores.memory import MemoryExperienceStore
from transmeta.testing.fakes import CountingClock, ListPolicy, ScriptedExecutor, scripted_result

from .cases import FEATURES, TARGET, arms, flat, quality, script, specs
from .test_run import provenance


def bench(show=script, *, slots: int = 1) -> Workbench:
    return Workbench(executor=ScriptedExecutor(show, slots=slots), store=MemoryExperienceStore(), provenance=provenance)


def adapt(budget: Budget, *, workbench: Workbench | None = None, clock=None, halving: Halving | None = None, seed=0):
    return search_target(
        TARGET,
        features=FEATURES,
        policy=ListPolicy(arms=arms(40)),
        bench=workbench or bench(),
        budget=budget,
        halving=halving,
        seed=seed,
        clock=clock or CountingClock(),
    )


# The best


def some(score: float | None, *, status: TrialStatus = TrialStatus.COMPLETED, weights: int = 100) -> TrialResult:
    return dataclasses.replace(flat(specs(1)[0], score or 0.0, status=status), score=score, parameter_count=weights)


def test_the_best_has_the_highest_validation_score():
    results = [some(0.5), some(0.9), some(0.7)]

    assert best_of(results) is results[1]


def test_the_test_score_is_never_used_to_choose():
    worse = dataclasses.replace(some(0.5), test_score=1.0)
    better = dataclasses.replace(some(0.6), test_score=0.0)

    assert best_of([worse, better]) is better


def test_of_equal_scores_the_complete_one_and_then_the_smaller_one_is_taken():
    stopped, large, small = some(0.5, status=TrialStatus.STOPPED, weights=1), some(0.5), some(0.5, weights=50)

    assert best_of([stopped, large, small]) is small
    assert best_of([stopped, large]) is large


def test_a_stopped_trial_can_be_the_best():
    stopped = some(0.9, status=TrialStatus.STOPPED)

    assert best_of([some(0.5), stopped]) is stopped


@pytest.mark.parametrize("status", [TrialStatus.FAILED, TrialStatus.CRASHED])
def test_a_trial_that_failed_is_never_the_best_whatever_its_score(status):
    good = some(0.1)

    assert best_of([some(0.9, status=status), good]) is good
    assert best_of([some(0.9, status=status)]) is None


def test_without_a_score_there_is_no_best():
    assert best_of([]) is None
    assert best_of([some(None, status=TrialStatus.STOPPED)]) is None


# The budget


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(), r"no budget: give a number of trials \(--trials 20\) or a time \(--budget 2m\)"),
        (Budget(trials=0), "a budget of 0 trials; give 1 or more"),
        (Budget(trials=-1, wall_s=10.0), "a budget of -1 trials"),
        (Budget(wall_s=0.0), "a budget of 0 s; give a positive time"),
        (Budget(wall_s=-5.0), "a budget of -5 s"),
        (Budget(trials=3, wall_s=math.inf), "a budget of inf s"),
        (Budget(wall_s=math.nan), "a budget of nan s"),
    ],
)
def test_a_budget_with_nothing_to_spend_is_refused_before_anything_runs(budget, message):
    workbench = bench()

    with pytest.raises(InputError, match=message):
        adapt(budget, workbench=workbench)
    assert workbench.store.read() == ()


@pytest.mark.parametrize("budget", [Budget(trials=1), Budget(wall_s=0.5), Budget(trials=3, wall_s=60.0)])
def test_a_budget_of_something_is_accepted(budget):
    check_budget(budget)


def test_a_number_of_trials_is_spent_to_the_last():
    found = adapt(Budget(trials=10))

    assert len(found.results) == 10
    assert found.best.score == max(result.score for result in found.results if result.score is not None)


def test_a_search_by_trials_does_not_read_the_clock():
    def stopped_clock() -> float:
        raise AssertionError("the number of trials alone decides")

    assert len(adapt(Budget(trials=5), clock=stopped_clock).results) == 5


def test_the_result_does_not_depend_on_how_many_run_at_once():
    found = [adapt(Budget(trials=12), workbench=bench(slots=slots), halving=Halving()) for slots in (1, 4)]

    assert found[0] == found[1]


def test_a_time_budget_ends_the_search():
    found = adapt(Budget(wall_s=60.0), clock=CountingClock(step_s=1.0))

    assert 1 <= len(found.results) < 40


def test_trials_and_time_together_end_at_whichever_comes_first():
    assert len(adapt(Budget(trials=3, wall_s=1e6), clock=CountingClock(step_s=1.0)).results) == 3
    assert len(adapt(Budget(trials=30, wall_s=40.0), clock=CountingClock(step_s=1.0)).results) < 30


# Failing


def test_failed_trials_are_left_out_and_the_search_goes_on():
    def show(spec):
        if quality(spec) > 0.3:
            return scripted_result(spec, values=(), status=TrialStatus.FAILED, reason="diverged")
        return script(spec)

    found = adapt(Budget(trials=12), workbench=bench(show))

    assert len(found.results) == 12
    assert found.best.status is TrialStatus.COMPLETED
    assert {result.status for result in found.results} == {TrialStatus.COMPLETED, TrialStatus.FAILED}


def test_if_all_trials_fail_their_reasons_are_given():
    def show(spec):
        reason = f"reason {spec.strategy.params['rank'] % 5}"
        return scripted_result(spec, values=(), status=TrialStatus.FAILED, reason=reason)

    with pytest.raises(
        NoValidTrialError,
        match=r"none of 8 trials gave a model \(reason 0; reason 1; reason 2\); give a larger budget",
    ):
        adapt(Budget(trials=8), workbench=bench(show))


def test_if_the_time_is_over_before_the_first_trial_that_is_said():
    with pytest.raises(NoValidTrialError, match="the budget was over before the first trial; give a larger one"):
        adapt(Budget(wall_s=5.0), clock=CountingClock(now_s=6.0))


def test_a_trial_is_run_again_to_its_end_and_not_stored():
    workbench = bench()
    stopped = flat(specs(1)[0], 0.5, status=TrialStatus.STOPPED)

    again = run_again(stopped, bench=workbench)

    assert again == script(stopped.spec)
    assert workbench.store.read() == ()
