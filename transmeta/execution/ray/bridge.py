"""Tune's searcher and scheduler as thin adapters to `Search.ask`, `report` and `tell`."""

import dataclasses
import queue
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

from ray import tune
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from typing_extensions import override

from transmeta.core import codec
from transmeta.core.protocols import Search
from transmeta.core.trial import Measurement, TrialResult, TrialSpec, TrialStatus, Verdict
from transmeta.errors import InputError, UnsafeFileError
from transmeta.trials.environment import Environment

SPEC: Final = "spec"
ENVIRONMENT: Final = "environment"
RUNGS: Final = "rungs"
CURVE: Final = "curve"
RESULT: Final = "result"
REFUSAL: Final = "refusal"
UTILITY: Final = "utility"
PROGRESS: Final = "progress"
STOPPED: Final = "stopped by the search"
MAX_FAILURES: Final = 2
REFUSALS: Final = (InputError, UnsafeFileError)
"""What a trial raises that cannot be run as it is specified: nobody's work is lost by ending the search."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rungs:
    """The shares of a trial's epochs at which it waits for a verdict."""

    shares: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The measurements of one step, and what the result of a trial that is stopped there needs beside them."""

    measurements: tuple[Measurement, ...]
    parameter_count: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a trial cannot be run: the message of one of `REFUSALS`, and its exit code."""

    message: str
    exit_code: int

    def as_error(self) -> InputError | UnsafeFileError:
        """Returns the error to raise where the search is driven."""
        kinds = {kind.exit_code: kind for kind in REFUSALS}
        return kinds[self.exit_code](self.message)


@final
class Bridge:
    """What Tune's searcher and scheduler share: the search, and the trials that are under way.

    Tune calls it from one thread. Finished results are passed on through `finished`, or the error that ends the search;
    None at the end.

    Args:
        shares: of a trial's epochs at which a scheduler of Tune's wants to see it, beside the rungs of the search.
    """

    def __init__(self, search: Search, *, environment: Environment, shares: tuple[float, ...] = ()) -> None:
        self.finished: queue.SimpleQueue[TrialResult | InputError | UnsafeFileError | None] = queue.SimpleQueue()
        self.is_cancelled = False
        self._search = search
        self._environment = environment
        self._shares = shares
        self._open: dict[str, TrialSpec] = {}
        self._curves: dict[str, list[Measurement]] = {}
        self._parameter_counts: dict[str, int] = {}
        self._errors: dict[str, str] = {}

    def __deepcopy__(self, _: object) -> "Bridge":
        return self  # Tune copies its configuration; the search must stay the one that the caller holds

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        return object, ()  # Tune pickles its configuration; our state is rebuilt from the store, never from a pickle

    def start(self, tune_id: str) -> dict[str, str] | None:
        """Returns the config of the next trial, None if none can start now, raises StopIteration if none ever will."""
        specs = () if self.is_cancelled else self._search.ask(count=1)
        if not specs:
            if self._open:
                return None
            raise StopIteration
        self._open[tune_id] = specs[0]
        return {
            SPEC: codec.dumps(specs[0]),
            ENVIRONMENT: codec.dumps(self._environment),
            RUNGS: codec.dumps(Rungs(shares=(*self._search.rungs, *self._shares))),
        }

    def report(self, tune_id: str, result: Mapping[str, str]) -> Verdict:
        """Returns the search's verdict on the measurements of a step; on STOP the trial's result has been told."""
        verdict = self._show(tune_id, result)
        if verdict is Verdict.STOP:
            self.stop(tune_id, reason=STOPPED)
        return verdict

    def stop(self, tune_id: str, *, reason: str) -> None:
        """Tells the search that the trial was stopped after its last measurement."""
        curve = tuple(self._curves[tune_id])
        folder = self._environment.checkpoint_folder
        self._finish(
            tune_id,
            TrialResult(
                spec=self._open[tune_id],
                status=TrialStatus.STOPPED,
                curve=curve,
                score=curve[-1].value,
                cost_s=curve[-1].cost_s,
                wall_s=curve[-1].wall_s,
                parameter_count=self._parameter_counts[tune_id],
                reason=reason,
                checkpoint=str(Path(folder) / self._open[tune_id].id) if folder else None,
            ),
        )

    def complete(self, tune_id: str, result: Mapping[str, str]) -> None:
        """Tells the search how the trial ended; one that Tune stopped by a scheduler of its own is STOPPED."""
        if tune_id not in self._open:
            return  # told as STOPPED before
        if REFUSAL in result:
            del self._open[tune_id]
            self.is_cancelled = True
            self.finished.put(codec.loads(Refusal, result[REFUSAL]).as_error())
        elif RESULT in result:
            self._show(tune_id, result)  # those since the last step; it has ended, so the verdict comes too late
            self._finish(tune_id, codec.loads(TrialResult, result[RESULT]))
        else:
            self.stop(tune_id, reason="stopped by Tune's scheduler")

    def note_error(self, tune_id: str, text: str) -> None:
        """Keeps what the machinery said when it failed; the trial may be retried."""
        self._errors[tune_id] = text

    def crash(self, tune_id: str) -> None:
        """Tells the search that the machinery failed, more often than it is retried."""
        if tune_id in self._open:
            error = self._errors.get(tune_id, "no reason was given")
            reason = f"its worker failed {MAX_FAILURES + 1} times, at last: {error}"
            self._finish(tune_id, TrialResult(spec=self._open[tune_id], status=TrialStatus.CRASHED, reason=reason))

    def _show(self, tune_id: str, result: Mapping[str, str]) -> Verdict:
        """Shows the search the measurements of a step, up to one that it stops at."""
        step = codec.loads(Curve, result[CURVE])
        self._parameter_counts[tune_id] = step.parameter_count
        curve = self._curves.setdefault(tune_id, [])
        for measurement in step.measurements:
            if measurement.progress_before == 0:
                curve.clear()  # the trial started over after a crash
            curve.append(measurement)
            if self._search.report(self._open[tune_id].id, measurement) is Verdict.STOP:
                return Verdict.STOP
        return Verdict.CONTINUE

    def _finish(self, tune_id: str, result: TrialResult) -> None:
        del self._open[tune_id]
        for kept in (self._curves, self._parameter_counts, self._errors):
            kept.pop(tune_id, None)
        self._search.tell(result)
        self.finished.put(result)


@final
class SearchAdapter(Searcher):
    """`Search.ask` and `tell` as Tune's searcher."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(metric=UTILITY, mode="max")
        self._bridge = bridge

    @override
    def suggest(self, trial_id: str) -> dict[str, str] | str | None:  # type: ignore[override]  # FINISHED is a str
        try:
            return self._bridge.start(trial_id)
        except StopIteration:
            finished: str = Searcher.FINISHED
            return finished

    @override
    def on_trial_complete(self, trial_id: str, result: Mapping[str, str] | None = None, error: bool = False) -> None:
        if error or result is None:
            self._bridge.crash(trial_id)
        else:
            self._bridge.complete(trial_id, result)

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: the search is rebuilt from the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing."""


@final
class CancelAdapter(tune.Stopper):
    """Ends the run once the search was left; Tune kills the workers that have not ended ten seconds later."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    @override
    def __call__(self, trial_id: str, result: Mapping[str, object]) -> bool:
        return False

    @override
    def stop_all(self) -> bool:
        return self._bridge.is_cancelled


@final
class VerdictAdapter(FIFOScheduler):
    """`Search.report` as Tune's scheduler."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray has no types here
        self._bridge = bridge

    @override
    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, str]) -> str:
        verdict = self._bridge.report(trial.trial_id, result)
        return str(TrialScheduler.STOP if verdict is Verdict.STOP else TrialScheduler.CONTINUE)

    @override
    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        _note_error(self._bridge, trial)


@final
class SchedulerAdapter(FIFOScheduler):
    """A scheduler of Tune's that decides in place of the search, which still sees every measurement."""

    def __init__(self, bridge: Bridge, scheduler: TrialScheduler) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray has no types here
        self._bridge = bridge
        self._scheduler = scheduler
        self._scheduler.set_search_properties(UTILITY, "max")

    @override
    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        self._scheduler.on_trial_add(tune_controller, trial)

    @override
    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        _note_error(self._bridge, trial)
        self._scheduler.on_trial_error(tune_controller, trial)

    @override
    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: dict[str, str]) -> None:
        self._scheduler.on_trial_complete(tune_controller, trial, result)

    @override
    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, str]) -> str:
        if self._bridge.report(trial.trial_id, result) is Verdict.STOP:
            return str(TrialScheduler.STOP)
        return str(self._scheduler.on_trial_result(tune_controller, trial, result))


def _note_error(bridge: Bridge, trial: Trial) -> None:
    """Passes on the last line of the error; Tune asks its scheduler before its searcher."""
    error = trial.get_error()
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if error is not None and lines:
        bridge.note_error(trial.trial_id, lines[-1])
