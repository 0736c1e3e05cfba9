import os
from pathlib import Path

import pytest

from transmeta.training.files import sync_folder, write_atomically, write_folder_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill_with(text: str):
    return lambda staging: [(staging / name).write_text(text) for name in ("a", "b")]


def test_a_file_is_written_in_place_of_the_old_one(tmp_path):
    path = tmp_path / "new" / "folder" / "file.json"

    write_atomically(path, b"first")
    write_atomically(path, b"second")

    assert path.read_bytes() == b"second"
    assert names(path.parent) == ["file.json"]


def test_a_file_that_cannot_be_replaced_stays_and_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")

    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file.json"]


def test_a_folder_is_written_in_place_of_the_old_one(tmp_path):
    folder = tmp_path / "deep" / "model"

    write_folder_atomically(folder, fill_with("first"))
    (folder / "stray").touch()
    write_folder_atomically(folder, fill_with("second"))

    assert names(folder) == ["a", "b"]
    assert (folder / "a").read_text() == "second"
    assert names(folder.parent) == ["model"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_folder_whose_filling_fails_stays_and_leaves_nothing_behind(error, tmp_path):
    folder = tmp_path / "model"
    write_folder_atomically(folder, fill_with("old"))

    def fail(staging: Path) -> None:
        (staging / "a").write_text("new")
        raise error("half-way")

    with pytest.raises(error, match="half-way"):
        write_folder_atomically(folder, fail)

    assert (folder / "a").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_a_folder_whose_first_filling_fails_does_not_appear(tmp_path):
    def fail(staging: Path) -> None:
        raise OSError("half-way")

    with pytest.raises(OSError, match="half-way"):
        write_folder_atomically(tmp_path / "model", fail)

    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_moved_into_place_gives_the_old_one_back(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    write_folder_atomically(folder, fill_with("old"))
    replace = os.replace

    def fail_once(source: Path, target: Path) -> None:
        if Path(target) == folder and (Path(source) / "a").read_text() == "new":
            raise OSError("quota")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_once)
    with pytest.raises(OSError, match="quota"):
        write_folder_atomically(folder, fill_with("new"))

    assert (folder / "a").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_a_folder_that_does_not_exist_cannot_be_synced(tmp_path):
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "missing")
