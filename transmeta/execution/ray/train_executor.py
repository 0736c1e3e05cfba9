"""Runs each trial of a search on several workers of Ray Train: for models that take minutes to fine-tune."""

import dataclasses
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast, final

from transmeta.execution.ray import session  # noqa: F401  # sets Ray's environment before Ray is imported

# isort: split
import ray
import ray.train
from ray.exceptions import RayError
from ray.train.torch import TorchTrainer

from transmeta.core import codec
from transmeta.core.protocols import Search
from transmeta.core.trial import TrialResult, TrialSpec, TrialStatus
from transmeta.errors import TrialFailure, UnavailableError
from transmeta.execution.dispatch import ATTEMPTS
from transmeta.execution.ray.orders import Orders
from transmeta.execution.ray.resources import Resources, slots
from transmeta.execution.ray.train_run import drop_torn_snapshot, last_line, torch_trainer
from transmeta.execution.ray.train_trial import ERRAND, ORDERS, Outcome, TrialErrand, run_trial
from transmeta.execution.watch import Judge, TrialWatch
from transmeta.strategies.catalogue import find_strategy
from transmeta.training.fit import is_divisible
from transmeta.trials.environment import Environment
from transmeta.trials.run import allowed_card

LEAVE_S: Final = 3.0
"""Workers that have not come to their next measurement by then are killed, once nobody wants their trial any more."""
END_S: Final = 60.0
"""A run that has not ended by then waits for a place in a full cluster, and is left to end once it has one."""


@final
class TrainExecutor:
    """Runs trials one after another on the session that is open, each as a run of Ray Train that takes all workers.

    A run starts in about ten seconds, so this is for trials of minutes; small ones belong into a pool. Plans whose work
    cannot be divided (probing first, heads in closed form) take one worker. A trial that loses a worker goes on after
    its last measurement, and so does one whose driver was killed, when it is asked for again.

    Args:
        environment: where models are found and results are kept.
        storage: where trials keep their checkpoints while they run; must be seen by all nodes.
        resources: what each worker takes.
        workers: of each trial; None for as many as the cluster can run.
    """

    name = "train"

    def __init__(
        self,
        *,
        environment: Environment,
        storage: Path,
        resources: Resources | None = None,
        workers: int | None = None,
    ) -> None:
        self._environment = environment
        self._storage = storage
        self._resources = resources or Resources()
        self._workers = workers

    def drive(self, search: Search) -> Iterator[TrialResult]:
        """Yields the result of each trial of `search`, in the order in which they were asked for.

        A trial that loses its workers three times is CRASHED, with a reason that begins with `quarantined`.

        Raises:
            InfeasibleError: at once, if the cluster can't run the workers.
            InputError, UnsafeFileError: if a trial cannot be run as it is specified; it is not told.
            UnavailableError: if Ray Train itself failed; asking again resumes.
        """
        workers = slots(self._resources) if self._workers is None else self._workers
        slots(self._resources, workers=workers)
        while specs := search.ask(count=1):
            for spec in specs:
                result = self.run(spec, search, workers=workers)
                search.tell(result)
                yield result

    def run(self, spec: TrialSpec, judge: Judge, *, workers: int) -> TrialResult:
        """Returns the result of one trial on `workers`, whose measurements `judge` hears.

        Raises:
            InputError, UnsafeFileError, UnavailableError: as `drive`.
        """
        try:
            result = self._run(spec, judge, workers=workers)
        except (ray.train.TrainingFailedError, RayError) as error:
            raise UnavailableError(
                f"trial {spec.id} ended early ({last_line(error)}); run it again to resume"
            ) from error
        if result.status is not TrialStatus.CRASHED:
            shutil.rmtree(self._run_folder(spec), ignore_errors=True)
        return result

    def _run(self, spec: TrialSpec, judge: Judge, *, workers: int) -> TrialResult:
        watch = TrialWatch(spec, judge)
        count = workers if self._is_divisible(spec) else 1
        drop_torn_snapshot(self._run_folder(spec))
        orders = Orders.open()
        errand = TrialErrand(spec=spec, environment=self._environment)
        trainer = torch_trainer(
            run_trial,
            {ERRAND: codec.dumps(errand), ORDERS: orders},
            name=self._run_folder(spec).name,
            storage=self._storage,
            workers=count,
            resources=self._resources,
            max_failures=ATTEMPTS - 1,
        )
        run = _Run(trainer, orders)
        try:
            while (question := orders.next()) is not None:
                orders.answer(watch.hear(question))
        finally:
            run.leave()
            orders.dismiss()
        return _result(run, watch, spec=spec)

    def _is_divisible(self, spec: TrialSpec) -> bool:
        card = allowed_card(spec, environment=self._environment)
        try:
            return is_divisible(find_strategy(spec.strategy.name).plan(spec.strategy.params, card))
        except TrialFailure:  # that it cannot be applied is what the trial will show
            return False

    def _run_folder(self, spec: TrialSpec) -> Path:
        return self._storage / f"trial-{spec.id}"


@final
class _Run:
    """A run of Ray Train in a thread of its own, as this one has to answer it.

    Attributes:
        text: what the loop returned; empty if it did not.
        failure: what was raised instead.
    """

    def __init__(self, trainer: TorchTrainer, orders: Orders) -> None:
        self.text = ""
        self.failure: BaseException | None = None
        self._orders = orders
        self._thread = threading.Thread(target=self._fit, args=(trainer,), name="train", daemon=True)
        self._thread.start()

    def _fit(self, trainer: TorchTrainer) -> None:
        try:
            self.text = cast(str, trainer.fit().return_value)  # type: ignore[attr-defined]  # its types lack it
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which judges it
            self.failure = error
        finally:
            self._orders.finish()

    def leave(self) -> None:
        """Ends the run if it is not over, and returns when it is."""
        if not self._thread.is_alive():
            return
        workers = self._orders.close()
        self._thread.join(LEAVE_S)
        if self._thread.is_alive():
            for worker in workers:
                ray.kill(worker)  # Ray Train starts others, which are ordered to end
            self._thread.join(END_S)


def _result(run: _Run, watch: TrialWatch, *, spec: TrialSpec) -> TrialResult:
    curve = tuple(watch.curve)
    if watch.failure:
        cost_s, wall_s = (curve[-1].cost_s, curve[-1].wall_s) if curve else (0.0, 0.0)
        return TrialResult(
            spec=spec, status=TrialStatus.FAILED, curve=curve, cost_s=cost_s, wall_s=wall_s, reason=watch.failure
        )
    if isinstance(run.failure, ray.train.WorkerGroupError):
        reason = f"quarantined: its workers failed {ATTEMPTS} times, at last: {last_line(run.failure)}"
        return TrialResult(spec=spec, status=TrialStatus.CRASHED, reason=reason)
    if run.failure is not None:
        raise run.failure
    outcome = codec.loads(Outcome, run.text)
    if outcome.refusal is not None:
        raise outcome.refusal.as_error()
    assert outcome.result is not None, "only a failure ends a trial without a result"
    return dataclasses.replace(outcome.result, curve=curve)
