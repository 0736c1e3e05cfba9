"""Point by point, what a killed `meta-train` leaves is what an undisturbed one does."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from transmeta.stores.sql import SqlExperienceStore
from transmeta.testing.executor_cases import Loss

KILLS = 10
TRIALS = 24
COMMAND = (
    "meta-train", "icons-computing@3", "icons-places@3", "icons-time@3", "--rounds", "2", "--trials-per-round", "4",
    "--samples", "0", "--strategies", "linear_probe,partial_freeze", "--executor", "local", "--quiet", "--json",
)  # fmt: skip


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-m", "transmeta", *COMMAND, "--workspace", str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process):
    printed, errors = process.communicate()
    assert process.returncode == 0, errors[-2000:]
    return json.loads(printed)


def count(folder):
    with SqlExperienceStore.open(str(folder / "experience.db")) as store:
        return store.count()


def kill_at_some_moment(folder, rng, *, usual_s):
    """Kills a run a moment after it stored one to three further trials; returns its seconds if it had ended before.

    Where no trial is left, the moment falls anywhere in a usual run: into its start, or into its learning.
    """
    before = count(folder)
    began_s = time.monotonic()
    process = start(folder)
    wanted = before + rng.choice((1, 1, 2, 3))
    delay_s = rng.uniform(0, 0.2) if before < TRIALS else rng.uniform(0.2, 0.8) * usual_s
    while process.poll() is None and count(folder) < min(wanted, TRIALS):
        time.sleep(0.02)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=delay_s)
    took_s = time.monotonic() - began_s
    was_at_work = process.poll() is None
    if was_at_work:
        os.killpg(process.pid, signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), errors[-2000:]
    return None if was_at_work else took_s


def outcome(folder):
    with SqlExperienceStore.open(str(folder / "experience.db")) as store:
        assert store.verify() == ()
        rows = [(row.id, row.result) for row in store.read()]
    shown = {trial: tuple((m.epoch, m.value, Loss(m.train_loss)) for m in result.curve) for trial, result in rows}
    assert len(shown) == len(rows), "a trial is there twice"
    return {trial: (result.status, result.score, result.test_score, shown[trial]) for trial, result in rows}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_ten_random_moments_it_ends_with_the_trials_of_an_undisturbed_run(tmp_path):
    began_s = time.monotonic()
    learned = finish(start(tmp_path / "undisturbed"))
    usual_s = time.monotonic() - began_s
    expected = outcome(tmp_path / "undisturbed")
    assert len(expected) == learned["fresh"] == TRIALS

    rng = random.Random(0)
    killed = tmp_path / "killed"
    reached = []
    kills = 0
    for _ in range(KILLS):
        took_s = kill_at_some_moment(killed, rng, usual_s=usual_s)
        kills += took_s is None
        usual_s = min(usual_s, took_s or usual_s)  # a run without trials is shorter than the undisturbed one was
        reached.append(count(killed))
    resumed = finish(start(killed))

    assert kills >= KILLS - 2, f"only {kills} runs were at work when they were to be killed; trials then: {reached}"
    assert reached == sorted(reached), "a stored trial was lost"
    assert outcome(killed) == expected
    # What is learned from the same trials is the same, too; what it cost is not.
    for name in ("run", "trials", "accepted", "loss_initial", "loss_final"):
        assert resumed[name] == learned[name], name
