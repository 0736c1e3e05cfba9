"""Packs of others' data, in the formats that are known."""

from pathlib import Path

import numpy as np
import pytest

from transmeta.errors import ConfigError, DataError, UnknownNameError, UnsafeFileError
from transmeta.tasks.pack import PackTasks

source = PackTasks()


def noise(count: int, *, channels: tuple[int, ...] = ()) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(count, 32, 32, *channels), dtype=np.uint8)


def write_omniglot(folder: Path) -> None:
    names = ("Greek", "Ge_ez", "Malay_(Jawi_-_Arabic)")
    alphabet, char, drawer = (axis.ravel() for axis in np.meshgrid(range(3), range(1, 5), range(1, 21), indexing="ij"))
    np.savez(
        folder / "omniglot32.npz",
        x=noise(240),
        alphabet=np.array(names)[alphabet],
        char=char.astype(np.int16),
        drawer=drawer.astype(np.int16),
        split=np.array(["background", "evaluation", "background"])[alphabet],
    )


def write_tinyimagenet(folder: Path) -> None:
    y = np.repeat(np.arange(40), 10)
    np.savez(
        folder / "tinyimagenet_32.npz",
        x=noise(400, channels=(3,)),
        y=y.astype(np.int16),
        is_val=np.arange(400) % 10 < 3,
        wnid=np.array([f"n{number:08d}" for number in range(40)]),
        name=np.array([f"thing {number}, Res {number}" for number in range(40)]),
    )


def write_emoji(folder: Path) -> None:
    vendors = np.repeat(["noto", "noto-v1", "twemoji"], 45)
    icons = np.array([f"thing-{number}" for number in range(43)] + ["man-cook", "woman-cook"])
    np.savez(
        folder / "emoji32.npz",
        x=noise(135, channels=(3,)),
        y=np.tile(np.repeat([0, 1, 2], [20, 5, 20]), 3).astype(np.int16),
        set=vendors,
        icon=np.tile(icons, 3),
        group=np.array(["Objects", "Flags", "People"]),
    )


def write_plain(folder: Path, file: str) -> None:
    np.savez(folder / file, x=noise(100), y=np.tile(np.arange(10), 10).astype(np.int16))


def load(folder: Path, task: str):
    return source.load(source.describe({"path": str(folder), "task": task}))


def test_all_packs_of_a_folder_are_found(tmp_path: Path):
    write_omniglot(tmp_path)
    write_tinyimagenet(tmp_path)
    write_emoji(tmp_path)
    for file in ("mnist10k_32.npz", "usps_test32.npz", "animalmnist32.npz", "unknown.npz"):
        write_plain(tmp_path, file)
    (tmp_path / "notes.txt").write_text("not a pack")

    tasks = {task.name: (task.domain, task.dataset) for task in source.available(tmp_path)}

    assert tasks == {
        "animals": ("silhouettes", "animals"),
        "animals-even": ("silhouettes", "animals"),
        "animals-odd": ("silhouettes", "animals"),
        "emoji-noto": ("emoji", "emoji-noto"),
        "emoji-noto-v1": ("emoji", "emoji-noto"),
        "emoji-twemoji": ("emoji", "emoji-twemoji"),
        "mnist": ("digits", "mnist"),
        "omniglot-background": ("alphabets", "omniglot-background"),
        "omniglot-ge-ez": ("alphabets", "omniglot-ge-ez"),
        "omniglot-greek": ("alphabets", "omniglot-background"),
        "omniglot-malay-jawi-arabic": ("alphabets", "omniglot-background"),
        "tinyimagenet-even": ("photos", "tinyimagenet-even"),
        "tinyimagenet-g00": ("photos", "tinyimagenet-g00"),
        "tinyimagenet-g01": ("photos", "tinyimagenet-g01"),
        "usps": ("digits", "usps"),
    }


def test_what_is_available_can_be_loaded(tmp_path: Path):
    write_emoji(tmp_path)
    write_plain(tmp_path, "usps_test32.npz")

    for task in source.available(tmp_path):
        data = source.load(task)
        assert data.train.x.shape[1:] == task.shape
        assert len(data.class_names) == task.class_count == data.train.y.max() + 1


def test_no_drawer_is_in_two_splits(tmp_path: Path):
    write_omniglot(tmp_path)
    arrays = np.load(tmp_path / "omniglot32.npz", allow_pickle=False)
    drawer_of = {x.tobytes(): drawer for x, drawer in zip(arrays["x"], arrays["drawer"], strict=True)}

    data = load(tmp_path, "omniglot-ge-ez")

    drawers = [{drawer_of[x.tobytes()] for x in split.x} for split in (data.train, data.validation, data.test)]
    assert [len(part) for part in drawers] == [10, 4, 6]
    assert len(set.union(*drawers)) == 20
    assert data.class_names == ("Ge_ez/01", "Ge_ez/02", "Ge_ez/03", "Ge_ez/04")


def test_odd_classes_are_targets_and_even_ones_the_source(tmp_path: Path):
    write_tinyimagenet(tmp_path)

    assert load(tmp_path, "tinyimagenet-g01").class_names == tuple(f"thing {number}" for number in range(21, 41, 2))
    assert load(tmp_path, "tinyimagenet-even").class_names == tuple(f"thing {number}" for number in range(0, 40, 2))


def test_published_validation_images_are_the_test_set(tmp_path: Path):
    write_tinyimagenet(tmp_path)
    arrays = np.load(tmp_path / "tinyimagenet_32.npz", allow_pickle=False)

    data = load(tmp_path, "tinyimagenet-g00")

    assert {x.tobytes() for x in data.test.x} <= {x.tobytes() for x in arrays["x"][arrays["is_val"]]}
    assert [len(data.train), len(data.validation), len(data.test)] == [50, 20, 30]


def test_cifar_keeps_its_test_set(tmp_path: Path):
    is_test = np.arange(200) >= 150
    np.savez(
        tmp_path / "cifar10_32.npz", x=noise(200, channels=(3,)), y=np.tile(np.arange(10), 20).astype(np.int16),
        is_test=is_test,
    )  # fmt: skip

    data = load(tmp_path, "cifar10")

    assert len(data.test) == 50
    assert {x.tobytes() for x in data.test.x} == {x.tobytes() for x in noise(200, channels=(3,))[is_test]}


def test_small_emoji_groups_are_left_out_and_variants_of_a_person_are_one(tmp_path: Path):
    write_emoji(tmp_path)

    data = load(tmp_path, "emoji-twemoji")

    assert data.class_names == ("Objects", "People")
    assert sum(len(split) for split in (data.train, data.validation, data.test)) == 20 - 1 + 20


def test_a_pack_is_found_by_file_as_by_folder(tmp_path: Path):
    write_plain(tmp_path, "usps_test32.npz")

    by_folder, by_file = (
        source.describe({"path": str(path), "task": "usps"}) for path in (tmp_path, tmp_path / "usps_test32.npz")
    )

    assert by_folder == by_file
    assert by_file.params["path"] == str(tmp_path / "usps_test32.npz")


def test_changed_data_is_refused(tmp_path: Path):
    write_plain(tmp_path, "usps_test32.npz")
    task = source.describe({"path": str(tmp_path), "task": "usps"})
    np.savez(tmp_path / "usps_test32.npz", x=255 - noise(100), y=np.tile(np.arange(10), 10))

    with pytest.raises(DataError, match="task usps: its data has changed"):
        source.load(task)


def test_an_unknown_task_gets_the_nearest_name(tmp_path: Path):
    write_omniglot(tmp_path)

    with pytest.raises(UnknownNameError, match="did you mean 'omniglot-greek'"):
        load(tmp_path, "omniglot-greec")


def test_a_folder_without_packs_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no pack in this folder; known: animalmnist32"):
        load(tmp_path, "usps")
    assert source.available(tmp_path) == []


def test_a_file_that_is_no_known_pack_is_refused(tmp_path: Path):
    write_plain(tmp_path, "mine.npz")

    with pytest.raises(DataError, match="not a known pack"):
        load(tmp_path / "mine.npz", "usps")


def test_a_pickled_pack_is_refused(tmp_path: Path):
    np.savez(tmp_path / "usps_test32.npz", x=noise(3), y=np.array([{}, {}, {}], dtype=object))

    with pytest.raises(UnsafeFileError, match="pickled objects"):
        load(tmp_path, "usps")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (noise(10) / 255, np.arange(10), "not grey or RGB images in uint8"),
        (noise(10, channels=(4,)), np.arange(10), "not grey or RGB"),
        (noise(10)[:0], np.arange(0), "not grey or RGB"),
        (noise(10), np.arange(9), "y has shape"),
        (noise(10), np.arange(10) - 1, "class indices from 0"),
        (noise(10), np.arange(10) / 2, "class indices from 0"),
    ],
)
def test_a_malformed_pack_is_refused(tmp_path: Path, x: np.ndarray, y: np.ndarray, message: str):
    np.savez(tmp_path / "usps_test32.npz", x=x, y=y)

    with pytest.raises(DataError, match=message):
        load(tmp_path, "usps")


def test_both_parameters_are_needed(tmp_path: Path):
    with pytest.raises(ConfigError, match="the parameter 'task' is missing"):
        source.describe({"path": str(tmp_path)})
