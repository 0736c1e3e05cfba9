import numpy as np
import pytest

from transmeta.errors import InputError
from transmeta.experiments.table_test.ground import Ground
from transmeta.policies.adaptive.protocol import Allowance

from .cases import NAN, finals, ground, random_table, table

ALLOWANCE = Allowance(evaluations=1)


def test_the_regret_of_curves_is_three_from_the_divergence_on() -> None:
    curves = ground([[[1, 2, 3], [5, 6, 7], [0, NAN, NAN], [-9, -1, 5]]]).curves([0])

    # best 7, median 5, scale 2
    assert curves.regret[0].tolist() == [[3, 2.5, 2], [1, 0.5, 0], [3, 3, 3], [3, 3, 1]]
    assert curves.final[0].tolist()[:2] == [3, 7]
    assert np.isnan(curves.final[0, 2])


def test_a_gap_keeps_the_last_value_and_is_no_failure() -> None:
    target = ground([[[NAN, 2, NAN, 4], [1, 1, 1, 1]]]).targets[0]

    assert target.utility[0].tolist() == [-np.inf, 2, 2, 4]
    assert target.ends.tolist() == [4, 4]


def test_what_was_stopped_early_is_a_lesson_but_cannot_be_replayed() -> None:
    made = ground([[[1, 9], [1, 3], [1, 5]]], censored=[[True, False, False]])

    assert made.present(0, allowance=ALLOWANCE).is_allowed.tolist() == [False, True, True]
    assert made.targets[0].best == 5
    assert made.curves([0]).observed.all()
    assert made.curves([0]).regret[0, 0, 1] == 0


def test_targets_with_fewer_than_two_completed_trials_are_left_out() -> None:
    made = Ground(finals([[1, 2], [1, NAN]]))

    assert made.dropped == ("t1",)
    with pytest.raises(InputError, match="two completed"):
        Ground(finals([[1, NAN]]))


def test_a_source_that_is_hidden_leaves_nothing_to_learn_from() -> None:
    features = {"logme": np.arange(4.0).reshape(2, 2)}
    made = Ground(finals([[9, 2], [9, 4]], sources=["cats", "dogs"], pair_features=features))
    other = Ground(finals([[7, 2], [1, 4]], sources=["cats", "dogs"], pair_features=features))

    hidden, changed = (item.curves([0, 1], without_sources=["cats"]) for item in (made, other))

    assert hidden.observed.tolist() == [[False, True], [False, True]]
    assert np.isnan(hidden.pair_features["logme"][:, 0]).all()
    for name in ("values", "regret", "final", "cost_s"):
        np.testing.assert_array_equal(getattr(hidden, name), getattr(changed, name))
    assert made.present(0, allowance=ALLOWANCE).is_allowed.all()


def test_unknown_features_of_the_present_target_are_left_out() -> None:
    made = Ground(finals([[1, 2], [3, 4]], target_features={"size": np.array([5.0, NAN])}))

    assert made.present(0, allowance=ALLOWANCE).target_features == {"size": 5.0}
    assert made.present(1, allowance=ALLOWANCE).target_features == {}


def test_the_table_is_not_changed() -> None:
    made = random_table()
    before = made.values.copy()

    Ground(made).curves([0, 1])

    np.testing.assert_array_equal(made.values, before)
    assert table(before).failed.sum() == made.failed.sum()
