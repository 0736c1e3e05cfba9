"""Source training by Ray Train: the same model on any number of workers, whatever happens to them."""

import dataclasses
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
import ray.train
import torch
from train_processes import train_workers

from transmeta.core.plan import OptimiserPlan
from transmeta.errors import InfeasibleError, NoValidTrialError
from transmeta.execution.ray import train_run
from transmeta.execution.ray.resources import Resources
from transmeta.execution.ray.trainer import train_source
from transmeta.tasks.catalogue import find_task
from transmeta.training.checkpoint import read_checkpoint
from transmeta.training.fit import EVALUATIONS
from transmeta.trials.source import SourceSpec

pytestmark = pytest.mark.ray

LEARNING_RATE = 3e-3
KILL_S = 120.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    folder: Path
    losses: tuple[float, ...]
    score: float
    weights: dict[str, torch.Tensor]


def source(*, learning_rate=LEARNING_RATE):
    optimiser = OptimiserPlan(learning_rate=learning_rate, epochs=EVALUATIONS, weight_decay=0.01)
    return SourceSpec(name="digits", architecture="small_cnn", tasks=(find_task("digits@30"),), optimiser=optimiser)


def train(folder, *, workers):
    spec = source()
    trained = train_source(spec, models=folder / "models", storage=folder / "train", workers=workers)
    weights, _ = read_checkpoint(folder / "models" / spec.model_id)
    return Run(folder=folder, losses=trained.losses, score=trained.card.score, weights=weights)


def largest_difference(first, second):
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.fixture(scope="module")
def undisturbed(session, tmp_path_factory):
    """A run on two workers."""
    return train(tmp_path_factory.mktemp("two"), workers=2)


@pytest.fixture
def in_process(session, monkeypatch):
    """Makes Ray Train run its loop in this process, within milliseconds."""
    local = ray.train.ScalingConfig(num_workers=0)
    monkeypatch.setattr(train_run, "ScalingConfig", lambda **_: local)


def test_two_workers_give_the_model_that_one_gives(two_cpus, undisturbed, tmp_path):
    alone = train(tmp_path, workers=1)

    assert len(alone.losses) == EVALUATIONS
    assert alone.losses == pytest.approx(undisturbed.losses, abs=1e-4)
    # Two workers add the same gradients in another order. Where one is nothing but rounding, AdamW still makes a step
    # of it, so weights may differ by as much as one step; measured: 4e-4.
    assert largest_difference(alone.weights, undisturbed.weights) < LEARNING_RATE


class Killer(threading.Thread):
    """Kills a worker of Ray Train as soon as there is a checkpoint, and waits for the next one to start."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.has_killed_in_mid_training = False
        self.has_seen_another = False
        self._folder = folder
        self._deadline_s = time.monotonic() + KILL_S

    def run(self):
        self._wait_for(lambda: list(self._folder.glob("train/*/*/state/MANIFEST.json")))
        workers = train_workers()
        workers[0].kill()
        self.has_killed_in_mid_training = not (self._folder / "models").exists()
        self.has_seen_another = self._wait_for(lambda: set(train_workers()) - set(workers))

    def _wait_for(self, condition):
        while time.monotonic() < self._deadline_s:
            if condition():
                return True
            time.sleep(0.02)
        return False


def test_a_run_whose_worker_is_killed_ends_as_an_undisturbed_one(two_cpus, undisturbed, tmp_path):
    killer = Killer(tmp_path)
    killer.start()

    disturbed = train(tmp_path, workers=2)

    killer.join()
    assert killer.has_killed_in_mid_training
    assert killer.has_seen_another
    assert disturbed.losses == undisturbed.losses
    assert disturbed.score == undisturbed.score
    assert largest_difference(disturbed.weights, undisturbed.weights) == 0


def test_a_finished_run_is_not_started_again(undisturbed):
    started_s = time.monotonic()
    again = train(undisturbed.folder, workers=2)

    assert time.monotonic() - started_s < 2
    assert again.losses == undisturbed.losses


def test_a_finished_run_whose_model_was_lost_saves_it_again_without_training(two_cpus, undisturbed, tmp_path):
    shutil.copytree(undisturbed.folder / "train", tmp_path / "train")
    handler = signal.getsignal(signal.SIGINT)

    again = train(tmp_path, workers=1)

    assert again.losses == undisturbed.losses
    assert again.score == undisturbed.score
    assert largest_difference(again.weights, undisturbed.weights) == 0
    assert signal.getsignal(signal.SIGINT) is handler, "Ray Train must not keep Ctrl-C"


def test_a_training_that_diverges_is_reported_and_not_retried(in_process, tmp_path):
    with pytest.raises(NoValidTrialError, match=r"source digits: loss is nan in epoch 1; lower learning_rate"):
        train_source(source(learning_rate=1e30), models=tmp_path / "models", storage=tmp_path / "train")

    assert not (tmp_path / "models").exists()


def test_half_a_list_of_checkpoints_that_a_kill_left_behind_does_not_block_the_run(in_process, tmp_path):
    spec = source()
    torn = tmp_path / "train" / f"source-{spec.model_id}" / train_run.SNAPSHOT
    torn.parent.mkdir(parents=True)
    torn.write_text('{"ray_version": "2.')

    trained = train_source(spec, models=tmp_path / "models", storage=tmp_path / "train")

    assert len(trained.losses) == EVALUATIONS
    assert not torn.exists()


def test_more_than_the_cluster_has_is_refused_at_once(two_cpus, tmp_path):
    for workers, resources in ((64, Resources()), (1, Resources(gpus=8))):
        with pytest.raises(InfeasibleError, match=f"asked for {workers} x 1 CPU .* has 2 CPU and 0 GPU"):
            train_source(
                source(), models=tmp_path / "models", storage=tmp_path / "train", workers=workers, resources=resources
            )

    assert list(tmp_path.iterdir()) == []
