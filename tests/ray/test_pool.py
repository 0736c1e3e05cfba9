"""Searches on resident workers: the contract of an executor, and what happens to processes and resources."""

import dataclasses
import os
import signal
import threading
import time
from pathlib import Path

import odd_units
import psutil
import pytest
import ray
from ray.util import placement_group, remove_placement_group

from transmeta.core.experience import MetaFeatures
from transmeta.core.trial import StrategySpec, TrialStatus
from transmeta.errors import InfeasibleError, UnavailableError
from transmeta.execution.local import LocalExecutor
from transmeta.execution.ray import crew, session
from transmeta.execution.ray.pool import PoolExecutor
from transmeta.execution.ray.resources import Resources
from transmeta.execution.ray.train_executor import TrainExecutor
from transmeta.experiments.search import Halving, PolicySearch
from transmeta.models.library import scratch_card
from transmeta.policies.random import RandomPolicy
from transmeta.strategies.catalogue import SpaceProposer
from transmeta.tasks.catalogue import find_task
from transmeta.testing.executor_cases import (
    CALM,
    TARGET,
    RecordingSearch,
    example_trial,
    numbers,
    probe,
    run_alone,
    write_sources,
)
from transmeta.training.fit import EVALUATIONS
from transmeta.trials.environment import Environment
from transmeta.trials.planning import OneByOne
from transmeta.trials.unit import Tier

LEFT_S = 10.0
"""A worker gets three seconds to put its work down; the long trial alone takes a minute."""

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("two_cpus")]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_sources(folder)
    return Environment(model_folders=(str(folder),))


@pytest.fixture
def odd(monkeypatch):
    """Lets workers import the odd units."""
    monkeypatch.setitem(session.WORKER_SETTINGS, "PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture
def noting(environment, odd, tmp_path):
    """The environment, with a folder in which odd units note their starts."""
    return dataclasses.replace(environment, checkpoint_folder=str(tmp_path))


def starts(environment):
    lines = Path(environment.checkpoint_folder, odd_units.STARTS).read_text().splitlines()
    return [tuple(line.split()) for line in lines]


def long_trial():
    return example_trial(
        "from_scratch", source=scratch_card(find_task(TARGET)).id, seed=0, epochs=60, target=find_task("glyphs-latn")
    )


def free_cpus():
    return ray.available_resources().get("CPU", 0)


def is_alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_until(condition, *, seconds=20.0):
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.01)


def test_two_searches_run_on_the_same_processes_and_their_cpus_are_free_after_close(environment):
    with PoolExecutor(environment=environment) as pool:
        for seed in range(100):  # the first worker may be through before the second has loaded
            list(pool.drive(RecordingSearch([probe(seed=seed)])))
            if len(first := pool.pids) == 2:
                break
        list(pool.drive(RecordingSearch([probe(seed=seed) for seed in range(100, 103)])))
        second = pool.pids
        held = free_cpus()

    assert len(first) == 2
    assert first == second
    assert held == 0
    wait_until(lambda: free_cpus() == 2, seconds=2.0)
    wait_until(lambda: not any(is_alive(pid) for pid in first), seconds=5.0)


def test_a_pool_that_was_closed_starts_anew_when_it_is_used_again(environment):
    pool = PoolExecutor(environment=environment, workers=1)
    list(pool.drive(RecordingSearch([probe(seed=0)])))
    before = pool.pids
    pool.close()

    results = list(pool.drive(RecordingSearch([probe(seed=1)])))
    after = pool.pids
    pool.close()

    assert [result.status for result in results] == [TrialStatus.COMPLETED]
    assert len(before) == len(after) == 1
    assert before != after


class SecondDivided(OneByOne):
    """Lets the second trial have all workers."""

    def __init__(self):
        self._asked = 0

    def divided(self, units, *, workers):
        self._asked += 1
        return [dataclasses.replace(unit, tier=Tier.DIVIDED) for unit in units] if self._asked == 2 else units


def test_a_trial_has_all_workers_for_itself_and_the_next_one_a_worker_again(environment, tmp_path):
    def train():
        return TrainExecutor(environment=environment, storage=tmp_path)

    calm = StrategySpec(name="full_finetune", params={"epochs": 10, "learning_rate": 1e-4})
    specs = [dataclasses.replace(probe(seed=seed), strategy=calm) for seed in range(3)]
    search = RecordingSearch(specs, stopped_at={specs[1].id: 1 / 3}, at_once=1)
    with PoolExecutor(environment=environment, planner=SecondDivided(), divider=train) as pool:
        running = pool.drive(search)
        next(running)
        before = pool.pids
        divided = next(running)
        during = pool.pids
        next(running)
        after = pool.pids
        assert list(running) == []

    assert [result.spec for result in search.told] == specs
    assert [result.status for result in search.told] == [
        TrialStatus.COMPLETED,
        TrialStatus.STOPPED,
        TrialStatus.COMPLETED,
    ]
    assert list(divided.curve) == search.reported[specs[1].id]
    (alone,) = LocalExecutor(environment=environment).drive(
        RecordingSearch([specs[1]], stopped_at={specs[1].id: 1 / 3})
    )
    assert [m.train_loss for m in divided.curve] == pytest.approx([m.train_loss for m in alone.curve], abs=1e-5)
    assert before
    assert during == []
    assert after
    assert not {*before} & {*after}


def test_a_search_that_has_nothing_to_run_starts_no_process(environment):
    with PoolExecutor(environment=environment) as pool:
        assert list(pool.drive(RecordingSearch([]))) == []
        assert free_cpus() == 2


def test_a_search_gives_the_same_trials_and_scores_locally_and_on_two_workers(environment):
    target = find_task(TARGET)
    card = environment.library().card(CALM, target=target)

    def search():
        proposer = SpaceProposer(cards={CALM: card}, strategies=("linear_probe", "partial_freeze", "bias_only"))
        return PolicySearch(
            target,
            features=MetaFeatures(target_id=target.id, target={}, pairs={CALM: {}}),
            policy=RandomPolicy(proposer=proposer),
            trials=8,
            halving=Halving(),
            seed=3,
        )

    local, remote = search(), search()
    list(LocalExecutor(environment=environment).drive(local))
    with PoolExecutor(environment=environment) as pool:
        list(pool.drive(remote))

    # The local executor may train trials as one stack, which adds the same numbers in another order.
    for ours, theirs in zip(remote.results, local.results, strict=True):
        assert (ours.spec, ours.status, len(ours.curve)) == (theirs.spec, theirs.status, len(theirs.curve))
        losses = [measurement.train_loss for measurement in theirs.curve]
        assert [measurement.train_loss for measurement in ours.curve] == pytest.approx(losses, rel=1e-3)
        assert ours.score == pytest.approx(theirs.score, abs=0.02)
    assert {result.status for result in local.results} == {TrialStatus.COMPLETED, TrialStatus.STOPPED}


class KillingSearch(RecordingSearch):
    """Kills all workers of a pool, which are in the middle of a unit, at the first measurement."""

    rungs = (1 / 9,)

    def __init__(self, specs, *, pool):
        super().__init__(specs)
        self._pool = pool
        self.killed = []
        self.starts = []

    def report(self, trial, measurement):
        if measurement.progress_before == 0:
            self.starts.append(trial)
        if not self.killed:
            self.killed = self._pool.pids
            for pid in self.killed:
                os.kill(pid, signal.SIGKILL)
        return super().report(trial, measurement)


@pytest.mark.parametrize("size", [1, 3])
def test_units_whose_workers_are_killed_run_again_and_each_trial_is_told_once_with_its_numbers(environment, size):
    target = find_task("digits@10")
    specs = [example_trial("partial_freeze", source=CALM, seed=seed, target=target) for seed in range(6)]
    with PoolExecutor(environment=environment, planner=odd_units.InStacks(size)) as pool:
        search = KillingSearch(specs, pool=pool)
        results = list(pool.drive(search))
        alive = pool.pids

    ended = {result.spec.id: result for result in results}
    assert len(search.starts) > len(results) == len(search.told) == len(ended) == len(specs)
    assert not set(alive) & set(search.killed)
    for spec in specs:
        alone, result = run_alone(spec, environment=environment), ended[spec.id]
        assert list(result.curve) == search.reported[spec.id]
        assert (result.status, len(result.curve)) == (TrialStatus.COMPLETED, EVALUATIONS)
        if size == 1:
            assert numbers(result) == numbers(alone)
        losses = [measurement.train_loss for measurement in alone.curve]
        assert [measurement.train_loss for measurement in result.curve] == pytest.approx(losses, rel=1e-3)


@pytest.mark.parametrize(("seed", "words"), [(odd_units.KILLER, "process has died"), (odd_units.RAISER, "fell over")])
def test_a_member_that_fails_its_worker_every_time_is_quarantined_and_its_mates_complete(noting, seed, words):
    poison = probe(seed=seed)
    specs = [probe(seed=0), poison, probe(seed=1), probe(seed=2), probe(seed=3), probe(seed=4)]
    planner = odd_units.InStacks(4)
    search = RecordingSearch(specs, at_once=6)
    with PoolExecutor(environment=noting, workers=1, planner=planner, opener=odd_units.OPENER) as pool:
        results = list(pool.drive(search))

    ended = {result.spec.id: result for result in results}
    assert len(results) == len(search.told) == len(ended) == len(specs)
    assert ended[poison.id].status is TrialStatus.CRASHED
    assert ended[poison.id].reason.startswith("quarantined: its worker failed 3 times, at last: ")
    assert words in ended[poison.id].reason
    for spec in specs:
        if spec != poison:
            assert numbers(ended[spec.id]) == numbers(run_alone(spec, environment=noting))
    attempts = [(int(members), tier) for trial, members, tier in starts(noting) if trial == poison.id]
    assert attempts == [(4, "stack"), (4, "stack"), (1, "single")]
    assert all(poison not in unit.members for unit in planner.observed)


def test_a_unit_that_raises_leaves_its_worker_alive(noting):
    with PoolExecutor(environment=noting, workers=1, opener=odd_units.OPENER) as pool:
        list(pool.drive(RecordingSearch([probe(seed=0)])))
        before = pool.pids
        list(pool.drive(RecordingSearch([probe(seed=odd_units.RAISER)])))
        after = pool.pids

    assert before == after


def test_a_worker_that_dies_between_two_searches_is_replaced_without_blame(noting):
    with PoolExecutor(environment=noting, workers=1, opener=odd_units.OPENER) as pool:
        list(pool.drive(RecordingSearch([probe(seed=0)])))
        os.kill(pool.pids[0], signal.SIGKILL)
        results = list(pool.drive(RecordingSearch([probe(seed=1)])))

    assert [result.status for result in results] == [TrialStatus.COMPLETED]
    assert [trial for trial, _, _ in starts(noting)] == [probe(seed=0).id, probe(seed=1).id]


def test_a_worker_that_hangs_is_named_once_with_what_to_do(environment, monkeypatch, caplog):
    monkeypatch.setattr(crew, "SILENCE_S", 1.0)

    class Hanging(RecordingSearch):
        rungs = (1 / 9,)
        hung: int | None = None

        def report(self, trial, measurement):
            if self.hung is None:
                (self.hung,) = pool.pids
                os.kill(self.hung, signal.SIGSTOP)
                threading.Timer(4 * crew.SILENCE_S, os.kill, (self.hung, signal.SIGCONT)).start()
            return super().report(trial, measurement)

    spec = probe()
    search = Hanging([spec])
    with PoolExecutor(environment=environment, workers=1) as pool:
        (result,) = pool.drive(search)

    assert result.status is TrialStatus.COMPLETED
    (warning,) = [record.getMessage() for record in caplog.records if record.name == crew.__name__]
    assert spec.id in warning
    assert f"process {search.hung}; if it hangs, kill that process" in warning


def test_members_of_one_unit_are_stopped_each_at_its_rung_and_the_others_go_on(noting):
    specs = [probe(seed=seed) for seed in range(3)]
    search = RecordingSearch(specs, stopped_at={specs[0].id: 1 / 9, specs[1].id: 1 / 3})
    with PoolExecutor(environment=noting, workers=1, planner=odd_units.InStacks(3), opener=odd_units.OPENER) as pool:
        ended = {result.spec.id: result for result in pool.drive(search)}

    assert [ended[spec.id].status for spec in specs] == [
        TrialStatus.STOPPED,
        TrialStatus.STOPPED,
        TrialStatus.COMPLETED,
    ]
    for spec, rung in ((specs[0], 1 / 9), (specs[1], 1 / 3)):
        assert ended[spec.id].curve[-1].reaches(rung)
        assert list(ended[spec.id].curve) == search.reported[spec.id]


def test_a_request_that_the_cluster_cannot_meet_is_refused_before_anything_starts(environment):
    search = RecordingSearch([probe()])
    for pool, asked in (
        (PoolExecutor(environment=environment, resources=Resources(cpus=1, gpus=8)), "1 x 1 CPU and 8 GPU"),
        (PoolExecutor(environment=environment, workers=3), "3 x 1 CPU and 0 GPU"),
    ):
        with pytest.raises(InfeasibleError, match=f"asked for {asked}.* has 2 CPU and 0 GPU"):
            next(pool.drive(search))

    assert search.started == []


def test_a_pool_takes_what_is_free_and_says_who_holds_the_cpus_if_nothing_is(environment, monkeypatch):
    monkeypatch.setattr(crew, "SETTLE_S", 0.0)
    monkeypatch.setattr(crew, "START_S", 2.0)
    search = RecordingSearch([probe(seed=seed) for seed in range(3)])
    both = placement_group([{"CPU": 1}, {"CPU": 1}])
    ray.get(both.ready())
    try:
        with (
            PoolExecutor(environment=environment) as pool,
            pytest.raises(UnavailableError, match=r"free are 0 of 2 CPU.*1 placement group.* hold 2 CPU.*ask for less"),
        ):
            list(pool.drive(search))
    finally:
        remove_placement_group(both)
    wait_until(lambda: free_cpus() == 2)

    monkeypatch.setattr(crew, "START_S", 60.0)
    one = placement_group([{"CPU": 1}])
    ray.get(one.ready())
    try:
        with PoolExecutor(environment=environment) as pool:
            results = list(pool.drive(RecordingSearch([probe(seed=seed) for seed in range(3)])))
            processes = len(pool.pids)
    finally:
        remove_placement_group(one)

    assert processes == 1
    assert len(results) == 3


def test_workers_that_cannot_load_what_they_need_are_not_started_for_ever(environment, odd):
    with (
        PoolExecutor(environment=environment, workers=1, opener="odd_units:nothing") as pool,
        pytest.raises(UnavailableError, match=r"workers cannot start, 3 in a row failed.*nothing"),
    ):
        list(pool.drive(RecordingSearch([probe()])))


def test_a_search_that_is_left_while_a_long_trial_runs_gives_the_pool_back(environment):
    search = RecordingSearch([long_trial(), probe(seed=0), probe(seed=1)], at_once=3)
    with PoolExecutor(environment=environment) as pool:
        results = pool.drive(search)
        next(results)
        started_s = time.monotonic()
        results.close()
        left_s = time.monotonic() - started_s
        told = len(search.told)
        after = list(pool.drive(RecordingSearch([probe(seed=2)])))

    assert left_s < LEFT_S
    assert len(search.told) == told
    assert [result.status for result in after] == [TrialStatus.COMPLETED]


def test_a_pool_that_is_dropped_without_being_closed_gives_its_cpus_back(environment):
    pool = PoolExecutor(environment=environment)
    list(pool.drive(RecordingSearch([probe()])))
    assert free_cpus() == 0

    del pool
    wait_until(lambda: free_cpus() == 2)
