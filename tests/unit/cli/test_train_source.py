from pathlib import Path

from .cases import Run


def test_a_dry_run_names_the_model_that_would_come_out(run: Run, workspace: Path) -> None:
    words = ("train-source", "glyphs-grek@3", "glyphs-hebr@3", "--name", "two", "--epochs", 2, "--dry-run")
    outcome = run(*words, "--workspace", workspace, "--json")

    assert outcome.code == 0
    assert outcome.json["model"].startswith("two-")
    assert outcome.json["architecture"] == "small_cnn"
    assert outcome.json["score"] is None
    assert not Path(outcome.json["model_path"]).exists()


def test_a_model_that_is_there_is_not_trained_again(run: Run, workspace: Path) -> None:
    words = ("train-source", "glyphs-grek@3", "--name", "greek", "--epochs", 2, "--learning-rate", 0.003)
    words = (*words, "--workspace", workspace)
    (source,) = (workspace / "models").iterdir()
    model = run(*words, "--dry-run", "--json").json["model"]
    source.rename(workspace / "models" / model)
    card = workspace / "models" / model / "meta.json"
    card.write_text(card.read_text().replace(source.name, model))

    outcome = run(*words)

    assert outcome.code == 0
    assert f"{model} (was there already)" in outcome.out


def test_what_cannot_be_trained_is_refused(refused: Run, workspace: Path, table: Path) -> None:
    words = ("--name", "new", "--workspace", workspace)

    assert "did you mean 'small_cnn'" in refused("train-source", "digits", "--architecture", "smal_cnn", *words).err
    assert "not for tabular data" in refused("train-source", table, "--architecture", "small_cnn", *words).err
    assert "give a value above 0" in refused("train-source", "digits", "--epochs", 0, *words).err
    assert "give 1 or more" in refused("train-source", "digits", "--workers", 0, *words).err
    assert "different sizes" in refused("train-source", "digits", table, *words).err


def test_the_help_speaks_of_workers_where_there_are_no_trials(run: Run) -> None:
    text = " ".join(run("train-source", "--help").out.split())

    assert "CPUs of each worker" in text
    assert "GPUs of each worker" in text
    assert "trial" not in text
