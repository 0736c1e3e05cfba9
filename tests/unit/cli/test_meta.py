import functools
import shutil
from pathlib import Path

import pytest

from transmeta import policies
from transmeta.policies.adaptive.learner import AdaptiveLearner
from transmeta.policies.network.learner import NetworkLearner
from transmeta.policies.network.training import TrainingPlan

from .cases import Run


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real learner with few steps: what it learns is tested elsewhere."""
    plan = TrainingPlan(members=1, fold_members=1, hidden=4, steps=5)
    for module, learner in (("network", NetworkLearner), ("adaptive", AdaptiveLearner)):
        name = f"transmeta.policies.{module}.learner.{learner.__name__}"
        monkeypatch.setattr(name, functools.partial(learner, plan=plan))


def test_a_policy_is_learned_and_then_tested_on_what_it_has_not_seen(
    run: Run, workspace: Path, short_training: None
) -> None:
    place = ("--workspace", workspace, "--json")
    targets = ("digits@3", "icons-shapes@3", "icons-time@3")
    words = ("--rounds", 1, "--trials-per-round", 2, "--samples", 0, "--strategies", "linear_probe,from_scratch")
    learn = ("meta-train", *targets, *words, "--executor", "local", *place)
    planned = run(*learn, "--dry-run")
    learned, again = run(*learn), run(*learn, "--quiet")
    tested = run("meta-test", "--evaluations", 2, "--seeds", 1, *place)

    assert (planned.code, learned.code, tested.code) == (0, 0, 0), (learned.err, tested.err)
    assert planned.json["trials"] == learned.json["trials"] == 6
    assert (learned.json["fresh"], again.json["fresh"]) == (6, 0)
    assert tested.json["datasets"] == 3
    assert {row["policy"] for row in tested.json["rows"]} >= {"adaptive", "network", "portfolio", "fixed-linear_probe"}


def test_what_takes_the_place_of_a_packaged_policy_that_knows_more_says_so_and_can_be_taken_back(
    run: Run, workspace: Path, short_training: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transmeta.workspace.PACKAGED_POLICY", Path(policies.__file__).parent / "packaged")
    shutil.rmtree(workspace / "policy")
    words = ("--rounds", 1, "--trials-per-round", 2, "--samples", 0, "--strategies", "linear_probe,from_scratch")
    place = ("--workspace", workspace)

    learned = run("meta-train", "digits@3", "icons-time@3", *words, "--executor", "local", *place)
    back = run("policy", "rollback", "--to", 1, *place, "--json")
    known = run("policy", "versions", *place, "--json").json

    assert learned.code == back.code == 0, learned.err
    assert "this policy knows 2 data sets; the packaged one, in whose place it is now, knows 43;" in learned.err
    assert "transmeta policy rollback --to 1, then transmeta policy update" in learned.err
    assert [(version["note"]["origin"], version["is_current"]) for version in known] == [
        ("packaged", True),
        ("meta-train", False),
    ]


@pytest.mark.parametrize("kind", ["network", "portfolio"])
def test_other_kinds_of_policy_can_be_learned(run: Run, workspace: Path, short_training: None, kind: str) -> None:
    words = ("--rounds", 1, "--trials-per-round", 2, "--samples", 0, "--strategies", "linear_probe,from_scratch")
    place = ("--executor", "local", "--workspace", workspace)

    learned = run("meta-train", "digits@3", "icons-time@3", *words, *place, "--policy", kind, "--json")

    listed = run("ls", "policies", "--workspace", workspace, "--json")
    assert learned.json["version"] == 1
    assert next(item["policy"] for item in listed.json if item["where"] == "workspace") == kind


def test_an_unknown_kind_of_policy_gets_the_nearest(refused: Run, workspace: Path) -> None:
    words = ("meta-train", "digits@3", "icons-time@3", "--policy", "adaptiv", "--workspace", workspace)

    assert "did you mean 'adaptive'" in refused(*words).err


def test_the_column_to_predict_in_tables_can_be_named(run: Run, workspace: Path, table: Path, tmp_path: Path) -> None:
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text(table.read_text().replace("label", "kind"))
    words = ("meta-train", tmp_path / "one.csv", tmp_path / "two.csv", "--workspace", workspace, "--dry-run", "--json")

    named, unnamed = run(*words, "--label", "kind"), run(*words)

    assert (named.code, unnamed.code) == (0, 2)
    assert len(named.json["targets"]) == 2
    assert "--label" in unnamed.err


def test_a_misspelt_key_of_the_configuration_gets_the_nearest(refused: Run, workspace: Path, tmp_path: Path) -> None:
    config = tmp_path / "meta.toml"
    config.write_text('targets = ["digits@3", "icons-time@3"]\nround = 2\n')

    outcome = refused("meta-train", "--config", config, "--workspace", workspace)

    assert outcome.code == 2
    assert "meta.toml: unknown key 'round'; did you mean 'rounds'?" in outcome.err


def test_too_little_to_learn_from_is_refused(refused: Run, workspace: Path) -> None:
    place = ("--workspace", workspace)

    assert "name more" in refused("meta-train", "digits@3", *place).err
    assert "give 1 or more of each" in refused("meta-train", "digits@3", "icons-time@3", "--rounds", 0, *place).err
    assert "give 1 or more" in refused("meta-test", "--seeds", 0, *place).err
