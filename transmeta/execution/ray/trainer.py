"""Source training by Ray Train: any number of workers, resumed from the last epoch after a worker is lost."""

import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from transmeta.execution.ray import session  # noqa: F401  # sets Ray's environment before Ray is imported

# isort: split
import ray.train
import torch
from ray.exceptions import RayError

from transmeta.core import codec
from transmeta.core.model import ModelCard
from transmeta.errors import NoValidTrialError, TrialFailure, UnavailableError, UnsafeFileError
from transmeta.execution.ray.resources import Resources, slots
from transmeta.execution.ray.train_run import (
    STATE,
    drop_torn_snapshot,
    last_line,
    own_device,
    own_replica,
    report_with_checkpoint,
    restored,
    torch_trainer,
)
from transmeta.training.checkpoint import META, read_checkpoint
from transmeta.training.fit import FitState
from transmeta.trials.source import SourceSpec, open_source_training

MAX_FAILURES: Final = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainedSource:
    """A source model that was trained.

    Attributes:
        losses: mean training loss up to each evaluation since the one before, nats.
    """

    card: ModelCard
    losses: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is; kept beside the weights of each checkpoint.

    Attributes:
        epoch: epochs that are done.
        value: validation score after the last of them.
        failure: why the training cannot go on; empty if it can.
    """

    epoch: int = 0
    losses: tuple[float, ...] = ()
    value: float = 0.0
    failure: str = ""
    schema: int = 1


def train_source(
    spec: SourceSpec,
    *,
    models: Path,
    storage: Path,
    workers: int = 1,
    resources: Resources | None = None,
) -> TrainedSource:
    """Returns the card of the source model that `spec` describes, trained on the session that is open.

    Asking again for the same spec and storage resumes after the last checkpoint, nine of which are written; what is
    finished is not started again.

    Args:
        models: the finished model becomes durable as `models/<model id>`.
        storage: where runs keep their checkpoints; must be seen by all nodes.
        workers: processes, each with `resources`; the result does not depend on their number beyond rounding.

    Raises:
        InfeasibleError: at once, if the cluster can never run so many workers.
        NoValidTrialError: if training diverged.
        UnavailableError: if workers failed more often than is retried; asking again resumes.
    """
    resources = resources or Resources()
    slots(resources, workers=workers)
    name = f"source-{spec.model_id}"
    progress = _finished(storage / name, epochs=spec.optimiser.epochs)
    if progress is None or not (models / spec.model_id / META).is_file():
        drop_torn_snapshot(storage / name)
        trainer = torch_trainer(
            _train,
            {"spec": codec.dumps(spec), "models": str(models.resolve())},
            name=name,
            storage=storage,
            workers=workers,
            resources=resources,
            max_failures=MAX_FAILURES,
        )
        try:
            with _kept_interrupt_handler():
                result = trainer.fit()
        except (ray.train.TrainingFailedError, RayError) as error:
            raise UnavailableError(
                f"training {spec.model_id} ended early ({last_line(error)}); run it again to resume"
            ) from error
        progress = codec.loads(Progress, result.return_value)  # type: ignore[attr-defined]  # nor it here
    if progress.failure:
        raise NoValidTrialError(f"source {spec.name}: {progress.failure}")
    text = (models / spec.model_id / META).read_text()
    return TrainedSource(card=codec.loads(ModelCard, text), losses=progress.losses)


def _train(config: Mapping[str, str]) -> str:
    """Ray Train's loop on each worker; returns the progress as JSON."""
    torch.set_num_threads(1)
    spec = codec.loads(SourceSpec, config["spec"])
    replica = own_replica()
    training = open_source_training(spec, replica=replica, device=str(own_device()))
    progress = _resume(training.fit.restore)
    while not training.fit.is_done:
        try:
            report = training.fit.advance()
        except TrialFailure as failure:  # on all workers alike, and again if it were retried
            return codec.dumps(dataclasses.replace(progress, failure=str(failure)))
        progress = Progress(epoch=report.epoch, losses=(*progress.losses, report.train_loss), value=report.value)
        metrics = {"epoch": report.epoch, "train_loss": report.train_loss, "value": report.value}
        if replica.rank == 0:
            report_with_checkpoint(metrics, tensors=training.fit.state().tensors, meta=codec.to_json(progress))
        else:
            ray.train.report(metrics)
    if replica.rank == 0:  # also where the last worker ended between its last checkpoint and this
        training.save(Path(config["models"]), score=progress.value)
    return codec.dumps(progress)


def _resume(restore: Callable[[FitState], None]) -> Progress:
    """Restores the last checkpoint of the run, if any, and returns how far it was."""
    checkpoint = restored()
    if checkpoint is None:
        return Progress()
    tensors, meta = checkpoint
    progress = codec.from_json(Progress, meta)
    restore(FitState(tensors=tensors, epoch=progress.epoch))
    return progress


def _finished(run: Path, *, epochs: int) -> Progress | None:
    """Returns the progress of a run that has a checkpoint after its last epoch, None for any other."""
    for folder in sorted(run.glob(f"*/{STATE}")):
        with suppress(UnsafeFileError):  # half deleted, when a run was killed
            _, meta = read_checkpoint(folder)
            progress = codec.from_json(Progress, meta, where=str(folder))
            if progress.epoch == epochs:
                return progress
    return None


@contextmanager
def _kept_interrupt_handler() -> Iterator[None]:
    """Restores what Ctrl-C does: Ray Train takes it over, and would keep it after the run."""
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGINT, handler)
