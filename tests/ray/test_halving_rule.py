"""The harness's stopping rule against Ray Tune's own bookkeeping; no cluster is needed for that."""

from types import SimpleNamespace

import numpy as np
import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.schedulers.async_hyperband import _Bracket

from transmeta.experiments.table_test.halving import REDUCTION, HalvingSession, StoppingRule, rungs

STEPS = 27


def bracket() -> _Bracket:
    """Returns Ray's rungs at 3 and 9 of 27 steps; at the end there is nothing to decide."""
    return _Bracket(STEPS // REDUCTION**2, STEPS - 1, REDUCTION, 0, stop_last_trials=False)


@pytest.mark.parametrize("seed", range(5))
def test_verdicts_at_a_rung_are_those_of_ray(seed: int) -> None:
    values = np.round(np.random.default_rng(seed).standard_normal(60), 1)  # with ties
    rule, theirs = StoppingRule(), bracket()
    for index, value in enumerate(values):
        verdict = theirs.on_result(SimpleNamespace(trial_id=str(index)), STEPS // REDUCTION**2, float(value))
        assert rule.continues(0, float(value)) == (verdict == TrialScheduler.CONTINUE)


@pytest.mark.parametrize("seed", range(5))
def test_a_search_with_one_worker_pays_for_the_steps_that_ray_would(seed: int) -> None:
    curves = np.cumsum(np.random.default_rng(seed).standard_normal((40, STEPS)), axis=1)
    theirs, expected = bracket(), []
    for index, curve in enumerate(curves):
        verdicts = (
            theirs.on_result(SimpleNamespace(trial_id=str(index)), step, float(curve[step - 1])) != TrialScheduler.STOP
            for step in range(1, STEPS + 1)
        )
        expected.append(next((step for step, goes_on in enumerate(verdicts, start=1) if not goes_on), STEPS))

    session = HalvingSession(np.arange(40), np.full(40, STEPS))
    reached = dict.fromkeys(range(40), 0)
    while (move := session.next()) is not None:
        values = curves[move.config, reached[move.config] : move.step]
        reached[move.config] = move.step
        session.tell(move, values, np.ones(len(values)), False)

    assert rungs(STEPS).tolist() == [3, 9, STEPS]
    assert list(reached.values()) == expected
