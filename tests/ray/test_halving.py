"""The early stopping of `meta-test` against the scheduler that it stands for. No cluster is started."""

import numpy as np
import pytest

from transmeta.experiments.table_test.halving import StoppingRule

pytestmark = pytest.mark.ray


class FakeTrial:
    def __init__(self, number: int) -> None:
        self.trial_id = str(number)


@pytest.mark.parametrize("seed", range(3))
def test_verdicts_are_those_of_rays_asynchronous_halving(seed: int) -> None:
    from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

    scheduler = AsyncHyperBandScheduler(
        time_attr="step", metric="value", mode="max", grace_period=1, max_t=9, reduction_factor=3, brackets=1
    )
    rule = StoppingRule()
    rng = np.random.default_rng(seed)
    verdicts = []
    for number in range(60):
        trial = FakeTrial(number)
        scheduler.on_trial_add(None, trial)  # type: ignore[arg-type]
        for rung, step in enumerate((1, 3)):
            value = float(np.round(rng.normal(), 1))
            verdict = scheduler.on_trial_result(None, trial, {"step": step, "value": value})  # type: ignore[arg-type]
            goes_on = rule.continues(rung, value)
            verdicts.append(goes_on)
            assert goes_on == (verdict == TrialScheduler.CONTINUE)
            if not goes_on:
                break

    assert {True, False} == set(verdicts)
