import json

import numpy as np
import pytest

from transmeta.core import codec
from transmeta.errors import InputError
from transmeta.experiments.table_test.report import Share, TableReport
from transmeta.experiments.table_test.run import Comparison, compare_on_table
from transmeta.experiments.table_test.split import Split
from transmeta.stores.table import Table

from .cases import NAN, finals, random_table

STATIC = ("greedy_regret", "mean_rank")
VALUES = [[1, 2, 3], [1, 2, 3], [1, 2, 3], [9, 5, 1]]


def compared(table: Table, **options: object) -> TableReport:
    asked = {"evaluations": 2, "seeds": 2, "split": Split.TARGET, "methods": STATIC, **options}
    return compare_on_table(table, Comparison(**asked), name="table").report  # type: ignore[arg-type]


def test_figures_are_those_by_hand() -> None:
    # The others say c2, then c1, which have regrets 2 and 1 on t3: best 9, median 5.
    report = compared(finals(VALUES))
    figures = report.methods["mean_rank"]

    assert figures.per_target == {"t0": (0, 0), "t1": (0, 0), "t2": (0, 0), "t3": (2, 1)}
    assert figures.anytime == pytest.approx(0.375)
    assert figures.at == {"1": 0.5, "2": 0.25}
    assert figures.at_worst["1"] == 0.25
    assert figures.low <= figures.anytime <= figures.high


def test_targets_of_one_data_set_count_as_one() -> None:
    report = compared(finals([[1, 2, 3], [1, 2, 3], [9, 5, 1], [3, 2, 1]], families=["a", "a", "b", "c"]))
    per_target = report.methods["mean_rank"].per_target

    assert report.units == 3
    by_hand = np.mean(
        [np.mean([per_target["t0"], per_target["t1"]]), np.mean(per_target["t2"]), np.mean(per_target["t3"])]
    )
    assert report.methods["mean_rank"].anytime == pytest.approx(by_hand)


def test_wins_ties_and_losses_are_counted_over_data_sets() -> None:
    report = compared(random_table(targets=8), methods=("greedy_regret", "random"), evaluations=5)
    (versus,) = report.comparisons
    anytime = {name: item.anytime for name, item in report.methods.items()}

    assert (versus.method, versus.rival) == ("greedy_regret", "random")
    assert versus.wins + versus.ties + versus.losses == 8
    assert versus.gain == pytest.approx(anytime["random"] - anytime["greedy_regret"])
    assert versus.p_holm == pytest.approx(versus.p)


def test_a_pick_that_tests_worse_than_scratch_is_negative_transfer() -> None:
    test = [[0.7, 0.9, 0.5]] * 3 + [[0.7, 0.6, 0.5]]
    values = [[0.6, 0.8, 0.5]] * 3 + [[0.7, 0.69, 0.5]]
    report = compared(
        finals(values, test=test, sources=["scratch", "cats", "dogs"]), evaluations=1, methods=("mean_rank",)
    )
    figures = report.methods["mean_rank"]

    assert figures.negative_transfer == {"1": 0.25}
    assert figures.at_test == {"1": pytest.approx(0.825)}
    # Scratch is as good as the best on the last target only, and there it is missed by ten points.
    assert figures.worse_where_scratch_is_good == Share(share=1.0, low=1.0, high=1.0, count=1)
    assert figures.much_worse_where_scratch_is_good == figures.worse_where_scratch_is_good
    assert figures.harmed_where_scratch_is_good == figures.much_harmed_where_scratch_is_good
    assert figures.harmed_where_scratch_is_good == figures.worse_where_scratch_is_good


def test_training_from_scratch_is_never_negative_transfer() -> None:
    test, values = [[0.7, 0.9]] * 3 + [[0.7, 0.8]], [[0.8, 0.6]] * 3 + [[0.8, 0.9]]
    report = compared(finals(values, test=test, sources=["scratch", "scratch"]), evaluations=1, methods=("mean_rank",))
    figures = report.methods["mean_rank"]

    assert figures.negative_transfer == {"1": 0.0}
    assert figures.worse_where_scratch_is_good is not None
    assert figures.worse_where_scratch_is_good.share == 0.25
    assert figures.harmed_where_scratch_is_good == Share(share=0.0, low=0.0, high=0.0, count=4)


def test_within_one_percent_is_counted_in_evaluations() -> None:
    report = compared(
        finals([[100, 99.5, 1], [100, 99.5, 1], [1, 99.5, 100]]), methods=("greedy_regret",), evaluations=3
    )
    figures = report.methods["greedy_regret"]

    assert figures.reached_1_percent == 1
    assert figures.evaluations_to_1_percent == pytest.approx((1 + 1 + 2) / 3)


def test_quality_after_seconds_is_told_where_cost_is_in_seconds() -> None:
    costs = np.full((4, 3, 1), 6.0)

    assert compared(finals(VALUES)).methods["mean_rank"].at_seconds is None
    at = compared(finals(VALUES, cost_s=costs)).methods["mean_rank"].at_seconds
    assert at == {"1": 3.0, "10": 0.5, "60": 0.25}


def test_with_a_budget_of_cost_moves_pay_their_cost() -> None:
    costs = np.ones((3, 3, 1))
    costs[2, 2] = 3.0
    report = compared(finals([[1, 2, 3], [1, 2, 3], [9, 5, 1]], cost_s=costs), cost_budget=4.0, methods=("mean_rank",))

    assert report.at_unit == 2.0
    assert report.methods["mean_rank"].per_target["t2"] == (3.0, 1.0)


def test_with_sources_left_out_each_target_is_the_mean_over_them() -> None:
    table = random_table(sources=["cats"] * 8 + ["dogs"] * 7)
    report = compared(table, split=Split.SOURCE)

    assert report.folds == 8
    assert set(report.methods["greedy_regret"].per_target) == set(table.targets)
    assert report.methods["greedy_regret"].searches == 12


def test_the_document_is_json_without_gaps() -> None:
    report = compared(random_table(), methods=None, split=None)

    assert json.loads(json.dumps(codec.to_json(report), allow_nan=False))["primary"].startswith("anytime")


def test_a_target_with_nothing_to_compare_is_left_out_with_a_notice() -> None:
    report = compared(finals([[1, 2], [1, 2], [3, 4], [1, NAN]]))

    assert "t3" not in report.targets
    assert any("t3" in notice for notice in report.notices)


def test_budgets_that_make_no_sense_are_refused() -> None:
    for options in ({"evaluations": 0}, {"seeds": 0}, {"cost_budget": -1.0}, {"cost_budget": NAN}):
        with pytest.raises(InputError, match="meta-test"):
            Comparison(**options)  # type: ignore[arg-type]
