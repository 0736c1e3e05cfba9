"""Runs one trial, a few epochs at a time, so that whoever drives it can stop it, share the process, or move it."""

import dataclasses
import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final

import torch

from transmeta.core import codec
from transmeta.core.codec import Json
from transmeta.core.model import ModelCard
from transmeta.core.task import Task
from transmeta.core.trial import Measurement, TrialResult, TrialSpec, TrialStatus
from transmeta.errors import ConfigError, TrialFailure
from transmeta.strategies.catalogue import find_strategy
from transmeta.tasks.catalogue import load_task, task_encoder
from transmeta.training.checkpoint import write_checkpoint
from transmeta.training.data import TaskData
from transmeta.training.fit import Fit
from transmeta.training.planned import PlannedModel, apply
from transmeta.training.seeding import derive_seed
from transmeta.trials.environment import Environment

THREADS: Final = 1
"""Torch threads in a process that runs trials: more of them slow small models down, and would change their sums."""
FAILURES: Final = (TrialFailure, torch.OutOfMemoryError)
"""What is the strategy's fault, and so a result."""


@final
class TrialRun:
    """One trial under way.

    Call `advance` until it returns a TrialResult, or `stop` after a Measurement. A strategy's failure is a result.

    Args:
        spec: what to run.
        environment: where models are found and results are kept.

    Raises:
        InputError, UnsafeFileError: if the task, source or strategy does not exist or cannot be read: the fault of
            whoever made the spec, found before any training.
    """

    def __init__(self, spec: TrialSpec, *, environment: Environment) -> None:
        self.spec = spec
        self._environment = environment
        self._wall_s = self._cost_s = 0.0
        self._curve: list[Measurement] = []
        self._reason = ""
        with self._clocked():
            self._prepare()

    def _prepare(self) -> None:
        spec, environment = self.spec, self._environment
        self._data = cached_data(codec.dumps(spec.target))
        library = environment.library()
        self._card = library.card(spec.pair.source, target=spec.target)
        if not self._card.is_allowed_for(spec.target):
            raise ConfigError(
                f"source {self._card.id} has seen {spec.target.dataset} or takes other inputs than {spec.target.name}; "
                "choose another source"
            )
        self._planned: PlannedModel | None = None
        self._fit: Fit | None = None
        try:
            self._planned, self._fit = self._open(self._card, environment)
        except FAILURES as failure:
            self._reason = str(failure)

    def _open(self, card: ModelCard, environment: Environment) -> tuple[PlannedModel, Fit]:
        spec = self.spec
        plan = find_strategy(spec.strategy.name).plan(spec.strategy.params, card)
        model = environment.library().load(card)
        classes = len(self._data.class_names)
        planned = apply(plan, model=model, card=card, class_count=classes, seed=derive_seed(spec.seed, "plan"))
        fit = Fit(planned, self._data, metric=spec.target.metric, seed=derive_seed(spec.seed, "fit"))
        return planned, fit

    @property
    def parameter_count(self) -> int:
        """Trainable weights; 0 where the plan could not be applied."""
        return self._planned.parameter_count if self._planned else 0

    def advance(self) -> Measurement | TrialResult:
        """Runs up to the next measurement and returns it; or the result, once all epochs are done or one failed."""
        if self._fit is None:
            return self._result(TrialStatus.FAILED)
        try:
            with self._clocked():
                if self._fit.is_done:
                    test_score = self._fit.score(self._data.test, name="test")
                else:
                    report, test_score = self._fit.advance(), None
        except FAILURES as failure:
            self._reason = str(failure)
            return self._result(TrialStatus.FAILED)
        if test_score is not None:
            return self._keep(self._result(TrialStatus.COMPLETED, test_score=test_score))
        measurement = Measurement(
            epoch=report.epoch,
            progress=report.epoch / report.epochs,
            progress_before=report.epoch_before / report.epochs,
            value=report.value,
            train_loss=report.train_loss,
            cost_s=round(self._cost_s, 6),
            wall_s=round(self._wall_s, 6),
        )
        self._curve.append(measurement)
        return measurement

    def stop(self, *, reason: str) -> TrialResult:
        """Ends the trial early and returns its result: STOPPED, its curve so far."""
        self._reason = reason
        return self._keep(self._result(TrialStatus.STOPPED))

    @contextmanager
    def _clocked(self) -> Iterator[None]:
        """Charges the block to the trial; what the process does between, such as other trials, is not its cost."""
        wall_start, cost_start = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self._wall_s += time.perf_counter() - wall_start
            self._cost_s += time.process_time() - cost_start

    def _result(self, status: TrialStatus, *, test_score: float | None = None) -> TrialResult:
        return TrialResult(
            spec=self.spec,
            status=status,
            curve=tuple(self._curve),
            score=self._curve[-1].value if self._curve and status is not TrialStatus.FAILED else None,
            test_score=test_score,
            cost_s=round(self._cost_s, 6),
            wall_s=round(self._wall_s, 6),
            parameter_count=self.parameter_count,
            reason=self._reason,
        )

    def _keep(self, result: TrialResult) -> TrialResult:
        """Writes the trained model where the environment asks for it."""
        folder = self._environment.checkpoint_folder
        if folder is None or self._planned is None or result.score is None:
            return result
        path = Path(folder) / self.spec.id
        meta: dict[str, Json] = {
            "schema": 1,
            "spec": codec.to_json(self.spec),
            "card": codec.to_json(self._card),
            "classes": [*self._data.class_names],
            "encoder": None if (encoder := task_encoder(self.spec.target)) is None else codec.to_json(encoder),
        }
        write_checkpoint(path, tensors=self._planned.model.state_dict(), meta=meta)
        return dataclasses.replace(result, checkpoint=str(path))


@functools.lru_cache(maxsize=16)
def cached_data(text: str) -> TaskData:
    """Returns the data of the task whose canonical JSON is `text`; the last few tasks stay in memory."""
    return load_task(codec.loads(Task, text))
