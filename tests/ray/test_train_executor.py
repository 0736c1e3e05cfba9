"""Trials on several workers of Ray Train: the numbers of one process, verdicts that arrive, workers that are lost."""

import dataclasses
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
import ray.train
import torch
from train_processes import train_workers

from transmeta.core.protocols import TrialExecutor
from transmeta.core.trial import TrialStatus
from transmeta.errors import InfeasibleError, UnavailableError
from transmeta.execution.local import LocalExecutor
from transmeta.execution.ray import train_run
from transmeta.execution.ray.orders import Desk, Orders
from transmeta.execution.ray.resources import Resources
from transmeta.execution.ray.train_executor import TrainExecutor
from transmeta.testing.executor_cases import (
    CALM,
    RUNG,
    RecordingSearch,
    TrialExecutorCases,
    example_trial,
    probe,
    write_sources,
)
from transmeta.training.checkpoint import read_checkpoint
from transmeta.trials.environment import Environment

pytestmark = pytest.mark.ray

TOLERANCE = 1e-5
ONE_STEP = 1e-3
"""Where a gradient is nothing but rounding, AdamW still makes a step of it; the numbers above do not see that."""


def full():
    """Calm enough that rounding does not grow: at the usual rate it reaches 3e-5, whoever runs the trial."""
    return with_params(example_trial("full_finetune", source=CALM, seed=0), epochs=10, learning_rate=1e-4)


def with_params(spec, **params):
    return dataclasses.replace(spec, strategy=dataclasses.replace(spec.strategy, params=params))


@pytest.fixture
def environment(tmp_path):
    write_sources(tmp_path / "models")
    return Environment(model_folders=(str(tmp_path / "models"),), checkpoint_folder=str(tmp_path / "kept"))


def executor(environment, folder, **numbers):
    return TrainExecutor(environment=environment, storage=folder / "train", **numbers)


def assert_same_curve(curve, expected):
    assert [m.epoch for m in curve] == [m.epoch for m in expected]
    assert [m.value for m in curve] == pytest.approx([m.value for m in expected], abs=TOLERANCE)
    assert [m.train_loss for m in curve] == pytest.approx([m.train_loss for m in expected], abs=TOLERANCE)


class Losing(RecordingSearch):
    """Kills a worker of Ray Train at the second measurement of its trial."""

    killed = 0

    def report(self, trial, measurement):
        verdict = super().report(trial, measurement)
        if len(self.reported[trial]) == 2:
            train_workers()[0].kill()
            self.killed += 1
        return verdict


def test_two_workers_give_the_numbers_of_one_process_though_one_is_killed_and_the_search_stops_the_trial(
    two_cpus, environment, tmp_path
):
    """One trial for all three, as each start of two workers takes many seconds."""
    spec = full()
    search = Losing([spec], stopped_at={spec.id: RUNG})
    other_environment = dataclasses.replace(environment, checkpoint_folder=str(tmp_path / "alone"))

    (result,) = executor(environment, tmp_path, workers=2).drive(search)

    assert search.killed == 1
    assert search.told == [result]
    assert (result.spec, result.status, result.reason) == (spec, TrialStatus.STOPPED, "stopped by the search")
    assert result.curve[-1].reaches(RUNG)
    assert list(result.curve) == search.reported[spec.id]
    assert result.score == result.curve[-1].value
    assert result.checkpoint == str(tmp_path / "kept" / spec.id)
    assert not list((tmp_path / "train").glob("trial-*"))
    (alone,) = LocalExecutor(environment=other_environment).drive(RecordingSearch([spec], stopped_at={spec.id: RUNG}))
    assert_same_curve(result.curve, alone.curve)
    assert result.parameter_count == alone.parameter_count
    ours, _ = read_checkpoint(Path(result.checkpoint))
    theirs, _ = read_checkpoint(Path(alone.checkpoint))
    assert ours.keys() == theirs.keys()
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) < ONE_STEP


# With Ray Train's loop in this process, within milliseconds


class DeskHere:
    """Takes the place of the desk's handle: an actor takes a second to start."""

    def __init__(self):
        self._desk = Desk()

    def __getattr__(self, name):
        return SimpleNamespace(remote=lambda *told: ray.put(getattr(self._desk, name)(*told)))


@pytest.fixture
def in_process(session, monkeypatch):
    local = ray.train.ScalingConfig(num_workers=0)
    monkeypatch.setattr(train_run, "ScalingConfig", lambda **_: local)


@pytest.fixture
def all_in_process(in_process, monkeypatch):
    monkeypatch.setattr(Orders, "open", lambda: Orders(DeskHere()))
    monkeypatch.setattr(Orders, "dismiss", lambda _: None)


@pytest.mark.usefixtures("all_in_process")
class TestTrainExecutor(TrialExecutorCases):
    def make_executor(self, environment) -> TrialExecutor:
        return TrainExecutor(environment=environment, storage=Path(environment.checkpoint_folder).parent / "train")


def test_more_workers_than_the_cluster_has_are_refused_at_once(two_cpus, environment, tmp_path):
    search = RecordingSearch([probe()])

    for workers, resources in ((64, Resources()), (1, Resources(gpus=8))):
        with pytest.raises(InfeasibleError, match=f"asked for {workers} x 1 CPU"):
            list(executor(environment, tmp_path, workers=workers, resources=resources).drive(search))

    assert search.started == []


def test_a_plan_that_cannot_be_divided_takes_one_worker(all_in_process, environment, tmp_path, monkeypatch):
    asked = []
    local = ray.train.ScalingConfig(num_workers=0)
    monkeypatch.setattr(train_run, "ScalingConfig", lambda **numbers: asked.append(numbers["num_workers"]) or local)
    specs = [
        with_params(example_trial(strategy, source=CALM, seed=0), **params)
        for strategy, params in (
            ("linear_probe", {"epochs": 10}),
            ("lp_ft", {"epochs": 5, "probe_epochs": 5}),
            ("ridge_probe", {"penalty": 1e-4}),
        )
    ]

    results = list(executor(environment, tmp_path, workers=2).drive(RecordingSearch(specs)))

    assert asked == [2, 1, 1]
    assert [result.status for result in results] == [TrialStatus.COMPLETED] * 3


def test_a_worker_that_lacks_memory_makes_the_trial_fail(all_in_process, environment, tmp_path, monkeypatch):
    def exhausted(*_, **__):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("transmeta.trials.run.FAILURES", ())
    monkeypatch.setattr("transmeta.training.fit.Fit.advance", exhausted)

    (result,) = executor(environment, tmp_path).drive(RecordingSearch([full()]))

    assert result.status is TrialStatus.FAILED
    assert result.reason == "out of memory"


def test_workers_that_fail_every_time_make_a_crashed_trial(all_in_process, environment, tmp_path, monkeypatch):
    def broken(self):
        raise ray.train.WorkerGroupError("The actor died unexpectedly.", {})

    monkeypatch.setattr("ray.train.torch.TorchTrainer.fit", broken)

    (result,) = executor(environment, tmp_path).drive(RecordingSearch([full()]))

    assert result.status is TrialStatus.CRASHED
    assert result.reason == "quarantined: its workers failed 3 times, at last: The actor died unexpectedly."


def test_a_desk_that_is_lost_says_that_asking_again_resumes(in_process, environment, tmp_path, monkeypatch):
    orders = Orders.open()
    monkeypatch.setattr(Orders, "open", lambda: orders)

    class Clumsy(RecordingSearch):
        def report(self, trial, measurement):
            orders.dismiss()
            return super().report(trial, measurement)

    search = Clumsy([full()])

    with pytest.raises(UnavailableError, match=r"ended early .* run it again to resume"):
        list(executor(environment, tmp_path).drive(search))

    assert search.told == []


def test_an_error_of_the_search_ends_the_run_of_ray_train(all_in_process, environment, tmp_path):
    class Broken(RecordingSearch):
        def report(self, trial, measurement):
            raise RuntimeError("no verdict")

    with pytest.raises(RuntimeError, match="no verdict"):
        list(executor(environment, tmp_path).drive(Broken([full()])))

    assert not [thread for thread in threading.enumerate() if thread.name == "train"]
