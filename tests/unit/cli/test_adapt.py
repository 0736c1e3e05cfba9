import json
import subprocess
import sys
from pathlib import Path

from .cases import CLASSES, Run

CONTRACT = {"test_score", "validation_score", "strategy", "trials", "seconds", "model_path"}


def test_a_folder_of_images_becomes_a_model_that_predicts(
    run: Run, workspace: Path, photos: Path, new_photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model"

    adapted = run("adapt", "--data", photos, "--trials", 4, "--out", out, "--workspace", workspace, "--json")
    predicted = run("predict", "--model", out, "--data", new_photos, "--json")

    assert adapted.code == predicted.code == 0
    assert adapted.json.keys() >= CONTRACT
    assert adapted.json["trials"] == 4
    assert adapted.json["model_path"] == str(out)
    assert (out / "report.md").is_file()
    assert predicted.json["count"] == 20
    assert predicted.json["score"] > 0.5  # chance is 0.25
    assert [line.partition(":")[0] for line in adapted.lines] == [f"trial {i}/4" for i in (1, 2, 3, 4)]


def test_one_model_or_several_answer_as_asked(
    run: Run, refused: Run, workspace: Path, photos: Path, new_photos: Path, tmp_path: Path
) -> None:
    words = ("adapt", photos, "--trials", 4, "--workspace", workspace)
    together = run(*words, "--out", tmp_path / "together")
    alone = run(*words, "--ensemble", 1, "--out", tmp_path / "alone")
    predicted = run("predict", new_photos, "--model", tmp_path / "together", "--json")

    assert (together.code, alone.code, predicted.code) == (0, 0, 0)
    assert "models together" in together.out
    assert "together" not in alone.out.replace(str(tmp_path), "")
    assert predicted.json["score"] > 0.5  # chance is 0.25
    assert "an ensemble of 0 models; give 1" in refused(*words, "--ensemble", 0).err


def test_stdout_of_the_process_holds_one_json_document(workspace: Path, photos: Path) -> None:
    words = ["adapt", "--data", photos, "--trials", "1", "--workspace", workspace, "--json", "--executor", "local"]

    done = subprocess.run([sys.executable, "-m", "transmeta", *words], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).keys() >= CONTRACT


def test_the_data_is_an_argument_or_an_option_but_not_both(
    run: Run, refused: Run, workspace: Path, photos: Path
) -> None:
    words = ("--trials", 1, "--workspace", workspace)
    as_argument = run("adapt", photos, *words, "--dry-run", "--json")
    as_option = run("adapt", "--data", photos, *words, "--dry-run", "--json")

    assert as_argument.code == 0
    assert as_argument.json == as_option.json
    assert "no data: name a folder, a file or a task" in refused("adapt", *words).err
    assert "give it once" in refused("adapt", photos, "--data", photos, *words).err


def test_images_are_read_at_the_size_that_is_asked_for(
    run: Run, refused: Run, workspace: Path, photos: Path, new_photos: Path, tmp_path: Path
) -> None:
    words = ("--trials", 1, "--size", 48, "--workspace", workspace)
    adapted = run("adapt", photos, *words, "--out", tmp_path / "model", "--json")
    predicted = run("predict", new_photos, "--model", tmp_path / "model", "--json")
    spec = ("--source", "greek", "--strategy", "linear_probe", "--size", 48, "--workspace", workspace, "--dry-run")

    assert adapted.code == 0, adapted.err
    assert json.loads((tmp_path / "model" / "meta.json").read_text())["spec"]["pair"]["target"]["shape"] == [48, 48, 1]
    assert predicted.json["score"] > 0.5
    assert (
        adapted.json["target"] != run("adapt", photos, *words[:2], *words[4:], "--dry-run", "--json").json["targets"][0]
    )
    assert run("transfer", photos, *spec, "--json").json["targets"] == [adapted.json["target"]]
    assert run("search", photos, *words, "--dry-run", "--json").json["targets"] == [adapted.json["target"]]
    assert run("recommend", photos, *words[2:], "--json").code == 0
    assert "only a folder of images has one" in refused("adapt", "digits@3", *words).err


def test_asking_again_costs_no_trial_and_gives_the_same(run: Run, workspace: Path, photos: Path) -> None:
    words = ("adapt", "--data", photos, "--trials", 2, "--workspace", workspace, "--json")
    first, again, quiet = run(*words), run(*words), run(*words, "--quiet")

    assert len(first.lines) == 2
    # The best one is run once more for its model, but nothing is new.
    assert again.lines == ["2 of 2 trial(s) known already, not run again"]
    assert quiet.lines == []
    assert {**first.json, "seconds": 0} == {**again.json, "seconds": 0}


def test_a_table_becomes_a_model_as_well(run: Run, workspace: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"

    adapted = run("adapt", "--data", table, "--trials", 1, "--out", out, "--workspace", workspace, "--policy", "none")
    assert adapted.code == 2  # there is no such policy

    # The workspace's policy only probes checkpoints, and none takes a table.
    (workspace / "policy" / "policy.json").unlink()
    adapted = run("adapt", "--data", table, "--trials", 1, "--out", out, "--workspace", workspace, "--quiet")
    predicted = run("predict", "--model", out, "--data", table, "--json")

    assert (adapted.code, adapted.err) == (0, "")
    assert "trained from scratch: there is no source for such data" in adapted.out
    assert "there is no source for such data, so nothing was transferred" in (out / "report.md").read_text()
    assert predicted.json["score"] > 0.6


def test_where_scratch_wins_over_a_source_it_says_not_to_transfer(run: Run, workspace: Path, tmp_path: Path) -> None:
    from transmeta.policies.files import save_policy
    from transmeta.policies.fixed import FixedLearner
    from transmeta.workspace import Workspace

    learner = FixedLearner(strategy="from_scratch", proposer=Workspace(folder=workspace).proposer(()))
    save_policy(learner.initial(), workspace / "policy")

    outcome = run("adapt", "--data", "digits@3", "--trials", 1, "--out", tmp_path / "m", "--workspace", workspace)

    assert "trained from scratch: do not transfer" in outcome.out
    assert "training from scratch won, so nothing was transferred" in (tmp_path / "m" / "report.md").read_text()


def test_a_dry_run_says_what_would_run_and_leaves_nothing(run: Run, workspace: Path, photos: Path) -> None:
    words = ("adapt", "--data", photos, "--trials", 7, "--workspace", workspace, "--dry-run")
    for_people, as_json = run(*words), run(*words, "--json")

    assert for_people.code == as_json.code == 0
    assert "nothing was run" in for_people.out
    assert as_json.json["trials"] == 7
    assert len(as_json.json["sources"]) == 2
    assert not (workspace / "experience.db").exists()


def test_quiet_prints_the_result_alone(run: Run, workspace: Path, photos: Path) -> None:
    outcome = run("adapt", "--data", photos, "--trials", 1, "--workspace", workspace, "--quiet")

    assert outcome.err == ""
    assert "linear_probe from greek-" in outcome.out


def test_a_folder_that_holds_something_else_is_never_replaced(refused: Run, workspace: Path, photos: Path) -> None:
    outcome = refused("adapt", "--data", photos, "--trials", 1, "--out", photos, "--workspace", workspace)

    assert outcome.code == 2
    assert "would be lost" in outcome.err
    assert sorted(path.name for path in photos.iterdir()) == list(CLASSES)


def test_what_only_ray_has_is_refused_to_the_local_executor(refused: Run, workspace: Path, photos: Path) -> None:
    words = ("adapt", "--data", photos, "--trials", 1, "--workspace", workspace, "--executor", "local")

    assert "--executor ray" in refused(*words, "--gpus-per-worker", 1).err
    assert "--executor ray" in refused(*words, "--workers", 2).err
    assert "did you mean 'local'" in refused(*words[:-1], "locl").err
