import math

import numpy as np
import pytest

from transmeta.core import codec
from transmeta.core.trial import TrialStatus
from transmeta.errors import UnsafeFileError
from transmeta.policies.table import RegretTable, TableRecord, is_scratch

from .cases import arm, experience, result, row, task

ARMS = {"a": arm("latin"), "b": arm("icons"), "c": arm("scratch-small_cnn", "from_scratch")}


def test_regret_is_the_gap_to_the_best_over_best_minus_median():
    table = RegretTable.from_experience(experience({"grek": {"a": 0.9, "b": 0.7, "c": 0.5}}, arms=ARMS))

    regret = dict(zip([item.key for item in table.arms], table.regret[0], strict=True))
    assert regret[ARMS["a"].key] == 0
    assert regret[ARMS["b"].key] == pytest.approx(1)
    assert regret[ARMS["c"].key] == pytest.approx(2)


def test_regret_is_clipped_at_three():
    scores = {"grek": {"a": 0.9, "b": 0.88, "c": 0.1}}

    assert RegretTable.from_experience(experience(scores, arms=ARMS)).regret.max() == 3


def test_the_order_of_experience_does_not_matter():
    rows = experience({"grek": {"a": 0.9, "b": 0.7}, "armn": {"a": 0.5, "c": 0.6}}, arms=ARMS)

    forward, backward = RegretTable.from_experience(rows), RegretTable.from_experience(rows[::-1])
    assert forward.record == backward.record
    assert [target.dataset for target in forward.targets] == ["armn", "grek"]


def test_a_failed_trial_has_regret_three_and_no_utility():
    target = task("grek")
    rows = [
        *experience({"grek": {"a": 0.9, "b": 0.7}}, arms=ARMS),
        row(result(target, ARMS["c"], None, status=TrialStatus.FAILED)),
    ]

    table = RegretTable.from_experience(rows)
    column = table.columns()[ARMS["c"].key]
    assert table.regret[0, column] == 3
    assert math.isnan(table.utility[0, column])


def test_a_crashed_trial_leaves_no_trace():
    rows = experience({"grek": {"a": 0.9, "b": 0.7}}, arms=ARMS)
    crashed = row(result(task("grek"), ARMS["c"], None, status=TrialStatus.CRASHED))

    assert RegretTable.from_experience([*rows, crashed]).record == RegretTable.from_experience(rows).record


def test_a_stopped_trial_counts_only_where_the_arm_has_nothing_better():
    rows = [
        *experience({"grek": {"a": 0.9, "b": 0.7}}, arms=ARMS),
        row(result(task("grek"), ARMS["a"], 0.1, status=TrialStatus.STOPPED, seed=1)),
        row(result(task("grek"), ARMS["c"], 0.6, status=TrialStatus.STOPPED)),
    ]

    table = RegretTable.from_experience(rows)
    columns = table.columns()
    assert table.utility[0, columns[ARMS["a"].key]] == 0.9
    assert table.utility[0, columns[ARMS["c"].key]] == 0.6


def test_seeds_of_one_arm_are_averaged():
    rows = [
        *experience({"grek": {"a": 0.9, "b": 0.5}}, arms=ARMS),
        row(result(task("grek"), ARMS["a"], 0.7, seed=1, cost_s=3.0)),
    ]

    table = RegretTable.from_experience(rows)
    column = table.columns()[ARMS["a"].key]
    assert table.utility[0, column] == pytest.approx(0.8)
    assert table.cost_s[0, column] == 2


def test_a_target_with_one_arm_says_nothing():
    rows = experience({"grek": {"a": 0.9}, "armn": {"a": 0.5, "b": 0.6}}, arms=ARMS)

    assert [target.dataset for target in RegretTable.from_experience(rows).targets] == ["armn"]


def test_no_experience_gives_an_empty_table():
    table = RegretTable.from_experience(())

    assert table.regret.shape == (0, 0)
    assert table.without({"grek"}).targets == ()


def test_leaving_a_data_set_out_also_drops_the_arms_that_nobody_else_tried():
    rows = experience({"grek": {"a": 0.9, "b": 0.7}, "armn": {"a": 0.5, "c": 0.6}}, arms=ARMS)

    left = RegretTable.from_experience(rows).without({"grek"})
    assert [target.dataset for target in left.targets] == ["armn"]
    assert {item.key for item in left.arms} == {ARMS["a"].key, ARMS["c"].key}


def test_a_table_survives_the_way_through_json():
    rows = experience({"grek": {"a": 0.9, "b": 0.7}, "armn": {"a": 0.5, "c": 0.6}}, arms=ARMS)
    record = RegretTable.from_experience(rows).record

    table = RegretTable.from_record(codec.loads(TableRecord, codec.dumps(record)))
    assert table.record == record
    np.testing.assert_array_equal(table.regret, RegretTable.from_experience(rows).regret)


def test_a_cell_outside_the_table_is_refused():
    record = TableRecord(targets=(), arms=(ARMS["a"],), cells=((0, 0, 0.5, 0.0, 1.0),))

    with pytest.raises(UnsafeFileError, match="outside"):
        RegretTable.from_record(record)


def test_the_arrays_cannot_be_written():
    table = RegretTable.from_experience(experience({"grek": {"a": 0.9, "b": 0.7}}, arms=ARMS))

    with pytest.raises(ValueError, match="read-only"):
        table.regret[0, 0] = 1.0


def test_only_architectures_without_weights_are_scratch():
    assert is_scratch("scratch-small_cnn")
    assert not is_scratch("scratchpad")
