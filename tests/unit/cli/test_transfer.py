from pathlib import Path

from .cases import Run


def test_one_trial_is_run_and_remembered(run: Run, workspace: Path, photos: Path) -> None:
    words = ("transfer", photos, "--source", "greek", "--strategy", "linear_probe", "--param", "epochs=30")
    words = (*words, "--workspace", workspace, "--json")
    first, again = run(*words), run(*words)

    assert first.json["status"] == "completed"
    assert first.json["params"]["epochs"] == 30
    assert first.json["test_score"] is not None
    assert len(first.lines) == 1
    assert again.lines == ["1 of 1 trial(s) known already, not run again"]
    assert again.json == first.json


def test_a_trial_in_bfloat16_is_another_trial(run: Run, workspace: Path, photos: Path) -> None:
    words = ("transfer", photos, "--source", "greek", "--strategy", "full_finetune", "--param", "epochs=10")
    words = (*words, "--workspace", workspace, "--json")
    plain = run(*words)

    outcome, again = run(*words, "--precision", "bfloat16"), run(*words, "--precision", "bfloat16")

    assert outcome.json["trial"] != plain.json["trial"]
    assert outcome.json["score"] is not None
    assert again.lines == ["1 of 1 trial(s) known already, not run again"]


def test_its_model_can_be_kept_even_if_the_trial_is_known(
    run: Run, workspace: Path, photos: Path, new_photos: Path, tmp_path: Path
) -> None:
    words = ("transfer", photos, "--source", "greek", "--strategy", "linear_probe", "--workspace", workspace)
    assert run(*words).code == 0

    outcome = run(*words, "--out", tmp_path / "model")

    assert str(tmp_path / "model") in outcome.out
    assert run("predict", "--model", tmp_path / "model", "--data", new_photos, "--json").json["count"] == 20


def test_a_dry_run_checks_the_numbers_and_runs_nothing(run: Run, workspace: Path, photos: Path) -> None:
    words = ("transfer", photos, "--source", "greek", "--strategy", "lora", "--param", "rank=2", "--dry-run")

    outcome = run(*words, "--workspace", workspace, "--json")

    assert outcome.json["trials"] == 1
    assert outcome.json["dry_run"] is True
    assert not (workspace / "experience.db").exists()


def test_a_strategy_that_fails_is_a_clear_error_and_a_lesson(
    refused: Run, run: Run, workspace: Path, photos: Path, monkeypatch: object
) -> None:
    from transmeta.errors import Diverged
    from transmeta.training.fit import Fit

    def diverge(fit: Fit) -> None:
        raise Diverged("loss is nan in epoch 1; lower learning_rate (now 1)")

    monkeypatch.setattr(Fit, "advance", diverge)  # type: ignore[attr-defined]
    words = ("transfer", photos, "--source", "scratch", "--strategy", "from_scratch", "--workspace", workspace)

    outcome = refused(*words, "--quiet")

    assert outcome.code == 3
    assert "loss is nan" in outcome.err
    assert run("experience", "stats", "--workspace", workspace, "--json").json["counted"]["trials"] == {"failed": 1}
