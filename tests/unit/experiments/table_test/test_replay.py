import numpy as np
import pytest

from transmeta.experiments.table_test.figures import Points, run_figures
from transmeta.experiments.table_test.ground import Target
from transmeta.experiments.table_test.replay import Log, replay
from transmeta.policies.adaptive.protocol import Allowance

from .cases import NAN, Script, ground

CURVES = [[[1, 2, 3, 4], [5, 6, 7, 8], [0, 0, 0, 0], [9, 2, NAN, NAN]]]
"""One target: final values 4, 8, 0 and a failure, so best 8, median 4, scale 4."""
ANY = Allowance(evaluations=20)


def target(values: object = CURVES, **columns: object) -> Target:
    return ground(values, **columns).targets[0]


def played(*moves: tuple[int, int], allowance: Allowance = ANY, on: Target | None = None) -> tuple[Log, Script]:
    script = Script(*moves)
    return replay(script, on or target(), allowance=allowance, clock=lambda: 0.0), script


def regret(log: Log, *, points: Points, on: Target | None = None) -> list[float]:
    none = np.zeros(4, dtype=np.bool_)
    return run_figures(log, on or target(), points=points, is_scratch=none).regret.tolist()


def test_regret_is_relative_to_best_and_median_of_the_final_values() -> None:
    log, _ = played((2, 4), (0, 4), (1, 4))

    assert regret(log, points=Points(count=4)) == [2.0, 1.0, 0.0, 0.0]


def test_before_anything_was_measured_and_after_failures_alone_regret_is_three() -> None:
    log, script = played((3, 4), (0, 4))

    assert regret(log, points=Points(count=2)) == [3.0, 1.0]
    assert script.told[0][2] is True
    assert regret(played()[0], points=Points(count=1)) == [3.0]


def test_a_part_of_a_run_costs_its_share_and_every_step_is_logged() -> None:
    log, script = played((0, 2), (1, 1), (0, 4))

    assert log.evaluations.tolist() == [0.25, 0.5, 0.75, 1.0, 1.25]
    assert log.value.tolist() == [1, 2, 5, 5, 5]
    assert log.incumbent.tolist() == [0, 0, 1, 1, 1]
    assert script.told[0][:2] == ([1, 2], [1, 1])
    assert script.told[2][0] == [3, 4]


def test_a_trial_is_worth_its_last_paid_step_even_if_it_was_better_before() -> None:
    falling = target([[[3, 9, 1], [4, 4, 4], [0, 0, 0]]])
    log, _ = played((0, 2), (1, 1), (0, 3), on=falling)

    assert log.value.tolist() == [3, 9, 9, 4]
    assert log.incumbent.tolist() == [0, 0, 0, 1]


def test_of_equals_the_earlier_one_stays() -> None:
    log, _ = played((1, 3), (0, 3), (1, 4), on=target([[[1, 2, 5, 6], [1, 2, 5, 5], [0, 0, 0, 1]]]))

    assert log.incumbent.tolist() == [1, 1, 1, 1, 1, 1, 1]


def test_a_run_ends_where_it_diverges_and_costs_what_was_asked_for() -> None:
    log, script = played((3, 3), (0, 4))

    assert script.told[0] == ([9.0, 2.0, -np.inf], [1, 1, 1], True)
    assert log.evaluations.tolist() == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    whole, _ = played((3, 4))
    assert whole.evaluations.tolist() == [0.25, 0.5, 1.0]


def test_what_the_allowance_does_not_cover_is_not_run() -> None:
    log, script = played((0, 4), (1, 4), allowance=Allowance(evaluations=1.5))

    assert log.evaluations[-1] == 1.5
    assert log.value[-1] == 6
    assert len(script.told) == 1


def test_with_a_budget_of_cost_the_points_divide_it() -> None:
    costs = np.ones((1, 4, 4))
    costs[0, 1] = 2.0
    dear = target(CURVES, cost_s=costs)
    log, _ = played((1, 4), (0, 4), allowance=Allowance(cost_s=10.0), on=dear)

    assert log.cost_s.tolist() == [2, 4, 6, 8, 9, 10]
    assert regret(log, points=Points(count=5, unit=2.0, is_cost=True), on=dear) == [0.75, 0.5, 0.25, 0.0, 0.0]


def test_a_move_without_a_record_or_without_a_new_step_is_an_error() -> None:
    partial = target([[[1, 2], [3, 4], [5, 6]]], censored=[[False, False, True]])

    with pytest.raises(ValueError, match="no record"):
        played((2, 1), on=partial)
    with pytest.raises(ValueError, match="it is at 2 of 2"):
        played((0, 2), (0, 2), on=partial)
    with pytest.raises(ValueError, match="run ended at 3"):
        played((3, 4), (3, 4))


def test_runs_of_other_lengths_cost_one_evaluation_too() -> None:
    costs = np.ones((1, 3, 4))
    costs[0, 0, 2:] = NAN
    values = np.array([[[1, 2, NAN, NAN], [3, 4, 5, 6], [0, 0, 0, 1]]])
    short = ground(values, cost_s=costs)
    short.table.failed[0, 0] = False

    log, _ = played((0, 2), (1, 4), on=type(short)(short.table).targets[0])

    assert log.evaluations.tolist() == [0.5, 1.0, 1.25, 1.5, 1.75, 2.0]
