"""Schedulers of Ray Tune that a search may use in place of its own verdicts."""

from typing import final

from transmeta.execution.ray import session  # noqa: F401  # sets Ray's environment before Ray is imported

# isort: split
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from typing_extensions import override

from transmeta.execution.ray.bridge import PROGRESS


def asha(*, eta: int = 3) -> TrialScheduler:
    """Returns asynchronous successive halving (Li et al. 2020) with rungs at 1/eta^2 and 1/eta of a trial's own epochs.

    The metric is set by `TuneExecutor`. A trial that has passed the last rung runs to its end, so that it is tested.
    """
    # Its rungs go up to `max_t`: a little below 1, so that there is none at the very end of a trial.
    scheduler: TrialScheduler = _AshaOnTheWay(
        time_attr=PROGRESS,
        max_t=0.99,  # type: ignore[arg-type]  # time here is a share of the trial, which Ray only compares
        grace_period=1 / eta**2,  # type: ignore[arg-type]  # likewise
        reduction_factor=eta,
        stop_last_trials=False,
    )
    return scheduler


@final
class _AshaOnTheWay(AsyncHyperBandScheduler):
    """Compares trials that are on their way only: a closed-form head is at its end at once, and would set the bar."""

    @override
    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, float]) -> str:
        if _is_last(result):
            return str(TrialScheduler.CONTINUE)
        return str(super().on_trial_result(tune_controller, trial, result))

    @override
    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: dict[str, float]) -> None:
        if _is_last(result):
            self.on_trial_remove(tune_controller, trial)
        else:
            super().on_trial_complete(tune_controller, trial, result)


def _is_last(result: dict[str, float]) -> bool:
    return result.get(PROGRESS, 0.0) >= 1.0
