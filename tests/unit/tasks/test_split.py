"""Splits are disjoint, cover all classes, and depend on nothing but labels, groups and the seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transmeta.errors import InputError
from transmeta.tasks.split import (
    OWN_FRACTIONS,
    POOL_FRACTIONS,
    Limits,
    Partition,
    by_group,
    check_shots,
    content_groups,
    first_per_class,
    row_groups,
    stratified,
)

seeds = st.integers(min_value=0, max_value=2**32)


def everything(parts: tuple[np.ndarray, ...]) -> list[int]:
    return sorted(np.concatenate(parts).tolist())


@settings(max_examples=60, deadline=None)
@given(seed=seeds, group_count=st.integers(3, 25), class_count=st.integers(2, 12), data=st.data())
def test_splits_by_group_are_disjoint_and_cover_all_classes_that_every_group_has(seed, group_count, class_count, data):
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=group_count, max_size=group_count))
    labels = np.concatenate([np.tile(np.arange(class_count), size) for size in sizes])
    groups = np.repeat(np.arange(group_count), [size * class_count for size in sizes])

    found = by_group(labels, groups=groups, class_count=class_count, fractions=POOL_FRACTIONS, seed=seed)

    parts = (found.train, found.validation, found.test)
    assert sum(len(set(groups[part])) for part in parts) == group_count
    assert everything(parts) == list(range(len(labels)))
    assert found.covered(labels, class_count=class_count).all()


@settings(max_examples=60, deadline=None)
@given(seed=seeds, data=st.data())
def test_splits_by_group_never_share_a_group_however_patchy_the_groups_are(seed, data):
    pairs = data.draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=80))
    labels, groups = np.array(pairs).T

    found = by_group(labels, groups=groups, class_count=6, fractions=POOL_FRACTIONS, seed=seed)

    parts = (found.train, found.validation, found.test)
    assert everything(parts) == list(range(len(labels)))
    assert sum(len(set(groups[part])) for part in parts) == len(set(groups))


def test_a_class_in_three_groups_of_many_is_in_all_splits():
    groups = np.repeat(np.arange(30), 10)
    labels = np.tile(np.arange(10), 30)
    rare = (labels == 9) & ~np.isin(groups, (3, 14, 22))
    labels, groups = labels[~rare], groups[~rare]

    for seed in range(20):
        found = by_group(labels, groups=groups, class_count=10, fractions=POOL_FRACTIONS, seed=seed)
        assert found.covered(labels, class_count=10).all()


def test_a_class_in_two_groups_is_not_covered():
    labels, groups = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 0, 1])

    found = by_group(labels, groups=groups, class_count=2, fractions=POOL_FRACTIONS, seed=0)

    assert found.covered(labels, class_count=2).tolist() == [True, False]


@settings(max_examples=60, deadline=None)
@given(seed=seeds, counts=st.lists(st.integers(3, 30), min_size=2, max_size=8), copies=st.integers(1, 3))
def test_stratified_splits_are_disjoint_by_group_and_every_class_is_in_all_of_them(seed, counts, copies):
    labels = np.repeat(np.repeat(np.arange(len(counts)), counts), copies)
    groups = np.repeat(np.arange(sum(counts)), copies)

    parts = stratified(labels, groups=groups, fractions=OWN_FRACTIONS, seed=seed)

    assert everything(parts) == list(range(len(labels)))
    assert sum(len(set(groups[part])) for part in parts) == sum(counts)
    assert all(set(labels[part]) == set(range(len(counts))) for part in parts)


def test_stratified_splits_have_the_fractions_that_are_asked_for():
    labels = np.repeat(np.arange(4), 100)

    parts = stratified(labels, groups=np.arange(400), fractions=OWN_FRACTIONS, seed=1)

    assert [np.bincount(labels[part]).tolist() for part in parts] == [[60] * 4, [20] * 4, [20] * 4]


def test_copies_under_two_labels_stay_together():
    labels = np.array([0] * 6 + [1] * 6)
    groups = np.array([0, 1, 2, 3, 4, 5, 0, 6, 7, 8, 9, 10])

    for seed in range(10):
        parts = stratified(labels, groups=groups, fractions=OWN_FRACTIONS, seed=seed)
        assert sum({0, 6} <= set(part.tolist()) for part in parts) == 1


def test_another_seed_gives_another_split_and_the_same_seed_the_same():
    labels, groups = np.tile(np.arange(5), 40), np.arange(200)

    first, again, other = (
        stratified(labels, groups=groups, fractions=OWN_FRACTIONS, seed=seed)[0] for seed in (7, 7, 8)
    )

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_another_seed_gives_another_split_by_group():
    labels, groups = np.tile(np.arange(5), 40), np.repeat(np.arange(40), 5)

    first, again, other = (
        by_group(labels, groups=groups, class_count=5, fractions=POOL_FRACTIONS, seed=seed).test for seed in (7, 7, 8)
    )

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@given(seed=seeds, counts=st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_fewer_shots_are_a_subset_of_more(seed, counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    index = np.arange(len(labels))

    three, ten = (first_per_class(labels, index=index, count=count, seed=seed) for count in (3, 10))

    assert set(three) <= set(ten)
    assert np.bincount(labels[three], minlength=len(counts)).tolist() == [min(3, count) for count in counts]


def test_no_limit_keeps_everything():
    labels, index = np.zeros(9, dtype=np.int64), np.arange(9)
    whole = Partition(train=index[:5], validation=index[5:7], test=index[7:])

    limited = whole.limited(labels, limits=Limits(train=None), seed=0)

    assert limited.train.tolist() == [0, 1, 2, 3, 4]
    assert limited.test.tolist() == [7, 8]


def test_an_empty_index_stays_empty():
    assert first_per_class(np.zeros(0, dtype=np.int64), index=np.zeros(0, dtype=np.int64), count=3, seed=0).size == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_content_groups_are_equal_for_identical_examples_only(dtype):
    x = np.array([[1, 2], [3, 4], [1, 2], [2, 1]], dtype=dtype)

    assert content_groups(x).tolist() == [0, 1, 0, 2]


def test_stratified_splits_are_alike_in_examples_where_groups_differ_in_size():
    sizes = np.r_[np.full(10, 20), np.full(200, 1)]
    groups = np.repeat(np.arange(210), sizes)
    labels = np.zeros(400, dtype=np.int64)

    for seed in range(5):
        parts = stratified(labels, groups=groups, fractions=OWN_FRACTIONS, seed=seed)
        assert np.allclose([len(part) / 400 for part in parts], OWN_FRACTIONS, atol=0.05)


def test_a_stratified_split_in_two_has_the_fractions_that_are_asked_for():
    parts = stratified(np.zeros(1000, dtype=np.int64), groups=np.arange(1000), fractions=(0.8, 0.2), seed=0)

    assert [len(part) for part in parts] == [800, 200]


def test_rows_are_copies_only_within_a_class():
    x = np.array([[1, 2], [1, 2], [1, 2]], dtype=np.float32)

    assert row_groups(x, np.array([0, 1, 0])).tolist() == [0, 1, 0]


def test_more_shots_than_any_class_has_examples_are_refused():
    labels = np.repeat([0, 1], [4, 7])

    check_shots(7, labels=labels)
    check_shots(None, labels=labels)

    with pytest.raises(InputError, match="@8: no class has so many examples, the largest has 7"):
        check_shots(8, labels=labels)
