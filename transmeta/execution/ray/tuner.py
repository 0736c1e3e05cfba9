"""Runs a search by Ray Tune: our `Search` is Tune's searcher, its verdicts are Tune's scheduler's."""

import importlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, final

from transmeta.execution.ray import session  # noqa: F401  # sets Ray's environment before Ray is imported

# isort: split
import torch
from ray import tune
from ray.tune.schedulers import TrialScheduler

from transmeta.core import codec
from transmeta.core.protocols import Search
from transmeta.core.trial import Measurement, TrialResult, TrialSpec
from transmeta.execution.ray.bridge import (
    CURVE,
    ENVIRONMENT,
    MAX_FAILURES,
    PROGRESS,
    REFUSAL,
    REFUSALS,
    RESULT,
    RUNGS,
    SPEC,
    STOPPED,
    UTILITY,
    Bridge,
    CancelAdapter,
    Curve,
    Refusal,
    Rungs,
    SchedulerAdapter,
    SearchAdapter,
    VerdictAdapter,
)
from transmeta.execution.ray.resources import Resources, slots
from transmeta.training.fit import EVALUATIONS
from transmeta.trials.environment import Environment
from transmeta.trials.run import THREADS, TrialRun

STEP_S: Final = 1.0
"""A Tune step ends after this many seconds, or at a rung: the delay with which a deadline is noticed."""


@final
class TrialTrainable(tune.Trainable):
    """One trial as Tune sees it; its actor serves one trial after another, torch and the data loaded."""

    def setup(self, config: Mapping[str, str]) -> None:
        """Opens the trial that the config holds as JSON."""
        torch.set_num_threads(THREADS)
        importlib.import_module("torch._dynamo")  # the first optimiser step would, at the cost of the first trial
        self._spec = codec.loads(TrialSpec, config[SPEC])
        self._environment = codec.loads(Environment, config[ENVIRONMENT])
        self._rungs = codec.loads(Rungs, config[RUNGS]).shares
        self._run: TrialRun | None = None

    def reset_config(self, new_config: Mapping[str, str]) -> bool:
        """Takes the next trial; the one before, if it was stopped, leaves its model."""
        self.cleanup()
        self.setup(new_config)
        return True

    def step(self) -> dict[str, object]:
        """Runs epochs up to the next rung, to the end, or for about `STEP_S` seconds."""
        if self._run is None:
            try:
                self._run = TrialRun(self._spec, environment=self._environment)
            except REFUSALS as error:
                refusal = Refusal(message=str(error), exit_code=error.exit_code)
                return {REFUSAL: codec.dumps(refusal), tune.result.DONE: True}
        run = self._run
        measurements: list[Measurement] = []
        started_s = 0.0
        while True:
            step = run.advance()
            if isinstance(step, TrialResult):
                self._run = None
                return _report(measurements, run) | {RESULT: codec.dumps(step), tune.result.DONE: True}
            measurements.append(step)
            started_s = started_s or step.wall_s
            if any(step.reaches(rung) for rung in self._rungs) or step.wall_s - started_s > STEP_S:
                return _report(measurements, run)

    def cleanup(self) -> None:
        """Leaves the model of a trial that was stopped, where the environment asks for it."""
        if self._run is not None:
            self._run.stop(reason=STOPPED)
            self._run = None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Saves nothing: a trial that crashed starts over, which gives the same numbers."""

    def load_checkpoint(self, checkpoint: dict[str, object] | None) -> None:
        """Loads nothing."""


@final
class TuneExecutor:
    """Runs trials by Ray Tune on the session that is open, actors reused, as many at once as the cluster has room for.

    Args:
        environment: where models are found and results are kept.
        resources: what each trial takes.
        scheduler: a scheduler of Tune's, such as ASHA, in place of the search's own verdicts; it sees the metric
            `utility` (maximised) and the time attribute `progress`.
    """

    name = "ray"

    def __init__(
        self,
        *,
        environment: Environment,
        resources: Resources | None = None,
        scheduler: TrialScheduler | None = None,
    ) -> None:
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
        bridge = Bridge(search, environment=self._environment, shares=shares)
        failure: list[BaseException] = []

        def fit() -> None:
            try:
                with TemporaryDirectory(prefix="transmeta-tune-") as folder:
                    _tuner(bridge, self._resources, self._scheduler, room=room, folder=Path(folder)).fit()
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
        if failure:
            raise failure[0]


def _tuner(
    bridge: Bridge, resources: Resources, scheduler: TrialScheduler | None, *, room: int, folder: Path
) -> tune.Tuner:
    return tune.Tuner(
        tune.with_resources(TrialTrainable, resources.as_ray()),
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
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )


def _report(measurements: Sequence[Measurement], run: TrialRun) -> dict[str, object]:
    curve = Curve(measurements=tuple(measurements), parameter_count=run.parameter_count)
    if not measurements:
        return {CURVE: codec.dumps(curve)}
    last = measurements[-1]
    utility = run.spec.target.metric.utility(last.value)
    return {CURVE: codec.dumps(curve), UTILITY: utility, PROGRESS: last.progress}
