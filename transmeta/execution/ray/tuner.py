"""Runs a search by Ray Tune: our `Search` is Tune's searcher, its verdicts are Tune's scheduler's."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, cast, final

from transmeta.execution.ray import session  # noqa: F401  # sets Ray's environment before Ray is imported

# isort: split
import ray
from ray import tune
from ray.actor import ActorHandle
from ray.tune.schedulers import TrialScheduler

from transmeta.core import codec
from transmeta.core.protocols import Search
from transmeta.core.trial import TrialResult
from transmeta.execution.ray.bridge import (
    ANSWER,
    ERRAND,
    PARAMETERS,
    PROGRESS,
    TICKET,
    UTILITY,
    Bridge,
    CancelAdapter,
    SchedulerAdapter,
    SearchAdapter,
    VerdictAdapter,
)
from transmeta.execution.ray.pool import OPENER
from transmeta.execution.ray.resources import Resources, slots
from transmeta.execution.ray.worker import Answer, Errand, Stops, UnitWorker
from transmeta.training.fit import EVALUATIONS
from transmeta.trials.environment import Environment
from transmeta.trials.planning import OneByOne, Planner

UNIT: Final = 0
"""A trial of Tune's holds one unit, so one ticket is enough."""


@final
class Board:
    """Where the search's verdicts wait for the workers that they concern; an actor."""

    def __init__(self) -> None:
        self._stops: dict[str, str] = {}

    def post(self, ticket: str, stops: str) -> None:
        """Leaves `Stops` (JSON) for a unit."""
        self._stops[ticket] = stops

    def take(self, ticket: str) -> str | None:
        """Returns what was left for a unit, once."""
        return self._stops.pop(ticket, None)


@final
class UnitTrainable(tune.Trainable):
    """One unit as Tune sees it; its actor serves one after another, torch and the data loaded."""

    def setup(self, config: Mapping[str, str], board: ActorHandle[Board] | None = None) -> None:
        """Takes the unit that the config holds as JSON."""
        self._worker = UnitWorker(opener=OPENER)
        self._board = board
        self._take(config)

    def reset_config(self, new_config: Mapping[str, str]) -> bool:
        """Takes the next unit; the one before, if Tune stopped it, leaves its model."""
        self.cleanup()
        self._take(new_config)
        return True

    def _take(self, config: Mapping[str, str]) -> None:
        self._errand = config[ERRAND]
        self._ticket = config[TICKET]
        self._members = codec.loads(Errand, self._errand).unit.members
        self._is_open = False

    def step(self) -> dict[str, object]:
        """Runs epochs up to the next rung, to the end, or for about a second."""
        answer_json = self._worker.go_on(UNIT, self._stops()) if self._is_open else self._worker.run(UNIT, self._errand)
        answer = codec.loads(Answer, answer_json)
        self._is_open = not answer.is_done
        shown: dict[str, object] = {ANSWER: answer_json, tune.result.DONE: answer.is_done}
        if len(self._members) > 1 or not answer.measurements:
            return shown
        last, spec = answer.measurements[-1].measurement, self._members[0]
        utility = spec.target.metric.utility(last.value)
        count = self._worker.parameter_count(UNIT, spec.id) if self._is_open else 0
        return shown | {UTILITY: utility, PROGRESS: last.progress, PARAMETERS: count}

    def _stops(self) -> str:
        left = None if self._board is None else cast(str | None, ray.get(self._board.take.remote(self._ticket)))
        return left or codec.dumps(Stops(trials=()))

    def cleanup(self) -> None:
        """Leaves the model of a trial that Tune's scheduler stopped, where the environment asks for it."""
        if self._is_open and len(self._members) == 1:
            self._worker.go_on(UNIT, codec.dumps(Stops(trials=(self._members[0].id,))))
        self._worker.forget()
        self._is_open = False

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Saves nothing: a unit whose worker crashed starts over, which gives the same numbers."""

    def load_checkpoint(self, checkpoint: dict[str, object] | None) -> None:
        """Loads nothing."""


@final
class TuneExecutor:
    """Runs trials by Ray Tune on the session that is open, actors reused, as many at once as the cluster has room for.

    Args:
        environment: where models are found and results are kept.
        resources: what each trial takes.
        scheduler: a scheduler of Tune's, such as ASHA, beside the search's own verdicts; it sees the metric
            `utility` (maximised) and the time attribute `progress`, and trials one by one.
        planner: makes units of trials; None for each trial by itself.
    """

    name = "ray"

    def __init__(
        self,
        *,
        environment: Environment,
        resources: Resources | None = None,
        scheduler: TrialScheduler | None = None,
        planner: Planner | None = None,
    ) -> None:
        self._planner = planner if planner is not None and scheduler is None else OneByOne()
        self._environment = environment
        self._resources = resources or Resources()
        self._scheduler = scheduler

    def drive(self, search: Search) -> Iterator[TrialResult]:
        """Yields the result of each trial of `search`, in order of completion.

        The model of a trial that was stopped is there when the iteration has ended, that of a completed one at once.

        Raises:
            InfeasibleError: at once, if no node can run a single trial.
            InputError, UnsafeFileError: if a trial cannot be run as it is specified; it is not told.
        """
        room = slots(self._resources)
        shares = () if self._scheduler is None else tuple(n / EVALUATIONS for n in range(1, EVALUATIONS))
        board = cast(ActorHandle[Board], ray.remote(num_cpus=0)(Board).remote())

        def post(ticket: str, stops: str) -> None:
            ray.get(board.post.remote(ticket, stops))

        bridge = Bridge(
            search,
            environment=self._environment,
            planner=self._planner,
            workers=room,
            post=post,
            shares=shares,
        )
        failure: list[BaseException] = []

        def fit() -> None:
            try:
                with TemporaryDirectory(prefix="transmeta-tune-") as folder:
                    trainable = tune.with_parameters(UnitTrainable, board=board)
                    _tuner(bridge, trainable, self._resources, self._scheduler, room=room, folder=Path(folder)).fit()
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
                failure.append(error)
            finally:
                bridge.finished.put(None)

        thread = threading.Thread(target=fit, name="tune", daemon=True)
        thread.start()
        try:
            while (finished := bridge.finished.get()) is not None:
                if not isinstance(finished, TrialResult):
                    raise finished
                yield finished
        finally:
            bridge.is_cancelled = True
            thread.join()
            ray.kill(board)
        if failure:
            raise failure[0]


def _tuner(
    bridge: Bridge,
    trainable: type[tune.Trainable],
    resources: Resources,
    scheduler: TrialScheduler | None,
    *,
    room: int,
    folder: Path,
) -> tune.Tuner:
    return tune.Tuner(
        tune.with_resources(trainable, resources.as_ray()),
        tune_config=tune.TuneConfig(
            search_alg=SearchAdapter(bridge),
            scheduler=VerdictAdapter(bridge) if scheduler is None else SchedulerAdapter(bridge, scheduler),
            num_samples=-1,
            max_concurrent_trials=room,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            name="search",
            verbose=0,
            stop=CancelAdapter(bridge),
            failure_config=tune.FailureConfig(max_failures=0),  # the bridge starts units over
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
