"""Commands on Ray: the same results as without it, refusals at once, and nothing but the result on stdout."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transmeta.cli import main

pytestmark = pytest.mark.ray

DIGITS = {"one": 1, "seven": 7, "two": 2}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of PNGs: three digits, 10 images of each."""
    from transmeta.tasks.catalogue import find_task, load_task

    folder = tmp_path_factory.mktemp("data") / "photos"
    train = load_task(find_task("digits")).train
    for name, digit in DIGITS.items():
        (folder / name).mkdir(parents=True)
        for number, row in enumerate(np.flatnonzero(train.y == digit)[:10]):
            Image.fromarray(train.x[row, :, :, 0]).save(folder / name / f"{number}.png")
    return folder


def words(*parts: object) -> list[str]:
    return [str(part) for part in parts]


def test_an_infeasible_request_is_refused_before_anything_is_computed(
    two_cpus: None, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = words("adapt", "--data", photos, "--trials", 2, "--workspace", tmp_path / "w")

    codes = [
        main([*command, "--gpus-per-worker", "8"]),
        main([*command, "--executor", "ray", "--cpus-per-worker", "64"]),
    ]

    printed = capsys.readouterr()
    assert codes == [4, 4]
    assert printed.out == ""
    for line, asked in zip(printed.err.splitlines(), ("1 CPU and 8 GPU", "64 CPU and 0 GPU"), strict=True):
        assert line.startswith("error: infeasible")
        assert asked in line
        assert "the cluster has 2 CPU and 0 GPU" in line
        assert "ask for less or add nodes" in line
    assert not (tmp_path / "w").exists()


def test_a_search_on_ray_gives_the_trials_and_scores_of_the_local_one(
    two_cpus: None, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = words("search", photos, "--no-learn", "--trials", 3, "--json", "--quiet")
    found = {}
    for executor in ("local", "ray"):
        assert main([*command, "--workspace", str(tmp_path / executor), "--executor", executor]) == 0
        ranked = json.loads(capsys.readouterr().out)["ranked"]
        found[executor] = [(trial["trial"], trial["score"], trial["status"]) for trial in ranked]

    assert found["ray"] == found["local"]


def test_asha_of_tune_may_stop_trials_and_the_best_one_is_complete(
    two_cpus: None, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = words(
        "search", photos, "--no-learn", "--trials", 6, "--json", "--scheduler", "asha", "--workspace", tmp_path / "w"
    )

    code = main(command)

    printed = capsys.readouterr()
    assert code == 0
    ranked = json.loads(printed.out)["ranked"]
    assert len(ranked) == 6
    assert ranked[0]["status"] == "completed"
    assert {trial["status"] for trial in ranked} <= {"completed", "stopped"}
    assert {trial["reason"] for trial in ranked if trial["status"] == "stopped"} <= {"stopped by Tune's scheduler"}
    assert sum(line.startswith("trial ") for line in printed.err.splitlines()) == 6


def test_a_source_is_trained_by_ray_train_and_then_used(
    two_cpus: None, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = words("--workspace", tmp_path / "w", "--json", "--quiet")
    code = main([*words("train-source", "glyphs-grek@3", "--name", "greek", "--epochs", 1, "--workers", 2), *place])
    trained = json.loads(capsys.readouterr().out)
    used = main([*words("transfer", photos, "--source", "greek", "--strategy", "linear_probe"), *place])

    assert code == used == 0
    assert len(trained["losses"]) == 1
    assert Path(trained["model_path"], "MANIFEST.json").is_file()
    assert json.loads(capsys.readouterr().out)["source"] == trained["model"]


@pytest.mark.slow
def test_stdout_of_a_process_that_starts_ray_holds_one_json_document(photos: Path, tmp_path: Path) -> None:
    command = words(
        "search", photos, "--no-learn", "--trials", 2, "--workers", 2, "--workspace", tmp_path / "w", "--json"
    )

    done = subprocess.run(
        [sys.executable, "-m", "transmeta", *command], capture_output=True, text=True, check=False, timeout=240
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"] == 2


def test_an_address_without_a_cluster_is_refused_at_once(photos: Path, tmp_path: Path) -> None:
    command = words("search", photos, "--no-learn", "--trials", 1, "--workspace", tmp_path / "w", "--address")

    refusals = []
    for address in ("127.0.0.1:1", "nonsense"):
        process = [sys.executable, "-m", "transmeta", *command, address]
        refusals.append(subprocess.run(process, capture_output=True, text=True, check=False, timeout=60))

    assert [done.returncode for done in refusals] == [75, 2]
    assert [done.stdout for done in refusals] == ["", ""]
    assert refusals[0].stderr.startswith("error: no Ray cluster at 127.0.0.1:1 (Connection refused); start one")
    assert refusals[1].stderr.startswith("error: address 'nonsense': give auto or HOST:PORT")
