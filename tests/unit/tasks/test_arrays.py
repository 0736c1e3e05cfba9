"""NumPy arrays as tasks."""

from pathlib import Path

import numpy as np
import pytest

from transmeta.core.task import Modality
from transmeta.errors import ConfigError, DataError, InputError, UnsafeFileError
from transmeta.tasks.arrays import ArrayTasks, encode

source = ArrayTasks()


def images(count: int = 40, *, channels: tuple[int, ...] = ()) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(count, 8, 6, *channels), dtype=np.uint8)


def table(count: int = 40) -> np.ndarray:
    return np.random.default_rng(0).normal(5, 3, size=(count, 4))


def labels(count: int = 40) -> np.ndarray:
    return np.arange(count) % 2


def save(x: np.ndarray, y: np.ndarray, folder: Path, *, seed: int = 0):
    return ArrayTasks.save(x, y, folder=folder, name="mine", seed=seed)


@pytest.mark.parametrize(("channels", "shape"), [((), (8, 6, 1)), ((1,), (8, 6, 1)), ((3,), (8, 6, 3))])
def test_images_are_kept_in_uint8_with_channels(tmp_path: Path, channels: tuple[int, ...], shape: tuple[int, ...]):
    x = images(channels=channels)

    task = save(x, labels(), tmp_path)
    data = source.load(task)

    assert (task.name, task.provider, task.modality, task.shape) == ("mine", "arrays", Modality.IMAGE, shape)
    assert {example.tobytes() for example in data.train.x} <= {example.tobytes() for example in x}
    assert [len(data.train), len(data.validation), len(data.test)] == [24, 8, 8]


def test_images_of_floats_are_taken_from_0_to_1(tmp_path: Path):
    as_bytes = source.load(save(images(), labels(), tmp_path / "bytes"))
    as_floats = source.load(save(images() / 255, labels(), tmp_path / "floats"))

    assert np.array_equal(as_bytes.train.x, as_floats.train.x)


def test_images_of_booleans_are_black_and_white(tmp_path: Path):
    assert set(np.unique(source.load(save(images() > 127, labels(), tmp_path)).train.x)) == {0, 255}


def test_tables_are_standardised_by_the_training_split(tmp_path: Path):
    task = save(table(), labels(), tmp_path)
    data = source.load(task)

    assert (task.modality, task.shape, task.domain) == (Modality.TABULAR, (4,), "tables")
    assert data.train.x.dtype == np.float32
    assert np.allclose(data.train.x.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(data.train.x.std(axis=0), 1, atol=1e-5)


def test_new_rows_are_encoded_as_the_task_is(tmp_path: Path):
    task = save(table(), labels(), tmp_path, seed=4)
    data = source.load(task)

    x = encode(table(), encoder=ArrayTasks.encoder(task))

    known = {row.tobytes() for split in (data.train, data.validation, data.test) for row in split.x}
    assert {row.tobytes() for row in x} == known


def test_new_images_are_encoded_as_the_task_is(tmp_path: Path):
    task = save(images(), labels(), tmp_path)

    assert ArrayTasks.encoder(task) is None
    assert encode(images() / 255, encoder=None).shape == (40, 8, 6, 1)


def test_new_rows_of_another_width_are_refused(tmp_path: Path):
    encoder = ArrayTasks.encoder(save(table(), labels(), tmp_path))

    with pytest.raises(DataError, match="x has 3 columns, and 4 were learned"):
        encode(table()[:, :3], encoder=encoder)
    with pytest.raises(DataError, match="give a table, as in training"):
        encode(images(), encoder=encoder)


@pytest.mark.parametrize(
    ("y", "names"),
    [
        (np.array(["cat", "dog"] * 20), ("cat", "dog")),
        (np.array(["cat", "dog"] * 20, dtype=object), ("cat", "dog")),
        (np.array([10, 9] * 20), ("9", "10")),
        (np.array([True, False] * 20), ("False", "True")),
        (np.array([1.0, 2.0] * 20), ("1", "2")),
    ],
)
def test_labels_may_be_texts_or_numbers(tmp_path: Path, y: np.ndarray, names: tuple[str, ...]):
    assert source.load(save(images(), y, tmp_path)).class_names == names


def test_shots_restrict_training_only(tmp_path: Path):
    task = save(images(), labels(), tmp_path)

    one, three = (source.load(source.describe(task.params, shots=shots)) for shots in (1, 3))

    assert np.bincount(three.train.y).tolist() == [3, 3]
    assert {x.tobytes() for x in one.train.x} < {x.tobytes() for x in three.train.x}
    assert np.array_equal(one.test.x, three.test.x)


def test_saving_the_same_arrays_gives_the_same_task(tmp_path: Path):
    assert save(images(), labels(), tmp_path) == save(images(), labels(), tmp_path)


def test_changed_arrays_are_refused(tmp_path: Path):
    task = save(images(), labels(), tmp_path)
    save(images(), 1 - labels(), tmp_path)

    with pytest.raises(DataError, match="task mine: its data has changed since it was described"):
        source.load(task)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, r"column '2' has 1 missing numbers \(NaN\)"), (np.inf, "column '2' has 1 infinite")]
)
def test_numbers_that_are_not_finite_are_refused_and_nothing_is_written(tmp_path: Path, value: float, message: str):
    x = table()
    x[7, 2] = value

    with pytest.raises(DataError, match=message):
        save(x, labels(), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, 1.5, -0.1])
def test_images_of_floats_beyond_0_to_1_are_refused(tmp_path: Path, value: float):
    x = images() / 255
    x[0, 0, 0] = value

    with pytest.raises(DataError, match="x has 1 values that are not from 0 to 1"):
        save(x, labels(), tmp_path)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (images(), labels(39), "one label for each"),
        (images(), labels()[:, None], "one label for each"),
        (images()[:0], labels()[:0], "x is empty"),
        (images(), labels() * 0, "1 class; at least 2"),
        (images(), np.array([0] * 38 + [1] * 2), "class '1' has 2 different examples"),
        (images(channels=(4,)), labels(), "x has shape"),
        (images()[0, 0], labels(6), "x has shape"),
        (np.array([["a"]] * 40), labels(), "x is of type <U1"),
        (table(), labels() + 0.5, "is a measurement, not a class"),
        (table(), np.array(["a", None] * 20, dtype=object), "20 missing labels"),
        (table(), np.array([1.0, np.nan] * 20), "20 missing labels"),
        (table(), np.array([("a",), ("b",)] * 20 + [None], dtype=object)[:40], "neither texts nor integers"),
    ],
)
def test_bad_arrays_are_refused(tmp_path: Path, x: np.ndarray, y: np.ndarray, message: str):
    with pytest.raises(DataError, match=message):
        save(x, y, tmp_path)


@pytest.mark.parametrize("name", ["../escape", "", "a/b", ".hidden", "x" * 200])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str):
    with pytest.raises(InputError, match="task name"):
        ArrayTasks.save(images(), labels(), folder=tmp_path, name=name, seed=0)


def test_a_pickled_file_is_refused(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x=images(), y=np.array([{}] * 40, dtype=object))

    with pytest.raises(UnsafeFileError, match="pickled objects"):
        source.describe({"path": str(tmp_path / "a.npz")})


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="No such file"):
        source.describe({"path": str(tmp_path / "a.npz")})


def test_another_parameter_is_refused():
    with pytest.raises(ConfigError, match="unknown parameter 'paht'; did you mean 'path'"):
        source.describe({"paht": "a"})
