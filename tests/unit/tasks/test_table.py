"""CSV and Parquet files as tasks."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from transmeta.core import codec
from transmeta.core.task import Modality
from transmeta.errors import ConfigError, DataError
from transmeta.tasks.encoding import TableEncoder
from transmeta.tasks.table import TableTasks, read_unlabelled

source = TableTasks()


def rows(count: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, size=count),
            "height": rng.normal(170, 10, size=count),
            "colour": rng.choice(["red", "green", "blue"], size=count),
            "member": rng.random(count) < 0.5,
            "label": np.tile(["yes", "no", "maybe"], count)[:count],
        }
    )


def save(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path


def describe(path: Path, *, label: str = "label", shots: int | None = None, seed: int = 0):
    return source.describe({"path": str(path), "label": label}, shots=shots, seed=seed)


def load(path: Path, **choices: int | None):
    return source.load(describe(path, **choices))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_are_split_60_20_20(tmp_path: Path, suffix: str):
    path = save(rows(), tmp_path / f"people.{suffix}")

    task = describe(path)
    data = source.load(task)

    assert (task.name, task.modality, task.shape) == ("people", Modality.TABULAR, (7,))
    assert data.class_names == ("maybe", "no", "yes")
    assert [np.bincount(split.y).tolist() for split in (data.train, data.validation, data.test)] == [
        [12] * 3, [4] * 3, [4] * 3
    ]  # fmt: skip
    assert data.train.x.dtype == np.float32


def test_csv_and_parquet_give_the_same_arrays(tmp_path: Path):
    first, second = (load(save(rows(), tmp_path / f"people.{suffix}")) for suffix in ("csv", "parquet"))

    assert np.allclose(first.train.x, second.train.x, atol=1e-6)
    assert np.array_equal(first.test.y, second.test.y)


def test_numbers_are_standardised_by_the_training_split(tmp_path: Path):
    data = load(save(rows(300), tmp_path / "people.csv"))

    assert np.allclose(data.train.x[:, :2].mean(axis=0), 0, atol=1e-5)
    assert np.allclose(data.train.x[:, :2].std(axis=0), 1, atol=1e-5)
    assert not np.allclose(data.test.x[:, :2].mean(axis=0), 0, atol=1e-5)


def test_categories_and_booleans_are_one_hot(tmp_path: Path):
    data = load(save(rows(), tmp_path / "people.csv"))

    one_hot = data.train.x[:, 2:]
    assert set(np.unique(one_hot)) == {0.0, 1.0}
    assert (one_hot[:, :3].sum(axis=1) == 1).all()
    assert (one_hot[:, 3:].sum(axis=1) == 1).all()


def test_at_most_64_categories_are_kept(tmp_path: Path):
    frame = pd.DataFrame({"city": [f"city {number // 2}" for number in range(200)], "label": [0, 1] * 100})
    frame.loc[200:260, "city"] = "rare"

    assert describe(save(frame, tmp_path / "cities.csv")).shape == (64,)


def test_a_missing_category_is_a_category(tmp_path: Path):
    frame = rows()
    frame.loc[:9, "colour"] = None

    assert describe(save(frame, tmp_path / "people.csv")).shape == (8,)


def test_shots_restrict_training_only_and_leave_the_features_alone(tmp_path: Path):
    path = save(rows(), tmp_path / "people.csv")

    one, five = (load(path, shots=shots) for shots in (1, 5))

    assert np.bincount(five.train.y).tolist() == [5] * 3
    assert {row.tobytes() for row in one.train.x} < {row.tobytes() for row in five.train.x}
    assert np.array_equal(one.test.x, five.test.x)


def test_the_seed_fixes_the_split(tmp_path: Path):
    path = save(rows(), tmp_path / "people.csv")

    first, again, other = (load(path, seed=seed) for seed in (1, 1, 2))

    assert np.array_equal(first.train.x, again.train.x)
    assert not np.array_equal(first.train.x, other.train.x)


def test_identical_rows_stay_in_one_split(tmp_path: Path):
    path = save(pd.concat([rows(), rows(), rows()]), tmp_path / "people.csv")

    data = load(path)

    parts = [{row.tobytes() for row in split.x} for split in (data.train, data.validation, data.test)]
    assert sum(len(part) for part in parts) == len(set.union(*parts)) == 60


@pytest.mark.parametrize(
    ("labels", "names"), [([3, 10], ("3", "10")), ([True, False], ("False", "True")), ([1.0, 2.0], ("1", "2"))]
)
def test_labels_may_be_numbers_or_booleans(tmp_path: Path, labels: list[object], names: tuple[str, ...]):
    frame = rows(20).assign(label=labels * 10)

    assert load(save(frame, tmp_path / "people.parquet")).class_names == names


def test_changed_data_is_refused(tmp_path: Path):
    path = save(rows(), tmp_path / "people.csv")
    task = describe(path)
    save(rows(61), path)

    with pytest.raises(DataError, match="task people: its data has changed since it was described"):
        source.load(task)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "2 missing numbers"), (np.inf, "2 infinite"), (1e300, "2 infinite or huge")]
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_numbers_that_are_not_finite_are_refused_by_column(tmp_path: Path, suffix: str, value: float, message: str):
    frame = rows()
    frame.loc[[3, 5], "height"] = value

    with pytest.raises(DataError, match=f"column 'height' has {message}"):
        describe(save(frame, tmp_path / f"people.{suffix}"))


def test_a_missing_label_column_gets_the_nearest_name(tmp_path: Path):
    with pytest.raises(DataError, match="no column 'lable'; did you mean 'label'"):
        describe(save(rows(), tmp_path / "people.csv"), label="lable")


def test_missing_labels_are_counted(tmp_path: Path):
    frame = rows()
    frame.loc[[1, 2, 3], "label"] = None

    with pytest.raises(DataError, match="column 'label': 3 missing labels; remove these rows or label them"):
        describe(save(frame, tmp_path / "people.csv"))


def test_measurements_are_no_labels(tmp_path: Path):
    with pytest.raises(DataError, match="is a measurement, not a class"):
        describe(save(rows(), tmp_path / "people.csv"), label="height")


def test_one_class_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="1 class; at least 2 are needed"):
        describe(save(rows().assign(label="yes"), tmp_path / "people.csv"))


def test_a_class_of_two_rows_is_refused(tmp_path: Path):
    frame = rows()
    frame.loc[[1, 2], "label"] = "odd"

    with pytest.raises(DataError, match="class 'odd' has 2 different rows; at least 3 are needed"):
        describe(save(frame, tmp_path / "people.csv"))


def test_a_million_classes_are_refused(tmp_path: Path):
    frame = pd.DataFrame({"x": np.zeros(1_000_000), "label": np.arange(1_000_000)})

    with pytest.raises(DataError, match="1000000 classes, and at most 10000 can be learned"):
        describe(save(frame, tmp_path / "ids.parquet"))


def test_a_table_of_labels_only_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no column but the label"):
        describe(save(rows()[["label"]], tmp_path / "people.csv"))


def test_dates_are_refused(tmp_path: Path):
    frame = rows().assign(born=pd.Timestamp("2000-01-01"))

    with pytest.raises(DataError, match="column 'born' is of type datetime64"):
        describe(save(frame, tmp_path / "people.parquet"))


def test_lists_are_refused(tmp_path: Path):
    frame = rows().assign(tags=[["a"]] * 60)

    with pytest.raises(DataError, match="column 'tags' holds lists or objects"):
        describe(save(frame, tmp_path / "people.parquet"))


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b""), ("a.csv", b'a,label\n"1,2\n'), ("a.csv", b"\xff\xfe\x00"), ("a.parquet", b"no parquet")],
)
def test_an_unreadable_file_is_named(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=rf"{name}: not a readable"):
        describe(tmp_path / name)


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    (tmp_path / "a.xlsx").write_bytes(b"PK")

    with pytest.raises(DataError, match=r"not a table; give a \.csv or \.parquet file"):
        describe(tmp_path / "a.xlsx")


def test_no_rows_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no rows"):
        describe(save(rows()[:0], tmp_path / "people.csv"))


def test_a_label_parameter_is_needed(tmp_path: Path):
    with pytest.raises(ConfigError, match="the parameter 'label' is missing"):
        source.describe({"path": str(save(rows(), tmp_path / "people.csv"))})


def test_new_rows_are_encoded_as_the_task_is(tmp_path: Path):
    path = save(rows(), tmp_path / "people.csv")
    task = describe(path, seed=3)
    data = source.load(task)

    x = read_unlabelled(path, encoder=source.encoder(task))

    known = {row.tobytes() for split in (data.train, data.validation, data.test) for row in split.x}
    assert {row.tobytes() for row in x} == known


def test_an_encoder_survives_json(tmp_path: Path):
    encoder = source.encoder(describe(save(rows(), tmp_path / "people.csv")))

    assert codec.loads(TableEncoder, codec.dumps(encoder)) == encoder


def test_new_rows_may_lack_the_label_and_bring_new_categories(tmp_path: Path):
    task = describe(save(rows(), tmp_path / "people.csv"))
    new = pd.DataFrame({"member": [True], "colour": ["mauve"], "height": [170.0], "age": [40], "other": [1]})

    x = read_unlabelled(save(new, tmp_path / "new.csv"), encoder=source.encoder(task))

    assert x.shape == (1, 7)
    assert x[0, 2:].tolist() == [0, 0, 0, 0, 1]


def test_new_rows_without_a_column_are_refused(tmp_path: Path):
    task = describe(save(rows(), tmp_path / "people.csv"))
    new = rows().drop(columns=["label"]).rename(columns={"height": "hight"})

    with pytest.raises(DataError, match="no column 'height'; did you mean 'hight'"):
        read_unlabelled(save(new, tmp_path / "new.csv"), encoder=source.encoder(task))


def test_new_rows_with_texts_for_numbers_are_refused(tmp_path: Path):
    task = describe(save(rows(), tmp_path / "people.csv"))
    new = rows().assign(height="tall")

    with pytest.raises(DataError, match="column 'height' holds texts, and numbers were learned"):
        read_unlabelled(save(new, tmp_path / "new.csv"), encoder=source.encoder(task))


def test_a_constant_column_becomes_zero(tmp_path: Path):
    data = load(save(rows().assign(height=0.1), tmp_path / "people.csv"))

    assert np.abs(data.train.x[:, 1]).max() < 1e-6
