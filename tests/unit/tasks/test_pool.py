"""Packaged data becomes tasks: copies removed, caps per class, groups kept apart."""

from pathlib import Path

import numpy as np
import pytest

from transmeta.errors import ConfigError, DataError, UnknownNameError
from transmeta.tasks.packaged import packaged_pools
from transmeta.tasks.pool import (
    Pool,
    describe_pool,
    find_pool,
    limits_for,
    load_pool,
    with_classes_of,
    without_copies,
)


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(count, 8, 8), dtype=np.uint8)


def make_pool(*, per_class: int = 200, groups: np.ndarray | None = None, test: np.ndarray | None = None) -> Pool:
    return Pool(
        name="noise",
        dataset="noise",
        domain="noise",
        x=noise(2 * per_class),
        y=np.repeat(np.arange(2), per_class),
        class_names=("a", "b"),
        groups=groups,
        test=test,
    )


def load(pool: Pool, *, shots: int | None = None, seed: int = 0):
    return load_pool(pool, task=describe_pool(pool, provider="test", params={}, shots=shots, seed=seed))


@pytest.mark.parametrize(
    ("shots", "train", "validation"), [(3, 3, 10), (10, 10, 10), (30, 30, 15), (None, 60, 15), (1000, 100, 15)]
)
def test_splits_are_capped_per_class(shots: int | None, train: int, validation: int):
    data = load(make_pool(), shots=shots)

    counts = [np.bincount(split.y).tolist() for split in (data.train, data.validation, data.test)]
    assert counts == [[train] * 2, [validation] * 2, [25] * 2]


def test_tasks_that_differ_in_shots_have_the_same_test_examples_and_nested_training_sets():
    three, ten = (load(make_pool(), shots=shots) for shots in (3, 10))

    assert np.array_equal(three.test.x, ten.test.x)
    assert np.array_equal(three.validation.x, ten.validation.x)
    assert {x.tobytes() for x in three.train.x} < {x.tobytes() for x in ten.train.x}


def test_a_smaller_validation_set_is_part_of_the_larger():
    few, many = (load(make_pool(), shots=shots) for shots in (10, 30))

    assert {x.tobytes() for x in few.validation.x} < {x.tobytes() for x in many.validation.x}


def test_the_seed_fixes_the_splits():
    first, again, other = (load(make_pool(), shots=3, seed=seed) for seed in (1, 1, 2))

    assert np.array_equal(first.train.x, again.train.x)
    assert not np.array_equal(first.train.x, other.train.x)
    assert not np.array_equal(first.test.x, other.test.x)


def test_images_that_the_publisher_set_aside_are_the_test_set():
    is_test = np.arange(400) % 4 == 0
    pool = make_pool(test=is_test)

    data = load(pool)

    assert {x.tobytes() for x in data.test.x[..., 0]} <= {x.tobytes() for x in pool.x[is_test]}
    rest = {x.tobytes() for x in pool.x[~is_test]}
    assert {x.tobytes() for x in np.concatenate([data.train.x, data.validation.x])[..., 0]} <= rest


def test_copies_are_removed_whatever_their_class():
    pool = Pool(
        name="twins", dataset="twins", domain="noise", x=noise(4)[[0, 1, 0, 2, 3]], y=np.array([0, 0, 1, 1, 1]),
        class_names=("a", "b"), groups=np.arange(5),
    )  # fmt: skip

    lone = without_copies(pool)

    assert lone.y.tolist() == [0, 0, 1, 1]
    assert lone.groups is not None
    assert lone.groups.tolist() == [0, 1, 3, 4]


def test_small_classes_are_left_out_and_the_others_renumbered():
    pool = Pool(
        name="n", dataset="n", domain="n", x=noise(7), y=np.array([0, 0, 0, 1, 2, 2, 2]), class_names=("a", "b", "c")
    )

    kept = with_classes_of(pool, at_least=2)

    assert kept.class_names == ("a", "c")
    assert kept.y.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_class_that_cannot_be_in_all_splits_is_left_out():
    groups = np.tile(np.arange(10), 3)
    groups[20:] = 0
    pool = Pool(
        name="n", dataset="n", domain="n", x=noise(30), y=np.repeat(np.arange(3), 10), class_names=("a", "b", "c"),
        groups=groups,
    )  # fmt: skip
    task = describe_pool(pool, provider="test", params={}, shots=None, seed=0)

    data = load_pool(pool, task=task)

    assert task.class_count == 2
    assert data.class_names == ("a", "b")
    assert set(data.train.y) == set(data.validation.y) == set(data.test.y) == {0, 1}


def test_too_few_groups_are_refused():
    with pytest.raises(DataError, match="task noise: 0 of 2 classes"):
        describe_pool(make_pool(groups=np.arange(400) % 2), provider="test", params={}, shots=None, seed=0)


def test_changed_data_is_refused():
    pool = make_pool()
    task = describe_pool(pool, provider="test", params={}, shots=None, seed=0)
    pool.x[0, 0, 0] ^= 1

    with pytest.raises(DataError, match="has changed since it was described"):
        load_pool(pool, task=task)


def test_loaded_arrays_are_copies_with_channels():
    pool = make_pool()

    data = load(pool)
    data.train.x[:] = 0

    assert data.train.x.shape[1:] == (8, 8, 1)
    assert pool.x.any()
    assert data.train.y.dtype == np.int64


def test_limits_grow_with_shots():
    assert limits_for(10).validation == 10
    assert limits_for(30).validation == 15


def test_a_packaged_file_holds_one_pool_per_task(packaged_file: Path):
    pools = packaged_pools(
        packaged_file, provider="glyphs", domain="scripts", class_array="character", task_array="script"
    )

    assert sorted(pools) == ["glyphs-cyrl", "glyphs-grek"]
    assert pools["glyphs-grek"]().class_names == ("α", "β", "γ")
    assert pools["glyphs-grek"]().dataset == "glyphs-grek"
    assert pools["glyphs-cyrl"]().y.max() == 1


def test_a_rewritten_packaged_file_is_read_again(packaged_file: Path):
    arguments = {"provider": "glyphs", "domain": "scripts", "class_array": "character", "task_array": "script"}
    before = packaged_pools(packaged_file, **arguments)["glyphs-grek"]()
    arrays = dict(np.load(packaged_file, allow_pickle=False))
    np.savez(packaged_file, **{**arrays, "x": 255 - arrays["x"]})

    after = packaged_pools(packaged_file, **arguments)["glyphs-grek"]()

    assert not np.array_equal(before.x, after.x)


def test_missing_packaged_data_says_what_to_do(tmp_path: Path):
    with pytest.raises(DataError, match="packaged data is missing; install transmeta again"):
        packaged_pools(tmp_path / "no.npz", provider="p", domain="d", class_array="c", task_array="t")


def test_an_unknown_task_gets_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'noise'"):
        find_pool({"noise": make_pool}, {"task": "noize"}, provider="test")


def test_an_unknown_parameter_is_refused():
    with pytest.raises(ConfigError, match="unknown parameter 'tsk'; did you mean 'task'"):
        find_pool({"noise": make_pool}, {"tsk": "noise"}, provider="test")
