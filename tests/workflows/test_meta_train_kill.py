"""Point by point, what a killed `meta-train` leaves is what an undisturbed one does."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from transmeta.stores.sql import SqlExperienceStore

KILLS = 6
COMMAND = (
    "meta-train", "icons-computing@3", "icons-places@3", "icons-time@3", "--rounds", "2", "--trials-per-round", "4",
    "--samples", "0", "--strategies", "linear_probe,partial_freeze", "--executor", "local", "--quiet", "--json",
)  # fmt: skip


def start(folder):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "transmeta", *COMMAND, "--workspace", str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def outcome(folder):
    with SqlExperienceStore.open(str(folder / "experience.db")) as store:
        assert store.verify() == ()
        return sorted((row.id, row.result.status, row.result.score, row.result.test_score) for row in store.read())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_random_moments_it_ends_with_the_trials_of_an_undisturbed_run(tmp_path):
    began_s = time.monotonic()
    undisturbed = start(tmp_path / "undisturbed")
    _, errors = undisturbed.communicate()
    assert undisturbed.returncode == 0, errors.decode()[-2000:]
    usual_s = time.monotonic() - began_s
    expected = outcome(tmp_path / "undisturbed")

    rng = random.Random(0)
    killed = tmp_path / "killed"
    kills = 0
    for _ in range(KILLS):
        process = start(killed)
        try:
            process.communicate(timeout=rng.uniform(0.3, 0.8) * usual_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
    final = start(killed)
    _, errors = final.communicate()

    assert final.returncode == 0, errors.decode()[-2000:]
    assert kills >= 1, "every run ended before it was to be killed"
    assert len(expected) == 24
    assert outcome(killed) == expected
