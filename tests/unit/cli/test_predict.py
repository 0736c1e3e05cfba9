import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from transmeta.training.checkpoint import read_checkpoint, write_checkpoint

from .cases import Run


def test_labels_are_found_by_name_whatever_classes_are_there(
    run: Run, adapted: Path, new_photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(new_photos / "two", tmp_path / "some" / "two")  # the last class of four, alone here

    outcome = run("predict", "--model", adapted, "--data", tmp_path / "some", "--json")

    predictions = outcome.json["predictions"]
    assert [item["label"] for item in predictions] == ["two"] * 5
    hits = sum(item["predicted"] == "two" for item in predictions)
    assert outcome.json["score"] == pytest.approx(hits / 5)


def test_a_flat_folder_has_predictions_and_no_score(run: Run, adapted: Path, new_photos: Path) -> None:
    outcome = run("predict", "--model", adapted, "--data", new_photos / "one", "--json")

    assert outcome.json["score"] is None
    assert [item["example"] for item in outcome.json["predictions"]] == [f"{i:02d}.png" for i in range(5)]
    assert all(0.25 <= item["probability"] <= 1 for item in outcome.json["predictions"])


def test_a_single_image_is_predicted(run: Run, adapted: Path, new_photos: Path) -> None:
    outcome = run("predict", "--model", adapted, "--data", new_photos / "one" / "00.png")

    assert outcome.out.splitlines()[0] == "example,predicted,probability,label"
    assert outcome.out.splitlines()[1].startswith("00.png,")
    assert outcome.err == "1 predictions; no labels, so no score\n"


def test_predictions_go_to_a_csv_or_json_file(run: Run, adapted: Path, new_photos: Path, tmp_path: Path) -> None:
    words = ("predict", "--model", adapted, "--data", new_photos, "--quiet")
    as_csv = run(*words, "--out", tmp_path / "p.csv")
    as_json = run(*words, "--out", tmp_path / "p.json", "--json")

    assert as_csv.out == ""
    rows = (tmp_path / "p.csv").read_text().splitlines()
    items = json.loads((tmp_path / "p.json").read_text())
    assert len(rows) == 21
    assert [f"{i['example']},{i['predicted']},{i['probability']},{i['label']}" for i in items] == rows[1:]
    assert as_json.json["predictions"] == []
    assert as_json.json["out"] == str(tmp_path / "p.json")


def test_rows_of_a_table_are_scored_if_the_label_is_there(
    run: Run, adapted_table: Path, table: Path, tmp_path: Path
) -> None:
    without = tmp_path / "without.csv"
    without.write_text("\n".join(line.rpartition(",")[0] for line in table.read_text().splitlines()))

    scored = run("predict", "--model", adapted_table, "--data", table, "--json")
    unscored = run("predict", "--model", adapted_table, "--data", without, "--json")

    assert scored.json["score"] > 0.6
    assert unscored.json["score"] is None
    keys = ("example", "predicted", "probability")
    assert [[item[key] for key in keys] for item in scored.json["predictions"]] == [
        [item[key] for key in keys] for item in unscored.json["predictions"]
    ]


def test_arrays_are_scored_by_y(run: Run, adapted: Path, tmp_path: Path) -> None:
    images = np.zeros((3, 32, 32), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", x=images, y=np.array(["one", "one", "two"]))

    outcome = run("predict", "--model", adapted, "--data", tmp_path / "images.npz", "--json")

    assert [item["label"] for item in outcome.json["predictions"]] == ["one", "one", "two"]
    assert len({item["predicted"] for item in outcome.json["predictions"]}) == 1


def test_a_class_that_the_model_does_not_know_is_named(
    refused: Run, adapted: Path, new_photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(new_photos / "two", tmp_path / "some" / "two")
    shutil.copytree(new_photos / "seven", tmp_path / "some" / "sevn")

    outcome = refused("predict", "--model", adapted, "--data", tmp_path / "some")

    assert outcome.code == 2
    assert "did you mean 'seven'" in outcome.err


def test_data_of_another_kind_is_refused(
    refused: Run, adapted: Path, adapted_table: Path, photos: Path, table: Path
) -> None:
    assert "takes images" in refused("predict", "--model", adapted, "--data", table).err
    assert "takes rows" in refused("predict", "--model", adapted_table, "--data", photos).err


def test_a_pickled_checkpoint_is_refused_unread(refused: Run, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    torch.save({"weight": torch.zeros(2)}, folder / "model.pt")

    for model in (folder, folder / "model.pt"):
        outcome = refused("predict", "--model", model, "--data", photos)
        assert outcome.code == 5
        assert "pickle" in outcome.err
        assert "safetensors" in outcome.err


def test_weights_of_another_architecture_are_refused(refused: Run, adapted: Path, photos: Path, tmp_path: Path) -> None:
    tensors, meta = read_checkpoint(adapted)
    tensors["head.weight"] = torch.zeros((7, 3))
    write_checkpoint(tmp_path / "model", tensors=tensors, meta=meta)

    outcome = refused("predict", "--model", tmp_path / "model", "--data", photos)

    assert outcome.code == 5
    assert "weights of another architecture" in outcome.err


def test_a_source_model_is_not_taken_for_an_adapted_one(refused: Run, models: Path, photos: Path) -> None:
    (source,) = models.iterdir()

    outcome = refused("predict", "--model", source, "--data", photos)

    assert outcome.code == 5
    assert "adapt --out" in outcome.err


def test_paths_that_cannot_be_used_are_refused(refused: Run, adapted: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")

    assert "no such folder" in refused("predict", "--model", tmp_path / "none", "--data", photos).err
    assert "give the folder" in refused("predict", "--model", tmp_path / "text", "--data", photos).err
    assert ".csv or .json" in refused("predict", "--model", adapted, "--data", photos, "--out", tmp_path / "p.txt").err
    assert "check the path" in refused("predict", "--model", adapted, "--data", tmp_path / "none").err


def test_the_data_is_an_argument_or_an_option_but_not_both(
    run: Run, refused: Run, adapted: Path, new_photos: Path
) -> None:
    words = ("predict", "--model", adapted, "--json")

    assert run(*words, new_photos).json == run(*words, "--data", new_photos).json
    assert "no data: name a folder, a file or a task" in refused(*words).err
    assert "give it once" in refused(*words, new_photos, "--data", new_photos).err
