"""Curves at rungs, and what is put where nothing was tried."""

import numpy as np
import pytest

from transmeta.policies.adaptive.rows import SHARES, at_rungs, cover, rung_gaps, rung_steps, without_gaps


def test_rungs_are_shares_of_each_runs_own_steps() -> None:
    assert rung_steps(np.array([51]))[0].tolist() == [5, 10, 17, 26, 34, 51]
    assert rung_steps(np.array([1]))[0].tolist() == [1] * len(SHARES)


def test_the_regret_at_a_rung_is_that_of_the_curves_step_there() -> None:
    regret = np.linspace(2, 0, 10)[None, None]

    assert at_rungs(regret, np.array([[10]]))[0, 0] == pytest.approx(regret[0, 0, [0, 1, 2, 4, 6, 9]])


def test_what_was_not_tried_stays_unknown_at_all_rungs() -> None:
    regret = np.full((1, 2, 4), np.nan)
    regret[0, 0] = [2, 1, 0.5, 0]

    found = at_rungs(regret, np.array([[4, 0]]))

    assert not np.isnan(found[0, 0]).any()
    assert np.isnan(found[0, 1]).all()


def test_gaps_in_the_table_are_filled_above_what_the_configuration_does_elsewhere() -> None:
    regret = np.full((4, 2, 2), np.nan)
    regret[:3, 0] = [1.5, 0.5]
    regret[:, 1] = [2.0, 1.0]

    filled = without_gaps(regret)

    assert filled[3, 0, 1] > 0.5
    assert filled[3, 0, 0] - filled[3, 0, 1] == pytest.approx(rung_gaps(regret)[0, 0])
    assert (filled[:3] == regret[:3]).all()


def test_a_known_target_that_tried_next_to_nothing_here_is_not_heard() -> None:
    regret = np.full((2, 8, 1), np.nan)
    regret[0] = 1.0
    regret[1, 0] = 1.0

    assert cover(regret, np.ones(8, dtype=np.bool_)).tolist() == [True, False]
