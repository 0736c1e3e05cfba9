"""A policy is updated from what was tried, and put back."""

import functools
from pathlib import Path

import pytest

from transmeta.cli import main
from transmeta.policies.adaptive.learner import AdaptiveLearner
from transmeta.policies.network.training import TrainingPlan

from .cases import Run


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real learner with few steps: what it learns is tested elsewhere."""
    plan = TrainingPlan(members=1, fold_members=1, hidden=4, steps=5)
    learner = functools.partial(AdaptiveLearner, plan=plan)
    monkeypatch.setattr("transmeta.policies.adaptive.learner.AdaptiveLearner", learner)


@pytest.fixture
def tried(run: Run, workspace: Path) -> Path:
    """A workspace with two trials on each of three targets."""
    words = ("--strategies", "linear_probe,from_scratch", "--executor", "local", "--workspace", workspace, "--quiet")
    assert run("collect", "digits@3", "icons-shapes@3", "icons-time@3", *words).code == 0
    return workspace


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

    assert "nothing in them that the policy does not know" in refused("policy", "update", "--workspace", tried).err


def test_a_search_that_is_told_so_leaves_the_policy_as_it_was(run: Run, tried: Path) -> None:
    found = run("search", "digits@3", "--trials", 4, "--workspace", tried, "--quiet", "--no-learn")

    assert (found.code, found.err) == (0, "")
    assert run("policy", "versions", "--workspace", tried, "--json").json == []


def test_a_search_feeds_the_policy(run: Run, tried: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["search", "digits@3", "--trials", "4", "--workspace", str(tried), "--quiet"]

    assert main(words) == 0
    first = capsys.readouterr()
    assert main(words) == 0
    again = capsys.readouterr()

    assert "The policy learned from it" in first.err
    assert "The policy did not learn from it" in again.err
    assert "policy" not in first.out
    assert len(run("policy", "versions", "--workspace", tried, "--json").json) >= 1


def test_without_versions_there_is_nothing_to_go_back_to(refused: Run, run: Run, tmp_path: Path) -> None:
    place = ("--workspace", tmp_path / "new")

    assert "No versions yet" in run("policy", "versions", *place).out
    assert "no older version" in refused("policy", "rollback", *place).err
    assert "there is no version 3" in refused("policy", "rollback", "--to", 3, *place).err


@pytest.mark.parametrize("name", ["update", "versions", "rollback"])
def test_the_help_teaches_by_an_example(run: Run, name: str) -> None:
    assert f"Example: transmeta policy {name}" in " ".join(run("policy", name, "--help").out.split())
