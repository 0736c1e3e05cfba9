"""Ray Tune's own schedulers as a search uses them; no cluster is needed for that."""

from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler

from transmeta.execution.ray.bridge import PROGRESS, UTILITY
from transmeta.execution.ray.schedulers import asha


@pytest.mark.parametrize(
    ("progress", "verdict"), [(1 / 9, TrialScheduler.STOP), (1.0, TrialScheduler.CONTINUE)], ids=["on the way", "ended"]
)
@pytest.mark.parametrize("is_over", [False, True])
def test_asha_compares_with_trials_on_their_way_and_not_with_ends(progress: float, verdict: str, is_over: bool) -> None:
    scheduler = asha()
    scheduler.set_search_properties(UTILITY, "max")
    for index in range(3):
        other = SimpleNamespace(trial_id=str(index))
        scheduler.on_trial_add(None, other)
        told = scheduler.on_trial_complete if is_over else scheduler.on_trial_result
        told(None, other, {PROGRESS: progress, UTILITY: 0.9})
    mine = SimpleNamespace(trial_id="mine")
    scheduler.on_trial_add(None, mine)

    assert scheduler.on_trial_result(None, mine, {PROGRESS: 1 / 9, UTILITY: 0.5}) == verdict
