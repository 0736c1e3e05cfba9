"""Searches by Ray Tune: the contract of an executor, and what only a cluster can show."""

import dataclasses
import threading
import time

import psutil
import pytest

from transmeta.core.experience import MetaFeatures
from transmeta.core.protocols import TrialExecutor
from transmeta.core.trial import StrategySpec, TrialStatus
from transmeta.errors import InfeasibleError
from transmeta.execution.local import LocalExecutor
from transmeta.execution.ray.bridge import ANSWER, Bridge
from transmeta.execution.ray.resources import Resources
from transmeta.execution.ray.schedulers import asha
from transmeta.execution.ray.tuner import TuneExecutor, UnitTrainable
from transmeta.experiments.search import Halving, PolicySearch
from transmeta.models.library import scratch_card
from transmeta.policies.random import RandomPolicy
from transmeta.strategies.catalogue import SpaceProposer
from transmeta.tasks.catalogue import find_task
from transmeta.testing.executor_cases import (
    CALM,
    TARGET,
    WILD,
    RecordingSearch,
    TrialExecutorCases,
    example_trial,
    frozen,
    numbers,
    probe,
    run_alone,
    write_sources,
)
from transmeta.trials.environment import Environment
from transmeta.trials.planner import UnitPlanner
from transmeta.trials.planning import OneByOne

LEFT_S = 25.0
"""Ray Tune gives a busy worker ten seconds to end; the long trial alone takes a minute."""

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("two_cpus")]


class TestTuneExecutor(TrialExecutorCases):
    def make_executor(self, environment) -> TrialExecutor:
        return TuneExecutor(environment=environment, planner=UnitPlanner(environment=environment))


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_sources(folder)
    return Environment(model_folders=(str(folder),))


def policy_search(environment, *, seed):
    target = find_task(TARGET)
    card = environment.library().card(CALM, target=target)
    proposer = SpaceProposer(cards={CALM: card}, strategies=("linear_probe", "partial_freeze", "bias_only"))
    return PolicySearch(
        target,
        features=MetaFeatures(target_id=target.id, target={}, pairs={CALM: {}}),
        policy=RandomPolicy(proposer=proposer),
        trials=8,
        halving=Halving(),
        seed=seed,
    )


def test_the_same_search_with_the_same_seed_gives_the_same_trials_and_scores_locally_and_on_two_workers(environment):
    local, remote = policy_search(environment, seed=3), policy_search(environment, seed=3)

    list(LocalExecutor(environment=environment).drive(local))
    list(TuneExecutor(environment=environment, planner=UnitPlanner(environment=environment)).drive(remote))

    assert [numbers(result) for result in remote.results] == [numbers(result) for result in local.results]
    assert {result.status for result in local.results} == {TrialStatus.COMPLETED, TrialStatus.STOPPED}
    assert len(local.results) == 8


def test_tunes_own_scheduler_stops_trials_in_place_of_the_search(environment):
    rates = (2e-2, 3e-2, 1e-2, 1e-3, 1.1e-3, 1.2e-3)
    specs = [probe(source=WILD)] + [
        dataclasses.replace(
            probe(), strategy=StrategySpec(name="linear_probe", params={"epochs": 18, "learning_rate": rate})
        )
        for rate in rates
    ]
    search = RecordingSearch(specs, at_once=1)

    results = list(TuneExecutor(environment=environment, scheduler=asha()).drive(search))

    statuses = [result.status for result in results]
    assert [result.spec.id for result in results] == search.started == [spec.id for spec in specs]
    assert set(statuses) == {TrialStatus.FAILED, TrialStatus.COMPLETED, TrialStatus.STOPPED}
    for result in results:
        if result.status is TrialStatus.STOPPED:
            assert "scheduler" in result.reason
            assert list(result.curve) == search.reported[result.spec.id]
            assert result.curve[-1].reaches(1 / 9) or result.curve[-1].reaches(1 / 3)


def test_a_request_that_no_node_can_give_is_refused_before_anything_starts(environment):
    search = RecordingSearch([probe()])
    executor = TuneExecutor(environment=environment, resources=Resources(cpus=1, gpus=8))

    with pytest.raises(InfeasibleError, match=r"asked for 1 x 1 CPU and 8 GPU.* has 2 CPU and 0 GPU"):
        next(executor.drive(search))

    assert search.started == []


class KillingSearch(RecordingSearch):
    """Kills all workers of the search at the first measurement."""

    rungs = (1 / 9,)

    def __init__(self, specs):
        super().__init__(specs, at_once=1)
        self.killed = 0
        self.starts = []

    def report(self, trial, measurement):
        if measurement.progress_before == 0:
            self.starts.append(trial)
        if not self.killed:
            for worker in trial_workers():
                worker.kill()
                self.killed += 1
        return super().report(trial, measurement)


def trial_workers():
    processes = psutil.Process().children(recursive=True)
    return [process for process in processes if "Trainable" in " ".join(process.cmdline())]


def test_trials_whose_workers_are_killed_are_run_again_and_told_once(environment):
    target = find_task("digits@10")
    specs = [example_trial("partial_freeze", source=CALM, seed=seed, target=target) for seed in range(2)]
    search = KillingSearch(specs)

    results = list(TuneExecutor(environment=environment).drive(search))

    ended = {result.spec.id: result for result in results}
    assert search.killed >= 1
    assert len(search.starts) > len(results) == len(search.told) == len(specs)
    for spec in specs:
        assert numbers(ended[spec.id]) == numbers(run_alone(spec, environment=environment))


def config_of(spec, *, environment, stopped_at=None):
    search = RecordingSearch([spec], stopped_at=stopped_at)
    return Bridge(
        search, environment=environment, planner=OneByOne(), workers=1, post=lambda ticket, stops: None
    ).start("0")


def test_a_worker_pauses_at_the_rung_and_leaves_the_model_of_a_trial_that_ends_there(environment, tmp_path):
    keeping = dataclasses.replace(environment, checkpoint_folder=str(tmp_path))
    stopped, following = frozen(), probe()
    worker = UnitTrainable(config=config_of(stopped, environment=keeping, stopped_at={stopped.id: 1 / 3}))

    paused = worker.train()
    worker.reset(config_of(following, environment=keeping))
    ended = worker.train()
    worker.stop()

    assert (paused["progress"], paused["done"]) == (0.4, False)
    assert (ended["progress"], ended["done"]) == (1, True)
    assert {path.name for path in tmp_path.iterdir()} == {stopped.id, following.id}


def test_a_worker_says_why_a_trial_cannot_be_run(environment):
    worker = UnitTrainable(config=config_of(probe(source="nowhere"), environment=environment))

    refused = worker.train()

    assert refused["done"]
    assert "nowhere" in refused[ANSWER]


def test_a_search_that_is_left_while_long_trials_run_ends_promptly(environment):
    long = example_trial(
        "from_scratch", source=scratch_card(find_task(TARGET)).id, seed=0, epochs=60, target=find_task("glyphs-latn")
    )
    search = RecordingSearch([probe(), long], at_once=1)
    results = TuneExecutor(environment=environment).drive(search)
    next(results)
    while long.id not in search.started:
        time.sleep(0.01)

    started_s = time.monotonic()
    results.close()

    assert time.monotonic() - started_s < LEFT_S
    assert [result.spec.id for result in search.told] == [probe().id]
    assert "tune" not in [thread.name for thread in threading.enumerate()]
