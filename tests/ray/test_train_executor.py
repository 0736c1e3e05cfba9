"""Trials on several workers of Ray Train: the numbers of one process, verdicts that arrive, workers that are lost."""

import dataclasses
import threading
from pathlib import Path

import pytest
import ray.train
import torch
from train_processes import train_workers

from transmeta.core.protocols import TrialExecutor
from transmeta.core.trial import TrialStatus
from transmeta.errors import InfeasibleError
from transmeta.execution.ray import train_run
from transmeta.execution.ray.resources import Resources
from transmeta.execution.ray.train_executor import TrainExecutor
from transmeta.testing.executor_cases import (
    CALM,
    RUNG,
    RecordingSearch,
    TrialExecutorCases,
    example_trial,
    probe,
    run_alone,
    write_sources,
)
from transmeta.training.checkpoint import read_checkpoint
from transmeta.trials.environment import Environment

pytestmark = pytest.mark.ray

TOLERANCE = 1e-5
ONE_STEP = 1e-3
"""Where a gradient is nothing but rounding, AdamW still makes a step of it; the numbers above do not see that."""


def full(*, seed=0):
    """Calm enough that rounding does not grow: at the usual rate it reaches 3e-5, whoever runs the trial."""
    spec = example_trial("full_finetune", source=CALM, seed=seed)
    chosen = dataclasses.replace(spec.strategy, params=dict(spec.strategy.params) | {"learning_rate": 1e-4})
    return dataclasses.replace(spec, strategy=chosen)


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
    """Kills a worker of Ray Train at the third measurement of the first trial."""

    def __init__(self, specs, *, stopped_at):
        super().__init__(specs, stopped_at=stopped_at)
        self.killed = []

    def report(self, trial, measurement):
        verdict = super().report(trial, measurement)
        if trial == self.started[0] and len(self.reported[trial]) == 3:
            worker = train_workers()[0]
            worker.kill()
            self.killed.append(worker.pid)
        return verdict


def test_two_workers_give_the_numbers_of_one_process_though_one_is_killed_and_a_trial_is_stopped(
    two_cpus, environment, tmp_path
):
    """One search for all three, as each start of two workers takes many seconds."""
    killed, stopped = full(), probe()
    search = Losing([killed, stopped], stopped_at={stopped.id: RUNG})
    alone_environment = dataclasses.replace(environment, checkpoint_folder=str(tmp_path / "alone"))

    results = list(executor(environment, tmp_path, workers=2).drive(search))

    assert len(search.killed) == 1
    assert search.told == results
    assert [(result.spec, result.status) for result in results] == [
        (killed, TrialStatus.COMPLETED),
        (stopped, TrialStatus.STOPPED),
    ]
    for result in results:
        alone = run_alone(result.spec, environment=alone_environment)
        assert list(result.curve) == search.reported[result.spec.id]
        assert_same_curve(result.curve, alone.curve[: len(result.curve)])
        assert result.score == result.curve[-1].value
        assert result.parameter_count == alone.parameter_count
        assert result.checkpoint == str(tmp_path / "kept" / result.spec.id)
        if result.status is TrialStatus.COMPLETED:
            assert result.test_score == pytest.approx(alone.test_score, abs=TOLERANCE)
            ours, _ = read_checkpoint(Path(result.checkpoint))
            theirs, _ = read_checkpoint(Path(alone.checkpoint))
            assert ours.keys() == theirs.keys()
            assert max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) < ONE_STEP
    assert results[1].reason == "stopped by the search"
    assert results[1].curve[-1].reaches(RUNG)
    assert not list((tmp_path / "train").glob("trial-*"))


# With Ray Train's loop in this process, within milliseconds


@pytest.fixture
def in_process(session, monkeypatch):
    local = ray.train.ScalingConfig(num_workers=0)
    monkeypatch.setattr(train_run, "ScalingConfig", lambda **_: local)


@pytest.mark.usefixtures("in_process")
class TestTrainExecutor(TrialExecutorCases):
    def make_executor(self, environment) -> TrialExecutor:
        return TrainExecutor(environment=environment, storage=Path(environment.checkpoint_folder).parent / "train")


def test_more_workers_than_the_cluster_has_are_refused_at_once(two_cpus, environment, tmp_path):
    search = RecordingSearch([probe()])

    for workers, resources in ((64, Resources()), (1, Resources(gpus=8))):
        with pytest.raises(InfeasibleError, match=f"asked for {workers} x 1 CPU"):
            list(executor(environment, tmp_path, workers=workers, resources=resources).drive(search))

    assert search.started == []


@pytest.mark.parametrize(("strategy", "workers"), [("full_finetune", 2), ("lp_ft", 1), ("ridge_probe", 1)])
def test_a_plan_that_cannot_be_divided_takes_one_worker(
    in_process, environment, tmp_path, monkeypatch, strategy, workers
):
    asked = []
    local = ray.train.ScalingConfig(num_workers=0)
    monkeypatch.setattr(train_run, "ScalingConfig", lambda **numbers: asked.append(numbers["num_workers"]) or local)
    params = {"ridge_probe": {"penalty": 1e-4}, "lp_ft": {"epochs": 5, "probe_epochs": 5}}
    spec = example_trial(strategy, source=CALM, seed=0)
    if strategy in params:
        chosen = dataclasses.replace(spec.strategy, params=params[strategy])
        spec = dataclasses.replace(spec, strategy=chosen)

    (result,) = executor(environment, tmp_path, workers=2).drive(RecordingSearch([spec]))

    assert asked == [workers]
    assert result.status is TrialStatus.COMPLETED


def test_a_worker_that_lacks_memory_makes_the_trial_fail(in_process, environment, tmp_path, monkeypatch):
    def exhausted(*_, **__):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("transmeta.trials.run.FAILURES", ())
    monkeypatch.setattr("transmeta.training.fit.Fit.advance", exhausted)

    (result,) = executor(environment, tmp_path).drive(RecordingSearch([full()]))

    assert result.status is TrialStatus.FAILED
    assert result.reason == "out of memory"


def test_workers_that_fail_every_time_make_a_crashed_trial(in_process, environment, tmp_path, monkeypatch):
    def broken(self):
        raise ray.train.WorkerGroupError("The actor died unexpectedly.", {})

    monkeypatch.setattr("ray.train.torch.TorchTrainer.fit", broken)

    (result,) = executor(environment, tmp_path).drive(RecordingSearch([full()]))

    assert result.status is TrialStatus.CRASHED
    assert result.reason == "quarantined: its workers failed 3 times, at last: The actor died unexpectedly."


def test_an_error_of_the_search_ends_the_run_of_ray_train(in_process, environment, tmp_path):
    class Broken(RecordingSearch):
        def report(self, trial, measurement):
            raise RuntimeError("no verdict")

    with pytest.raises(RuntimeError, match="no verdict"):
        list(executor(environment, tmp_path).drive(Broken([full()])))

    assert not [thread for thread in threading.enumerate() if thread.name == "train"]
