"""Tune's searcher and scheduler as thin adapters to `Search`: one trial of Tune's is one unit."""

import queue
from collections.abc import Callable, Mapping
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
from transmeta.core.trial import TrialResult, TrialStatus
from transmeta.errors import InputError, UnsafeFileError
from transmeta.execution.dispatch import Assignment, Dispatch
from transmeta.execution.ray.worker import Answer, Errand, Stops
from transmeta.trials.environment import Environment
from transmeta.trials.planning import Planner
from transmeta.trials.unit import UnitStep

ERRAND: Final = "errand"
TICKET: Final = "ticket"
ANSWER: Final = "answer"
PARAMETERS: Final = "parameters"
UTILITY: Final = "utility"
PROGRESS: Final = "progress"

Post = Callable[[str, str], None]
"""Leaves the `Stops` (JSON) for a unit, by Tune's id, where its worker reads them before its next step."""


@final
class Bridge:
    """What Tune's searcher and scheduler share: the search, and the units that are under way.

    Tune calls it from one thread. Finished results are passed on through `finished`, or the error that ends the search;
    None at the end.

    Args:
        workers: how many units run at once.
        post: takes the search's verdicts to the workers.
        shares: of a trial's epochs at which a scheduler of Tune's wants to see it, beside the rungs of the search.
    """

    def __init__(
        self,
        search: Search,
        *,
        environment: Environment,
        planner: Planner,
        workers: int,
        post: Post,
        shares: tuple[float, ...] = (),
    ) -> None:
        self.finished: queue.SimpleQueue[TrialResult | InputError | UnsafeFileError | None] = queue.SimpleQueue()
        self.is_cancelled = False
        self._dispatch = Dispatch(search, planner=planner, workers=workers)
        self._environment = environment
        self._post = post
        self._rungs = (*search.rungs, *shares)
        self._open: dict[str, Assignment] = {}
        self._errors: dict[str, str] = {}

    def __deepcopy__(self, _: object) -> "Bridge":
        return self  # Tune copies its configuration; the search must stay the one that the caller holds

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        return object, ()  # Tune pickles its configuration; our state is rebuilt from the store, never from a pickle

    def start(self, tune_id: str) -> dict[str, str] | None:
        """Returns the config of the next unit, None if none can start now, raises StopIteration if none ever will."""
        assignment = None
        if not self.is_cancelled:
            self._dispatch.replenish()
            assignment = self._dispatch.take(beside=())
        if assignment is None:
            if self._open:
                return None
            raise StopIteration
        self._open[tune_id] = assignment
        errand = Errand(unit=assignment.unit, environment=self._environment, rungs=self._rungs)
        return {ERRAND: codec.dumps(errand), TICKET: tune_id}

    def report(self, tune_id: str, result: Mapping[str, str]) -> None:
        """Shows the search a step of a unit, and leaves its verdicts for the worker."""
        answer = codec.loads(Answer, result[ANSWER])
        assignment = self._open[tune_id]
        step = answer.as_step(assignment.running)
        results, stops = self._dispatch.absorb(assignment, step, is_done=answer.is_done, busy_s=answer.busy_s)
        if stops and not answer.is_done:
            self._post(tune_id, codec.dumps(Stops(trials=tuple(stops))))
        if answer.is_done:
            self._close(tune_id)
        for ended in results:
            self.finished.put(ended)

    def complete(self, tune_id: str, result: Mapping[str, str]) -> None:
        """Takes the last step of a unit; one that Tune stopped by a scheduler of its own is STOPPED."""
        answer = codec.loads(Answer, result[ANSWER])
        if answer.refusal is not None:
            self._close(tune_id)
            self.is_cancelled = True
            self.finished.put(answer.refusal.as_error())
        elif answer.is_done:
            self.report(tune_id, result)
        elif not self.is_cancelled:
            self._stop(tune_id, parameter_count=int(result[PARAMETERS]))

    def note_error(self, tune_id: str, text: str) -> None:
        """Keeps what the machinery said when it failed."""
        self._errors[tune_id] = text

    def crash(self, tune_id: str) -> None:
        """Takes back a unit whose worker failed; it starts over, and its members end as CRASHED after some attempts."""
        if tune_id in self._open:
            reason = self._errors.get(tune_id, "no reason was given")
            for result in self._dispatch.lose(self._close(tune_id), reason=reason):
                self.finished.put(result)

    def _stop(self, tune_id: str, *, parameter_count: int) -> None:
        (spec,) = self._open[tune_id].running
        last = self._open[tune_id].curve(spec.id)[-1]
        folder = self._environment.checkpoint_folder
        stopped = TrialResult(
            spec=spec,
            status=TrialStatus.STOPPED,
            score=last.value,
            cost_s=last.cost_s,
            wall_s=last.wall_s,
            parameter_count=parameter_count,
            reason="stopped by Tune's scheduler",
            checkpoint=str(Path(folder) / spec.id) if folder else None,
        )
        step = UnitStep(results=(stopped,))
        results, _ = self._dispatch.absorb(self._close(tune_id), step, is_done=True, busy_s=0.0)
        for ended in results:
            self.finished.put(ended)

    def _close(self, tune_id: str) -> Assignment:
        self._errors.pop(tune_id, None)
        return self._open.pop(tune_id)


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
    """`Search.report` as Tune's scheduler: it stops members of a unit, and the unit ends with the last of them."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray has no types here
        self._bridge = bridge

    @override
    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, str]) -> str:
        self._bridge.report(trial.trial_id, result)
        return str(TrialScheduler.CONTINUE)

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
        self._bridge.report(trial.trial_id, result)
        return str(self._scheduler.on_trial_result(tune_controller, trial, result))


def _note_error(bridge: Bridge, trial: Trial) -> None:
    """Passes on the last line of the error; Tune asks its scheduler before its searcher."""
    error = trial.get_error()
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if error is not None and lines:
        bridge.note_error(trial.trial_id, lines[-1])
