"""What the runs of Ray Train have in common: their settings, the share of each worker, and their checkpoints."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

from transmeta.execution.ray import session  # noqa: F401  # sets Ray's environment before Ray is imported

# isort: split
import ray.train
import torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device, prepare_model
from torch import Tensor, nn

from transmeta.core.codec import Json
from transmeta.execution.ray.resources import Resources
from transmeta.training.checkpoint import read_checkpoint, write_checkpoint
from transmeta.training.fit import Replica

Config = TypeVar("Config", bound=Mapping[str, object])

STATE: Final = "state"
"""Folder of our own checkpoint inside one of Ray's."""
SNAPSHOT: Final = "checkpoint_manager_snapshot.json"
"""Ray's list of a run's checkpoints."""


def torch_trainer(
    loop: Callable[[Config], str],
    config: Config,
    *,
    name: str,
    storage: Path,
    workers: int,
    resources: Resources,
    max_failures: int,
) -> TorchTrainer:
    """Returns a run of `loop` on each of `workers`; asked for again by the same name, it resumes.

    Args:
        storage: where runs keep their checkpoints; must be seen by all nodes.
        max_failures: how often the workers are started again after one was lost.
    """
    return TorchTrainer(
        loop,  # type: ignore[arg-type]  # Ray's types do not know that a loop may return a value
        train_loop_config=dict(config),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=resources.gpus > 0, resources_per_worker=resources.as_ray()
        ),
        torch_config=TorchConfig(backend=None if resources.gpus and torch.cuda.is_available() else "gloo"),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage.resolve()),
            failure_config=FailureConfig(max_failures=max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )


def own_replica() -> Replica:
    """Returns the share of this worker."""
    context = ray.train.get_context()
    count = context.get_world_size()

    def wrap(module: nn.Module) -> nn.Module:
        # All make the same weights by seed; to send them round would count as writing to those that are frozen.
        kwargs = {"init_sync": False} if count > 1 else None
        prepared: nn.Module = prepare_model(
            module, parallel_strategy="ddp" if count > 1 else None, parallel_strategy_kwargs=kwargs
        )
        return prepared

    return Replica(rank=context.get_world_rank(), count=count, wrap=wrap)


def own_device() -> torch.device:
    """Returns the device of this worker; Ray Train lets each see those of all on its node."""
    return torch.device(str(get_device())) if torch.cuda.is_available() else torch.device("cpu")


def restored() -> tuple[Mapping[str, Tensor], Json] | None:
    """Returns tensors and description of the last checkpoint of this worker's run, None if it has none."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return read_checkpoint(Path(folder) / STATE)


def report_with_checkpoint(metrics: Mapping[str, float], *, tensors: Mapping[str, Tensor], meta: Json) -> None:
    """Makes a checkpoint durable; the other workers report the metrics without one."""
    with TemporaryDirectory() as folder:
        write_checkpoint(Path(folder) / STATE, tensors=tensors, meta=meta)
        ray.train.report(dict(metrics), checkpoint=Checkpoint.from_directory(folder))


def drop_torn_snapshot(run: Path) -> None:
    """Removes Ray's list of checkpoints if a kill left half of it: Ray would refuse the run for ever."""
    path = run / SNAPSHOT
    try:
        json.loads(path.read_text())
    except FileNotFoundError:
        return
    except ValueError:
        path.unlink()


def last_line(error: Exception) -> str:
    """Returns the last line of what Ray said, which holds the cause."""
    return (str(error).strip().splitlines() or ["no reason was given"])[-1].strip()
