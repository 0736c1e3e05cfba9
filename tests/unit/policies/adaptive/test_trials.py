import dataclasses

import numpy as np
import pytest

from transmeta.core.trial import TrialStatus
from transmeta.policies.adaptive.rows import at_rungs
from transmeta.policies.adaptive.trials import curves_of
from transmeta.policies.table import RegretTable

from ..cases import arm, result, row, task
from .live import ARMS, rows, stopped, trial


def test_a_trial_that_measures_itself_once_has_one_step() -> None:
    curves = curves_of([row(result(task("a"), ARMS[0], 0.9)), row(trial("a", ARMS[1], 0.5))])

    assert curves.steps[0].tolist() == [1, 9]
    np.testing.assert_array_equal(at_rungs(curves.regret, curves.steps)[0, 0], 0.0)


def test_final_values_regrets_and_costs_are_those_of_the_regret_table() -> None:
    curves, table = curves_of(rows()), RegretTable.from_experience(rows())

    assert curves.targets == tuple(target.id for target in table.targets)
    assert curves.configs == tuple(arm.key for arm in table.arms)
    np.testing.assert_allclose(curves.final, table.utility)
    np.testing.assert_allclose(at_rungs(curves.regret, curves.steps)[:, :, -1], table.regret)
    np.testing.assert_allclose(np.nansum(curves.cost_s, axis=2), table.cost_s)


def test_the_order_of_experience_does_not_matter() -> None:
    forward, backward = curves_of(rows()), curves_of(rows()[::-1])

    np.testing.assert_array_equal(forward.regret, backward.regret)
    np.testing.assert_array_equal(forward.pair_features["logme"], backward.pair_features["logme"])


def test_features_of_pairs_stand_at_the_columns_of_their_source() -> None:
    curves = curves_of(rows())

    assert curves.sources is not None
    near = [c for c, source in enumerate(curves.sources) if source == "near"]
    np.testing.assert_allclose(curves.pair_features["logme"][:, near], np.linspace(-1, 1, 8)[:, None] * [1, 1])


def test_seeds_are_averaged() -> None:
    two = [row(trial("a", ARMS[0], 0.6)), row(trial("a", ARMS[0], 0.8, seed=1)), row(trial("a", ARMS[1], 0.5))]

    curves = curves_of(two)

    assert curves.final[0].tolist() == pytest.approx([0.7, 0.5])


def test_what_was_stopped_counts_as_far_as_it_went_and_is_not_final() -> None:
    few = [row(trial("a", ARMS[0], 0.9)), row(trial("a", ARMS[1], 0.5)), row(stopped("a", ARMS[2], 0.7))]

    curves = curves_of(few)

    column = curves.configs.index(ARMS[2].key)
    rungs = at_rungs(curves.regret, curves.steps)[0, column]
    assert not curves.observed[0, column]
    assert np.isnan(curves.final[0, column])
    np.testing.assert_allclose(rungs, [1, 1, 1, np.nan, np.nan, np.nan])


def test_a_crash_is_hidden_and_a_failure_is_the_worst() -> None:
    failed = result(task("a"), ARMS[2], None, status=TrialStatus.FAILED)
    crashed = result(task("a"), ARMS[3], None, status=TrialStatus.CRASHED)

    curves = curves_of([row(trial("a", ARMS[0], 0.9)), row(trial("a", ARMS[1], 0.5)), row(failed), row(crashed)])

    assert ARMS[3].key not in curves.configs
    column = curves.configs.index(ARMS[2].key)
    assert curves.failed[0, column]
    np.testing.assert_array_equal(at_rungs(curves.regret, curves.steps)[0, column], 3.0)


def test_a_failure_is_the_worst_from_where_it_diverged() -> None:
    begun = stopped("a", ARMS[2], 0.7)
    failed = dataclasses.replace(begun, status=TrialStatus.FAILED, score=None)

    curves = curves_of([row(trial("a", ARMS[0], 0.9)), row(trial("a", ARMS[1], 0.5)), row(failed)])

    column = curves.configs.index(ARMS[2].key)
    np.testing.assert_allclose(at_rungs(curves.regret, curves.steps)[0, column], [1, 1, 1, 3, 3, 3])


def test_a_target_with_one_finished_arm_is_left_out() -> None:
    curves = curves_of([row(trial("a", ARMS[0], 0.9)), row(stopped("a", arm("x"), 0.7))])

    assert curves.targets == curves.configs == ()


def test_the_best_arm_has_no_regret_whatever_its_seeds_say() -> None:
    lines = [row(trial("a", ARMS[0], score, seed=seed)) for seed, score in enumerate((0.8, 0.9, 1.0))]

    curves = curves_of([*lines, row(trial("a", ARMS[1], 0.5))])

    assert curves.regret[0, curves.configs.index(ARMS[0].key), -1] == 0


def test_a_seed_that_failed_counts_by_its_share() -> None:
    failed = result(task("a"), ARMS[0], None, status=TrialStatus.FAILED, seed=1)

    curves = curves_of([row(trial("a", ARMS[0], 0.9)), row(failed), row(trial("a", ARMS[1], 0.5))])

    assert not curves.failed[0].any()
    assert curves.regret[0, curves.configs.index(ARMS[0].key), -1] == pytest.approx(1.5)
