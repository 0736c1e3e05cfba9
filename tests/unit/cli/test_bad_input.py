"""Bad input is refused before any compute, in one line with a remedy, and loses nothing."""

import shutil
import sqlite3
from pathlib import Path

import pytest
import torch

from transmeta.training.checkpoint import read_checkpoint, write_checkpoint

from .cases import Run


@pytest.fixture
def bad(refused: Run, workspace: Path) -> Run:
    """Runs adapt on bad data, and checks that nothing was stored."""

    def bad(data: Path, *words: object) -> object:
        outcome = refused("adapt", "--data", data, "--trials", 1, "--workspace", workspace, *words)
        assert not (workspace / "experience.db").exists()
        return outcome

    return bad


def test_an_empty_folder(bad: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    outcome = bad(tmp_path / "empty")

    assert outcome.code == 2
    assert "no images; give one sub-folder of images per class" in outcome.err


def test_one_class(bad: Run, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos / "one", tmp_path / "data" / "one")

    outcome = bad(tmp_path / "data")

    assert outcome.code == 2
    assert "1 class; at least 2 are needed" in outcome.err


def test_an_unreadable_image(bad: Run, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "data")
    (tmp_path / "data" / "one" / "03.png").write_bytes(b"not an image")

    outcome = bad(tmp_path / "data")

    assert outcome.code == 2
    assert "03.png: not a readable image; replace it or leave it out" in outcome.err


def test_features_that_are_missing(bad: Run, table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines()
    lines[5] = "," + lines[5].partition(",")[2]
    (tmp_path / "data.csv").write_text("\n".join(lines))

    outcome = bad(tmp_path / "data.csv")

    assert outcome.code == 2
    assert "'sepal_length' has 1 missing numbers (NaN); fill them in" in outcome.err


def test_a_label_that_is_not_there(bad: Run, table: Path) -> None:
    outcome = bad(table, "--label", "lable")

    assert outcome.code == 2
    assert "did you mean 'label'" in outcome.err


def test_a_table_whose_label_has_another_name(bad: Run, table: Path, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(table.read_text().replace("label", "kind"))

    outcome = bad(tmp_path / "data.csv")

    assert outcome.code == 2
    assert "petal_width, kind; name the column to predict with --label" in outcome.err


def test_an_unknown_task(refused: Run, workspace: Path) -> None:
    outcome = refused("search", "glyphs-greek", "--trials", 1, "--workspace", workspace)

    assert outcome.code == 2
    assert "did you mean 'glyphs-grek'" in outcome.err


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("--budget", "0"), "give a positive time such as 2m"),
        (("--budget", "0s"), "give a positive time such as 2m"),
        (("--budget", "soon"), "write 90s, 2m or 1h30m"),
        (("--trials", "0"), "give 1 or more"),
        (("--trials", "-3"), "give 1 or more"),
        (("--trials", "few"), "--help"),
        ((), "--trials 20"),
        (("--trials", "1", "--workers", "0"), "give 1 or more"),
        (("--trials", "1", "--cpus-per-worker", "0"), "give more than 0"),
        (("--trials", "1", "--gpus-per-worker", "-1"), "give 0 or more"),
    ],
)
@pytest.mark.parametrize("command", [("adapt", "--data"), ("search",)])
def test_a_budget_of_nothing(
    refused: Run, workspace: Path, photos: Path, command: tuple[str, ...], words: tuple[str, ...], remedy: str
) -> None:
    outcome = refused(*command, photos, "--workspace", workspace, *words)

    assert outcome.code == 2
    assert remedy in outcome.err


def test_an_unknown_strategy(refused: Run, workspace: Path, photos: Path) -> None:
    words = ("--workspace", workspace)

    one = refused("transfer", photos, "--source", "greek", "--strategy", "full_finetun", *words)
    many = refused("collect", photos, "--strategies", "linear_probe,full_finetun", *words)

    assert one.code == many.code == 2
    assert "did you mean 'full_finetune'" in one.err
    assert "did you mean 'full_finetune'" in many.err


def test_a_misspelt_hyperparameter(refused: Run, workspace: Path, photos: Path) -> None:
    words = ("transfer", photos, "--source", "greek", "--strategy", "linear_probe", "--workspace", workspace)

    assert "did you mean 'learning_rate'" in refused(*words, "--param", "learningrate=0.1").err
    assert "give a whole number from" in refused(*words, "--param", "epochs=many").err
    assert "out of range" in refused(*words, "--param", "epochs=100000").err
    assert "write name=value" in refused(*words, "--param", "epochs").err
    assert "given twice" in refused(*words, "--param", "epochs=5", "--param", "epochs=6").err


def test_a_misspelt_option(refused: Run, photos: Path) -> None:
    outcome = refused("adapt", "--data", photos, "--trails", 3)

    assert outcome.code == 2
    assert "--trials" in outcome.err


def test_an_unknown_or_barred_source(refused: Run, workspace: Path) -> None:
    words = ("--strategy", "linear_probe", "--workspace", workspace)

    unknown = refused("transfer", "digits@3", "--source", "grek", *words)
    barred = refused("transfer", "glyphs-grek@3", "--source", "greek", *words)
    scratch = refused("transfer", "digits@3", "--source", "scratch", *words)

    assert "known: greek-" in unknown.err
    assert "has seen glyphs-grek" in barred.err
    assert "choose another strategy or source" in scratch.err


def test_a_source_of_another_architecture(refused: Run, workspace: Path, photos: Path) -> None:
    (source,) = (workspace / "models").iterdir()
    tensors, meta = read_checkpoint(source)
    tensors["head.weight"] = torch.zeros((7, 3))
    write_checkpoint(source, tensors=tensors, meta=meta | {"weights_sha256": None})

    transfer = refused("transfer", photos, "--source", "greek", "--strategy", "lora", "--workspace", workspace)
    adapt = refused("adapt", "--data", photos, "--trials", 1, "--workspace", workspace)

    assert transfer.code == adapt.code == 5
    assert "weights of another architecture" in transfer.err
    assert "weights of another architecture" in adapt.err


def test_a_damaged_source(refused: Run, workspace: Path, photos: Path) -> None:
    (source,) = (workspace / "models").iterdir()
    (source / "weights.safetensors").write_bytes(b"\x80\x04pickle")

    outcome = refused("adapt", "--data", photos, "--trials", 1, "--workspace", workspace)

    assert outcome.code == 5
    assert "differs from its manifest" in outcome.err


def test_a_store_of_a_newer_schema(run: Run, refused: Run, workspace: Path, photos: Path) -> None:
    assert run("adapt", "--data", photos, "--trials", 1, "--workspace", workspace, "--quiet").code == 0
    with sqlite3.connect(workspace / "experience.db") as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'transmeta_schema'")
    connection.close()
    before = (workspace / "experience.db").read_bytes()

    for words in (("adapt", "--data", photos, "--trials", 1), ("experience", "stats"), ("recommend", photos)):
        outcome = refused(*words, "--workspace", workspace)
        assert outcome.code == 6
        assert "newer transmeta (schema 99" in outcome.err
        assert "upgrade transmeta" in outcome.err
    assert (workspace / "experience.db").read_bytes() == before


def test_a_store_that_is_something_else(refused: Run, workspace: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("these are notes, and longer than a magic number")

    words = ("adapt", "--data", photos, "--trials", 1, "--workspace", workspace)
    outcome = refused(*words, "--store", tmp_path / "notes.db")

    assert outcome.code == 5
    assert "not a SQLite database" in outcome.err
    assert refused(*words, "--store", "mysql://somewhere/x").code == 2


def test_a_workspace_that_is_a_file(refused: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert "give a folder" in refused("recommend", "digits@3", "--workspace", tmp_path / "file").err
