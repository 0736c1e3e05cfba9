"""A policy is updated from what was tried, and put back."""

import functools
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from transmeta.cli import main
from transmeta.policies.adaptive.learner import AdaptiveLearner
from transmeta.policies.network.training import TrainingPlan
from transmeta.workspace import PACKAGED_POLICY

from .cases import Run


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real learner with few steps: what it learns is tested elsewhere."""
    plan = TrainingPlan(members=1, fold_members=1, hidden=4, steps=5)
    learner = functools.partial(AdaptiveLearner, plan=plan)
    monkeypatch.setattr("transmeta.policies.adaptive.learner.AdaptiveLearner", learner)


def learning(
    main: Callable[[Sequence[str]], int], words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> Sequence[str]:
    """Runs a search, and returns what it says of the policy, but for the announcement."""
    assert main(words) == 0
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if "olicy" in line or "already." in line if "learns from it" not in line]


@pytest.fixture
def tried(run: Run, workspace: Path) -> Path:
    """A workspace with two trials on each of three targets."""
    words = ("--strategies", "linear_probe,from_scratch", "--executor", "local", "--workspace", workspace, "--quiet")
    assert run("collect", "digits@3", "icons-shapes@3", "icons-time@3", *words).code == 0
    return workspace


@pytest.fixture
def taught(run: Run, tried: Path) -> Path:
    """The same with an adaptive policy, which knows the three."""
    assert run("policy", "update", "--workspace", tried).code == 0
    return tried


def test_a_policy_is_updated_listed_and_rolled_back(run: Run, tried: Path) -> None:
    place = ("--workspace", tried, "--json")

    updated = run("policy", "update", *place)
    listed = run("policy", "versions", *place)
    back = run("policy", "rollback", *place)
    after = run("policy", "versions", *place)
    again = run("policy", "rollback", "--to", 2, *place)

    assert (updated.code, listed.code, back.code, again.code) == (0, 0, 0, 0), updated.err
    assert updated.json["accepted"]
    assert (updated.json["version"], updated.json["targets"], updated.json["trials"]) == (2, 3, 6)
    assert [version["note"]["origin"] for version in listed.json] == ["found", "update"]
    assert [version["is_current"] for version in listed.json] == [False, True]
    assert back.json == {"before": 2, "version": 1}
    assert [version["is_current"] for version in after.json] == [True, False]
    assert again.json == {"before": 1, "version": 2}


def test_what_was_learned_is_recommended_and_weighed(run: Run, tried: Path, photos: Path) -> None:
    assert run("policy", "update", "--workspace", tried).code == 0

    words = ("recommend", photos, "--workspace", tried)
    front = run(*words, "--objective", "pareto", "--json").json
    weighed = run(*words, "--objective", "score=1,cost_s=0.2", "--count", 1, "--json").json
    for_people = run(*words, "--objective", "pareto")

    assert len(weighed) == 1
    assert set(front[0]["objectives"]) == {"score", "cost_s", "parameters", "macs", "memory_bytes"}
    assert all(item["objectives"]["parameters"] > 0 for item in front)
    assert len(for_people.out.splitlines()) == 1 + len(front)


def test_an_update_without_anything_new_is_refused(refused: Run, run: Run, tried: Path) -> None:
    assert run("policy", "update", "--workspace", tried).code == 0

    assert "nothing that the policy does not know" in refused("policy", "update", "--workspace", tried).err


def test_a_search_that_is_told_so_leaves_the_policy_as_it_was(run: Run, tried: Path) -> None:
    found = run("search", "digits@3", "--trials", 4, "--workspace", tried, "--quiet", "--no-learn")

    assert (found.code, found.err) == (0, "")
    assert run("policy", "versions", "--workspace", tried, "--json").json == []


def test_a_search_feeds_the_policy(taught: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["search", str(photos), "--trials", "4", "--workspace", str(taught)]

    assert main(words) == 0
    first = capsys.readouterr()
    again = learning(main, words, capsys)

    assert "The policy learned from it" in first.err
    assert again == ["It knows as much already."]
    assert "policy" not in first.out


def test_a_version_that_was_put_back_stays_until_the_policy_is_told_to_learn(
    run: Run, tried: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("policy", "update", "--workspace", tried).code == 0
    back = run("policy", "rollback", "--to", 1, "--workspace", tried)

    said = learning(main, ["search", str(photos), "--trials", "4", "--workspace", str(tried)], capsys)

    assert "searches do not teach it" in back.err
    assert said == [
        "The policy does not learn from it: version 1 was put back in force in place of 2; "
        "transmeta policy update makes it learn"
    ]
    assert run("policy", "update", "--workspace", tried, "--json").json["version"] == 3


def test_a_policy_of_another_kind_stays(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--rounds", 1, "--trials-per-round", 4, "--executor", "local", "--policy", "portfolio", "--quiet")
    assert run("meta-train", "digits@3", "icons-shapes@3", *words, "--workspace", tmp_path).code == 0

    said = learning(main, ["search", "digits@3", "--trials", "4", "--workspace", str(tmp_path)], capsys)

    assert said[0].startswith("The policy does not learn from it: the policy in force is of the kind portfolio")


def test_a_search_with_a_policy_of_its_own_teaches_none(
    run: Run, tried: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(PACKAGED_POLICY, tmp_path / "own")
    words = ["search", "digits@3", "--trials", "4", "--workspace", str(tried), "--policy", str(tmp_path / "own")]

    assert learning(main, words, capsys) == []


def test_a_quiet_search_says_nothing_of_what_it_taught(
    run: Run, taught: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(photos), "--trials", "4", "--workspace", str(taught), "--quiet"]) == 0

    assert capsys.readouterr().err == ""
    assert len(run("policy", "versions", "--workspace", taught, "--json").json) == 3


def test_a_policy_folder_that_cannot_be_written_is_said_after_the_results(
    taught: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (taught / "policy" / "versions").rename(taught / "policy" / "kept")
    (taught / "policy" / "versions").write_text("in the way")

    said = learning(main, ["search", str(photos), "--trials", "4", "--workspace", str(taught), "--quiet"], capsys)

    assert len(said) == 1
    assert "The policy did not learn from it" in said[0]
    assert "cannot be written (Not a directory)" in said[0]


def test_while_another_process_teaches_the_policy_a_search_does_not(
    taught: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = (
        "import sys; from pathlib import Path; from transmeta.workspace import Workspace\n"
        "with Workspace(folder=Path(sys.argv[1])).teaching():\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(taught)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        said = learning(main, ["search", str(photos), "--trials", "4", "--workspace", str(taught), "--quiet"], capsys)
        other.communicate("")

    assert len(said) == 1
    assert "is being written by another process" in said[0]


def test_without_versions_there_is_nothing_to_go_back_to(refused: Run, run: Run, tmp_path: Path) -> None:
    place = ("--workspace", tmp_path / "new")

    assert "No versions yet" in run("policy", "versions", *place).out
    assert "no older version" in refused("policy", "rollback", *place).err
    assert "there is no version 3" in refused("policy", "rollback", "--to", 3, *place).err


@pytest.mark.parametrize("name", ["update", "versions", "rollback"])
def test_the_help_teaches_by_an_example(run: Run, name: str) -> None:
    assert f"Example: transmeta policy {name}" in " ".join(run("policy", name, "--help").out.split())
