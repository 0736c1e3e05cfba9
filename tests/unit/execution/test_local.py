import pytest
import torch

from transmeta.core.protocols import TrialExecutor
from transmeta.core.task import TaskPair
from transmeta.core.trial import StrategySpec, TrialResult, TrialSpec, TrialStatus, Verdict
from transmeta.errors import UnknownNameError
from transmeta.execution.local import STOPPED_BY_SEARCH, LocalExecutor
from transmeta.experiments.search import ReplaySearch
from transmeta.trials.environment import Environment
from transmeta.trials.run import TrialRun


@pytest.fixture
def environment(models) -> Environment:
    return Environment(model_folders=(str(models),))


def probes(digits, count: int, *, source: str = "greek") -> list[TrialSpec]:
    return [
        TrialSpec(
            pair=TaskPair(source=source, target=digits),
            strategy=StrategySpec(name="linear_probe", params={"epochs": 10}),
            seed=seed,
        )
        for seed in range(count)
    ]


def singles(digits, count: int) -> list[TrialSpec]:
    """Trials that share nothing: each changes other stages."""
    plans = [("partial_freeze", {"cut": 3, "epochs": 10}), ("surgical", {"stage": 2, "epochs": 10})]
    return [
        TrialSpec(pair=TaskPair(source="greek", target=digits), strategy=StrategySpec(name=name, params=params), seed=0)
        for name, params in plans[:count]
    ]


class Impatient:
    """Stops each trial at its second measurement, and writes down all that happens."""

    rungs = (2 / 9,)

    def __init__(self, specs: list[TrialSpec]) -> None:
        self.log: list[tuple[str, str]] = []
        self._inner = ReplaySearch(specs)

    def ask(self, *, count):
        asked = self._inner.ask(count=count)
        self.log += [("ask", spec.id) for spec in asked]
        return asked

    def report(self, trial, measurement):
        self.log.append(("report", trial))
        return Verdict.STOP if measurement.progress_before > 0 else Verdict.CONTINUE

    def tell(self, result):
        self.log.append(("tell", result.spec.id))


def test_every_trial_runs_once_whatever_is_trained_together(digits, environment):
    specs = [*probes(digits, 3), *singles(digits, 2)]
    executor: TrialExecutor = LocalExecutor(environment=environment)

    results = list(executor.drive(ReplaySearch(specs)))

    assert sorted(result.spec.id for result in results) == sorted(spec.id for spec in specs)
    assert {result.status for result in results} == {TrialStatus.COMPLETED}


def test_numbers_are_those_of_the_trial_alone(digits, environment):
    (spec,) = probes(digits, 1)
    run = TrialRun(spec, environment=environment)
    while not isinstance(alone := run.advance(), TrialResult):
        pass

    (driven,) = LocalExecutor(environment=environment).drive(ReplaySearch([spec]))

    assert (driven.score, driven.test_score) == (alone.score, alone.test_score)
    assert [m.value for m in driven.curve] == [m.value for m in alone.curve]


def test_a_trial_is_told_before_it_is_yielded_and_reports_before_it_is_told(digits, environment):
    specs = singles(digits, 2)
    search = Impatient(specs)

    for result in LocalExecutor(environment=environment).drive(search):
        assert search.log[-1] == ("tell", result.spec.id)

    for spec in specs:
        mine = [what for what, trial in search.log if trial == spec.id]
        assert mine == ["ask", "report", "report", "tell"]


def test_a_verdict_ends_one_member_of_a_stack_and_the_others_go_on(digits, environment):
    specs = probes(digits, 3)

    class StopsOne(Impatient):
        def report(self, trial, measurement):
            super().report(trial, measurement)
            return Verdict.STOP if trial == specs[1].id else Verdict.CONTINUE

    results = {r.spec.id: r for r in LocalExecutor(environment=environment).drive(StopsOne(specs))}

    statuses = [results[spec.id].status for spec in specs]
    assert statuses == [TrialStatus.COMPLETED, TrialStatus.STOPPED, TrialStatus.COMPLETED]
    assert len(results[specs[1].id].curve) == 1


def test_a_verdict_ends_a_trial_at_once(digits, environment):
    (result,) = LocalExecutor(environment=environment).drive(Impatient(probes(digits, 1)))

    assert (result.status, result.reason) == (TrialStatus.STOPPED, STOPPED_BY_SEARCH)
    assert len(result.curve) == 2
    assert result.score == result.curve[-1].value


def test_a_search_without_trials_ends_at_once(environment):
    assert list(LocalExecutor(environment=environment).drive(ReplaySearch([]))) == []


def test_nothing_runs_before_the_first_result_is_asked_for(digits, environment):
    search = Impatient(probes(digits, 1))

    LocalExecutor(environment=environment).drive(search)

    assert search.log == []


def test_one_torch_thread_is_used(digits, environment):
    torch.set_num_threads(2)

    list(LocalExecutor(environment=environment).drive(ReplaySearch(probes(digits, 1))))

    assert torch.get_num_threads() == 1


def test_a_spec_that_cannot_be_run_is_the_callers_fault(digits, environment):
    with pytest.raises(UnknownNameError, match="unknown model 'nobody'"):
        list(LocalExecutor(environment=environment).drive(ReplaySearch(probes(digits, 1, source="nobody"))))


def test_the_executor_is_called_local(environment):
    assert LocalExecutor(environment=environment).name == "local"
