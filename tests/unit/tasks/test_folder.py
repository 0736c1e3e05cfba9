"""A folder of images as a task."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transmeta.core.task import Modality
from transmeta.errors import ConfigError, DataError
from transmeta.tasks.folder import FolderTasks, read_labelled, read_unlabelled
from transmeta.training.data import TaskData

source = FolderTasks()


def load(path: Path, **choices: int | None) -> TaskData:
    return source.load(source.describe({"path": str(path)}, **choices))


def contents(x: np.ndarray) -> set[bytes]:
    return {example.tobytes() for example in x}


def test_sub_folders_are_classes(make_folder: Callable[..., Path]):
    path = make_folder({"cat": 5, "Dog": 10})

    task = source.describe({"path": str(path), "size": 24})
    data = source.load(task)

    assert (task.name, task.dataset, task.modality) == ("photos", "photos", Modality.IMAGE)
    assert task.shape == data.train.x.shape[1:] == (24, 24, 3)
    assert data.class_names == ("Dog", "cat")
    assert [np.bincount(split.y).tolist() for split in (data.train, data.validation, data.test)] == [
        [6, 3], [2, 1], [2, 1]
    ]  # fmt: skip


def test_a_relative_path_is_kept_as_an_absolute_one(make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch):
    path = make_folder({"a": 3, "b": 3})
    monkeypatch.chdir(path.parent)

    assert source.describe({"path": "photos/"}).params == {"path": str(path), "size": 32}


def test_splits_share_no_image_and_lose_none(make_folder: Callable[..., Path]):
    data = load(make_folder({"a": 9, "b": 7}))

    parts = [contents(split.x) for split in (data.train, data.validation, data.test)]
    assert sum(len(part) for part in parts) == len(set.union(*parts)) == 16


def test_copies_stay_in_one_split(make_folder: Callable[..., Path]):
    path = make_folder({"a": 6, "b": 6})
    for number in range(6):
        shutil.copy(path / "a" / f"{number:02d}.png", path / "a" / f"copy{number}.png")

    for seed in range(5):
        data = load(path, seed=seed)
        parts = [contents(split.x) for split in (data.train, data.validation, data.test)]
        assert sum(len(part) for part in parts) == 12


def test_shots_restrict_training_only(make_folder: Callable[..., Path]):
    path = make_folder({"a": 20, "b": 20})

    one, three, everything = (load(path, shots=shots) for shots in (1, 3, None))

    assert np.bincount(three.train.y).tolist() == [3, 3]
    assert contents(one.train.x) < contents(three.train.x) < contents(everything.train.x)
    assert np.array_equal(one.test.x, everything.test.x)
    assert np.array_equal(one.validation.x, everything.validation.x)


def test_the_seed_fixes_the_split(make_folder: Callable[..., Path]):
    path = make_folder({"a": 20, "b": 20})

    first, again, other = (load(path, seed=seed) for seed in (1, 1, 2))

    assert np.array_equal(first.test.x, again.test.x)
    assert not np.array_equal(first.test.x, other.test.x)


def test_grey_images_have_one_channel(make_folder: Callable[..., Path]):
    assert source.describe({"path": str(make_folder({"a": 3, "b": 3}, mode="L"))}).shape == (32, 32, 1)


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_a_ready_layout_is_kept(make_folder: Callable[..., Path], validation: str):
    path = make_folder(
        {"train/a": 4, "train/b": 5, f"{validation}/a": 1, f"{validation}/b": 2, "test/a": 2, "test/b": 1}
    )

    data = load(path)

    assert [np.bincount(split.y).tolist() for split in (data.train, data.validation, data.test)] == [
        [4, 5], [1, 2], [2, 1]
    ]  # fmt: skip
    expected = read_labelled(path / "test", size=32)
    assert np.array_equal(data.test.x, expected.x)


def test_a_missing_validation_part_is_cut_from_training(make_folder: Callable[..., Path]):
    data = load(make_folder({"train/a": 10, "train/b": 10, "test/a": 3, "test/b": 3}))

    assert [np.bincount(split.y).tolist() for split in (data.train, data.validation, data.test)] == [
        [8, 8], [2, 2], [3, 3]
    ]  # fmt: skip


def test_test_images_of_a_ready_layout_are_not_trained_on(make_folder: Callable[..., Path]):
    path = make_folder({"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2, "test/a": 2, "test/b": 2})
    shutil.copy(path / "test" / "a" / "00.png", path / "train" / "a" / "leak.png")
    shutil.copy(path / "test" / "b" / "00.png", path / "val" / "b" / "leak.png")

    data = load(path)

    assert np.bincount(data.train.y).tolist() == [4, 4]
    assert np.bincount(data.validation.y).tolist() == [2, 2]
    assert not contents(data.test.x) & (contents(data.train.x) | contents(data.validation.x))


def test_classes_called_train_and_tram_are_no_layout(make_folder: Callable[..., Path]):
    assert load(make_folder({"train": 3, "tram": 3})).class_names == ("train", "tram")


def test_hidden_and_other_files_are_passed_over(make_folder: Callable[..., Path]):
    path = make_folder({"a": 3, "b": 3})
    (path / "a" / "notes.txt").write_text("no image")
    (path / "a" / "._00.png").write_bytes(b"no image")
    (path / ".git").mkdir()

    assert load(path).class_names == ("a", "b")


def test_changed_data_is_refused(make_folder: Callable[..., Path], draw: Callable[..., Path]):
    path = make_folder({"a": 3, "b": 3})
    task = source.describe({"path": str(path)})
    draw(path / "a" / "00.png", seed=99)

    with pytest.raises(DataError, match=r"task photos: its data has changed since it was described .* describe"):
        source.load(task)


def test_a_touched_file_is_no_change(make_folder: Callable[..., Path]):
    path = make_folder({"a": 3, "b": 3})
    task = source.describe({"path": str(path)})
    os.utime(path / "a" / "00.png", ns=(1, 1))

    assert len(source.load(task).train) == 2


def test_the_same_images_elsewhere_have_the_same_fingerprint(make_folder: Callable[..., Path], tmp_path: Path):
    path = make_folder({"a": 3, "b": 3})
    shutil.copytree(path, tmp_path / "moved")

    first, moved = (source.describe({"path": str(place)}) for place in (path, tmp_path / "moved"))

    assert first.fingerprint == moved.fingerprint


def test_an_empty_folder_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no images; give one sub-folder of images per class"):
        source.describe({"path": str(tmp_path)})


def test_images_without_sub_folders_are_refused(tmp_path: Path, draw: Callable[..., Path]):
    draw(tmp_path / "a.png")

    with pytest.raises(DataError, match="images but no sub-folders; give one sub-folder"):
        source.describe({"path": str(tmp_path)})


def test_a_missing_folder_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"gone: No such file or directory; check the path"):
        source.describe({"path": str(tmp_path / "gone")})


def test_a_file_is_no_folder(tmp_path: Path):
    (tmp_path / "a.txt").write_text("x")

    with pytest.raises(DataError, match="not a folder"):
        source.describe({"path": str(tmp_path / "a.txt")})


def test_one_class_is_refused(make_folder: Callable[..., Path]):
    with pytest.raises(DataError, match="1 class; at least 2 are needed"):
        source.describe({"path": str(make_folder({"a": 5}))})


def test_too_few_images_for_three_splits_are_refused(make_folder: Callable[..., Path]):
    with pytest.raises(DataError, match=r"class 'b' has 2 different images; at least 3 are needed, one for each split"):
        source.describe({"path": str(make_folder({"a": 5, "b": 2}))})


def test_copies_do_not_count_as_images(make_folder: Callable[..., Path]):
    path = make_folder({"a": 5, "b": 2})
    shutil.copy(path / "b" / "00.png", path / "b" / "copy.png")

    with pytest.raises(DataError, match=r"class 'b' has 2 different images \(3 with copies"):
        source.describe({"path": str(path)})


def test_a_class_without_images_is_refused(make_folder: Callable[..., Path]):
    with pytest.raises(DataError, match="class 'b' has no images"):
        source.describe({"path": str(make_folder({"a": 5, "b": 0}))})


def test_a_class_missing_from_the_ready_test_set_is_refused(make_folder: Callable[..., Path]):
    path = make_folder({"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2, "test/a": 2})

    with pytest.raises(DataError, match="class 'b' has no images in photos/test"):
        source.describe({"path": str(path)})


def test_an_unreadable_image_is_named(make_folder: Callable[..., Path]):
    path = make_folder({"a": 3, "b": 3})
    (path / "b" / "01.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")

    with pytest.raises(DataError, match=r"b/01\.png: not a readable image; replace it or leave it out"):
        source.describe({"path": str(path)})


def test_a_torn_image_is_named(make_folder: Callable[..., Path]):
    path = make_folder({"a": 3, "b": 3})
    whole = (path / "b" / "01.png").read_bytes()
    (path / "b" / "01.png").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(DataError, match=r"b/01\.png: not a readable image"):
        source.describe({"path": str(path)})


def test_a_broken_link_is_named(make_folder: Callable[..., Path]):
    path = make_folder({"a": 3, "b": 3})
    (path / "b" / "link.png").symlink_to(path / "gone.png")

    with pytest.raises(DataError, match=r"b/link\.png: No such file"):
        source.describe({"path": str(path)})


def test_a_decompression_bomb_is_refused_before_it_is_decoded(make_folder: Callable[..., Path]):
    path = make_folder({"a": 3, "b": 3})
    Image.new("1", (9000, 9000)).save(path / "b" / "bomb.png")

    with pytest.raises(DataError, match=r"bomb\.png: too large \(9000 × 9000 pixels\)"):
        source.describe({"path": str(path)})


def test_a_million_classes_are_refused_before_any_image_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    many = tuple(f"{number:06d}" for number in range(1_000_000))
    monkeypatch.setattr("transmeta.tasks.folder._sub_folders", lambda root: many)

    with pytest.raises(DataError, match="1000000 classes, and at most 10000 can be learned"):
        source.describe({"path": str(tmp_path)})


@pytest.mark.parametrize("size", [0, 4, 100_000, 3.5, True, "32"])
def test_a_senseless_size_is_refused(make_folder: Callable[..., Path], size: object):
    with pytest.raises(ConfigError, match="give a whole number of pixels from 8 to 512"):
        source.describe({"path": str(make_folder({"a": 3, "b": 3})), "size": size})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "the parameter 'path' is missing"),
        ({"path": 3}, "path = 3 is not a text"),
        ({"path": ".", "sise": 32}, "unknown parameter 'sise'; did you mean 'size'"),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        source.describe(params)


def test_unlabelled_images_are_read_with_their_names(tmp_path: Path, draw: Callable[..., Path]):
    draw(tmp_path / "new" / "b.png", seed=1)
    draw(tmp_path / "new" / "a.jpg", seed=2)

    x, names = read_unlabelled(tmp_path / "new", size=8)

    assert x.shape == (2, 8, 8, 3)
    assert names == ("a.jpg", "b.png")


def test_one_unlabelled_image_is_read(tmp_path: Path, draw: Callable[..., Path]):
    x, names = read_unlabelled(draw(tmp_path / "a.png", mode="L"), size=8)

    assert x.shape == (1, 8, 8, 1)
    assert names == ("a.png",)


def test_no_unlabelled_images_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no images; PNG, JPEG, BMP, GIF and WebP are read"):
        read_unlabelled(tmp_path, size=8)


def test_labelled_images_are_read_unsplit(make_folder: Callable[..., Path]):
    images = read_labelled(make_folder({"a": 1, "b": 2}), size=8)

    assert images.x.shape == (3, 8, 8, 3)
    assert images.y.tolist() == [0, 1, 1]
    assert images.class_names == ("a", "b")
    assert images.files == ("a/00.png", "b/00.png", "b/01.png")
