import dataclasses

import numpy as np
import pytest

from transmeta.errors import InputError
from transmeta.experiments.table_test.figures import Points
from transmeta.experiments.table_test.folds import default_split, folds
from transmeta.experiments.table_test.ground import Ground
from transmeta.experiments.table_test.harness import play
from transmeta.experiments.table_test.lessons import OrderLearned
from transmeta.experiments.table_test.orders import GreedyRegret
from transmeta.experiments.table_test.split import Split
from transmeta.policies.adaptive.protocol import Curves

from .cases import finals, random_table


def made(**columns: object) -> Ground:
    return Ground(finals(np.arange(18.0).reshape(6, 3) % 7, **columns))


def test_all_targets_of_a_data_set_leave_together() -> None:
    parts = folds(made(families=["a", "a", "b", "b", "c", "c"]), Split.TARGET)

    assert [(fold.name, fold.known, fold.test) for fold in parts] == [
        ("a", (2, 3, 4, 5), (0, 1)),
        ("b", (0, 1, 4, 5), (2, 3)),
        ("c", (0, 1, 2, 3), (4, 5)),
    ]


def test_many_data_sets_leave_in_twelve_parts_and_each_is_tested_once() -> None:
    families = [f"f{index:02d}" for index in range(15) for _ in range(2)]

    table = finals(np.arange(90.0).reshape(30, 3) % 7, families=families)
    parts = folds(Ground(table), Split.TARGET)

    assert len(parts) == 12
    assert sorted(row for fold in parts for row in fold.test) == list(range(30))
    for fold in parts:
        assert not {families[row] for row in fold.test} & {families[row] for row in fold.known}


def test_all_data_sets_of_a_domain_leave_together() -> None:
    ground = made(families=list("aabbcd"), domains=["x", "x", "y", "y", "y", "x"])

    assert default_split(ground) is Split.FAMILY
    assert [fold.test for fold in folds(ground, Split.FAMILY)] == [(0, 1, 5), (2, 3, 4)]
    assert default_split(made()) is Split.TARGET


def test_with_a_source_the_tested_data_sets_leave_too_and_each_is_tested_once_per_source() -> None:
    parts = folds(made(families=list("aabcde"), sources=["cats", "dogs", "dogs"]), Split.SOURCE)

    assert {fold.hidden for fold in parts} == {("cats",), ("dogs",)}
    for source in ("cats", "dogs"):
        tested = [index for fold in parts if fold.hidden == (source,) for index in fold.test]
        assert sorted(tested) == list(range(6))
    assert all(fold.known and not set(fold.known) & set(fold.test) for fold in parts)
    assert all((0 in fold.test) == (1 in fold.test) for fold in parts)


def test_in_time_only_what_came_before_is_known() -> None:
    parts = folds(made(families=list("aabbcd")), Split.TIME)

    assert [(fold.known, fold.test) for fold in parts] == [((0, 1, 2, 3), (4,)), ((0, 1, 2, 3, 4), (5,))]


@pytest.mark.parametrize(("split", "families"), [(Split.TARGET, "aaaaaa"), (Split.TIME, "aaabbb")])
def test_too_few_data_sets_are_refused(split: Split, families: str) -> None:
    with pytest.raises(InputError, match="collect on more data sets"):
        folds(made(families=list(families)), split)


def test_a_table_without_sources_cannot_be_split_by_them() -> None:
    with pytest.raises(InputError, match="column 'source'"):
        folds(made(), Split.SOURCE)


class Spy:
    """Remembers what it may learn from."""

    name = "spy"
    is_random = False

    def __init__(self) -> None:
        self.seen: dict[tuple[str, ...], Curves] = {}

    def learn(self, curves: Curves, *, seed: int) -> OrderLearned:
        self.seen[curves.targets] = curves
        return GreedyRegret().learn(curves, seed=seed)


@pytest.mark.parametrize("split", list(Split))
def test_nothing_of_the_targets_that_are_left_out_can_be_learned(split: Split) -> None:
    columns = {"families": list("aabbcd"), "sources": ["cats"] * 8 + ["dogs"] * 7}
    first = random_table(seed=1, **columns)
    for fold in folds(Ground(first), split):
        other = random_table(seed=2, **columns)
        values, failed = first.values.copy(), first.failed.copy()
        values[list(fold.test)], failed[list(fold.test)] = other.values[list(fold.test)], other.failed[list(fold.test)]
        spies = Spy(), Spy()

        for spy, table in zip(spies, (first, dataclasses.replace(first, values=values, failed=failed)), strict=True):
            play(Ground(table), [spy], folds=[fold], points=Points(count=2), clock=lambda: 0.0)

        (one,), (two,) = (tuple(spy.seen.values()) for spy in spies)
        for name in ("values", "failed", "observed", "steps", "cost_s", "final", "regret"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
