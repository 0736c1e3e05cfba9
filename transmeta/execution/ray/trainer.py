"""Source training by Ray Train: any number of workers, resumed from the last epoch after a worker is lost."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from transmeta.execution.ray import session  # noqa: F401  # sets Ray's environment before Ray is imported

# isort: split
import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, Result, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device, prepare_model
from torch import nn

from transmeta.core import codec
from transmeta.core.model import ModelCard
from transmeta.errors import UnavailableError
from transmeta.execution.ray.resources import Resources, slots
from transmeta.training.checkpoint import read_checkpoint, write_checkpoint
from transmeta.training.fit import FitState, Replica
from transmeta.trials.source import SourceSpec, open_source_training

MAX_FAILURES = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainedSource:
    """A source model that was trained.

    Attributes:
        losses: mean training loss of each epoch, nats.
    """

    card: ModelCard
    losses: tuple[float, ...]


def train_source(
    spec: SourceSpec,
    *,
    models: Path,
    storage: Path,
    workers: int = 1,
    resources: Resources | None = None,
) -> TrainedSource:
    """Returns the card of the source model that `spec` describes, trained on the session that is open.

    Asking again for the same spec and storage resumes after the last epoch that was checkpointed.

    Args:
        models: the finished model becomes durable as `models/<model id>`.
        storage: where runs keep their checkpoints; must be seen by all nodes.
        workers: processes, each with `resources`; the result does not depend on their number beyond rounding.

    Raises:
        InfeasibleError: at once, if the cluster can never run so many workers.
        UnavailableError: if training failed more often than it is retried.
    """
    resources = resources or Resources()
    slots(resources, workers=workers)
    trainer = TorchTrainer(
        _train,
        train_loop_config={"spec": codec.dumps(spec), "models": str(models.resolve())},
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=resources.gpus > 0, resources_per_worker=resources.as_ray()
        ),
        torch_config=TorchConfig(backend=None if resources.gpus and torch.cuda.is_available() else "gloo"),
        run_config=RunConfig(
            name=f"source-{spec.model_id}",
            storage_path=str(storage.resolve()),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    try:
        result: Result = trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise UnavailableError(f"training {spec.model_id} failed {MAX_FAILURES + 1} times: {error}") from error
    assert result.checkpoint is not None, "every epoch reports a checkpoint"
    with result.checkpoint.as_directory() as folder:
        _, meta = read_checkpoint(Path(folder) / "state")
    progress = cast(dict[str, list[float]], meta)
    text = (models / spec.model_id / "meta.json").read_text()
    return TrainedSource(card=codec.loads(ModelCard, text), losses=tuple(progress["losses"]))


def _train(config: Mapping[str, str]) -> None:
    """Ray Train's loop on each worker; returns nothing, the checkpoint and the model folder are its results."""
    torch.set_num_threads(1)
    spec = codec.loads(SourceSpec, config["spec"])
    context = ray.train.get_context()
    rank, count = context.get_world_rank(), context.get_world_size()
    replica = Replica(rank=rank, count=count, wrap=_wrap(count))
    device = get_device() if torch.cuda.is_available() else "cpu"
    training = open_source_training(spec, replica=replica, device=str(device))
    losses, value = _resume(training.fit.restore)
    while not training.fit.is_done:
        report = training.fit.advance()
        losses.append(report.train_loss)
        value = report.value
        metrics = {"epoch": report.epoch, "train_loss": report.train_loss, "value": value}
        if report.epoch == training.fit.epochs and rank == 0:
            training.save(Path(config["models"]), score=value)
        if rank == 0:
            _report_with_checkpoint(metrics, training.fit.state(), losses=losses)
        else:
            ray.train.report(metrics)


def _wrap(count: int) -> Callable[[nn.Module], nn.Module]:
    def wrap(module: nn.Module) -> nn.Module:
        prepared: nn.Module = prepare_model(module, parallel_strategy="ddp" if count > 1 else None)
        return prepared

    return wrap


def _resume(restore: Callable[[FitState], None]) -> tuple[list[float], float]:
    """Restores the last checkpoint of the run, if any; returns the losses and the score so far."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return [], 0.0
    with checkpoint.as_directory() as folder:
        tensors, meta = read_checkpoint(Path(folder) / "state")
    progress = json.loads(json.dumps(meta))
    restore(FitState(tensors=tensors, epoch=progress["epoch"]))
    return list(progress["losses"]), float(progress["value"])


def _report_with_checkpoint(metrics: Mapping[str, float], state: FitState, *, losses: list[float]) -> None:
    with TemporaryDirectory() as folder:
        meta = {"schema": 1, "epoch": state.epoch, "losses": list(losses), "value": metrics["value"]}
        write_checkpoint(Path(folder) / "state", tensors=state.tensors, meta=meta)  # type: ignore[arg-type]  # invariant dict
        ray.train.report(dict(metrics), checkpoint=Checkpoint.from_directory(folder))
