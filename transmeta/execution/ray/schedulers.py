"""Schedulers of Ray Tune that a search may use in place of its own verdicts."""

from transmeta.execution.ray import session  # noqa: F401  # sets Ray's environment before Ray is imported

# isort: split
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler


def asha(*, eta: int = 3) -> TrialScheduler:
    """Returns asynchronous successive halving (Li et al. 2020) with rungs at 1/eta^2 and 1/eta of a trial's own epochs.

    The metric is set by `TuneExecutor`. A trial that has passed the last rung runs to its end, so that it is tested.
    """
    # Its rungs go up to `max_t`: a little below 1, so that there is none at the very end of a trial.
    scheduler: TrialScheduler = AsyncHyperBandScheduler(
        time_attr="progress",
        max_t=0.99,  # type: ignore[arg-type]  # time here is a share of the trial, which Ray only compares
        grace_period=1 / eta**2,  # type: ignore[arg-type]  # likewise
        reduction_factor=eta,
        stop_last_trials=False,
    )
    return scheduler
