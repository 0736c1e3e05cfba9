"""Fine-tuning in plain torch, as one writes it for Tune: the loop of both rivals.

It shares with transmeta what a trial is (model, initial weights, order of the examples, nine evaluations), so that
scores can be compared, and none of how transmeta runs it.
"""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from transmeta.core.model import ModelCard
from transmeta.core.plan import Schedule, TransferPlan
from transmeta.models.library import ModelLibrary
from transmeta.training.planned import PlannedModel, apply
from transmeta.training.seeding import derive_seed
from transmeta.training.staged import StagedModel

EVALUATIONS: Final = 9
CHUNK: Final = 256
SPLITS: Final = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RivalTrial:
    """A trial as a script would have it in its config.

    Attributes:
        data: an .npz file with x and y of the three splits.
        cached: index of the first stage to run; those before are frozen, and their output is at hand.
    """

    id: str
    card: ModelCard
    plan: TransferPlan
    seed: int
    data: str
    models: str
    class_count: int
    cached: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """One split: what the first stage to run takes, the prepared images where they are needed beside it, labels."""

    x: Tensor
    y: Tensor
    prepared: Tensor | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One evaluation; `test_score` comes with the last."""

    share: float
    score: float
    loss: float
    test_score: float | None = None


def read_arrays(path: str) -> dict[str, Tensor]:
    """Returns x and y of the splits, by names such as `train_x`."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def open_model(trial: RivalTrial) -> PlannedModel:
    """Returns the model of a trial: source weights, what is added, and a new head."""
    model = ModelLibrary([Path(trial.models)]).load(trial.card)
    return planned_model(trial, model)


def planned_model(trial: RivalTrial, model: StagedModel) -> PlannedModel:
    """Returns `model` with what is added and a new head."""
    seed = derive_seed(trial.seed, "plan")
    return apply(trial.plan, model=model, card=trial.card, class_count=trial.class_count, seed=seed)


@torch.no_grad()
def frozen_output(model: StagedModel, prepared: Tensor, *, stop: int) -> Tensor:
    """Returns the output of the stages before `stop`."""
    return torch.cat([model.run(chunk, start=0, stop=stop) for chunk in torch.split(prepared, CHUNK)])


@final
class Training:
    """One fine-tuning, from evaluation to evaluation.

    Args:
        splits: by name.
        probe_splits: what the head takes, for the epochs in which it alone is trained; None to run all stages then.
        is_fused: whether AdamW is the fused one.
    """

    def __init__(
        self,
        planned: PlannedModel,
        splits: dict[str, Examples],
        *,
        start: int,
        seed: int,
        probe_splits: dict[str, Examples] | None = None,
        is_fused: bool = False,
    ) -> None:
        self._planned = planned
        self._splits = splits
        self._probe_splits = probe_splits
        self._start = start
        self._seed = derive_seed(seed, "fit")
        self._optimiser = torch.optim.AdamW(
            [{"params": list(group.parameters), "weight_decay": group.weight_decay} for group in planned.groups],
            lr=planned.plan.optimiser.learning_rate,
            fused=is_fused,
        )

    def run(self) -> Iterator[Shown]:
        """Trains, and yields each of the evaluations.

        Raises:
            FloatingPointError: if it diverged.
        """
        plan = self._planned.plan
        epochs = plan.optimiser.epochs + plan.probe_epochs
        losses: list[float] = []
        for epoch in range(epochs):
            losses.append(self._train_epoch(epoch))
            done = epoch + 1
            if done * EVALUATIONS // epochs > epoch * EVALUATIONS // epochs:
                is_last = done == epochs
                yield Shown(
                    share=done / epochs,
                    score=self._accuracy("validation", epoch),
                    loss=sum(losses) / len(losses),
                    test_score=self._accuracy("test", epoch) if is_last else None,
                )
                losses = []

    def _train_epoch(self, epoch: int) -> float:
        plan = self._planned.plan
        examples, start = self._at(epoch, "train")
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "epoch", epoch))
        batches = torch.split(torch.randperm(len(examples.y), generator=generator), plan.optimiser.batch_size)
        total = 0.0
        self._planned.model.eval()  # norms keep the source's statistics
        for step, batch in enumerate(batches):
            self._set_rates(epoch, step=step, steps=len(batches))
            x, side = self._batch(examples, batch, start=start, generator=generator)
            loss = functional.cross_entropy(self._planned.model(x, start, side), examples.y[batch])
            self._optimiser.zero_grad()
            (loss + self._penalty()).backward()
            self._optimiser.step()
            total += loss.item() * len(batch)
        if not math.isfinite(total):
            raise FloatingPointError(f"loss is {total} in epoch {epoch + 1}")
        return total / len(examples.y)

    def _at(self, epoch: int, split: str) -> tuple[Examples, int]:
        """Returns the examples that an epoch reads, and the first stage that it runs on them."""
        if epoch < self._planned.plan.probe_epochs and self._probe_splits is not None:
            return self._probe_splits[split], len(self._planned.model.stages)
        return self._splits[split], self._start

    def _batch(
        self, examples: Examples, batch: Tensor, *, start: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        shift = self._planned.plan.augment_shift
        x = examples.x[batch]
        if shift:
            x = _shifted(x, limit=shift, offsets=torch.randint(0, 2 * shift + 1, (2, len(batch)), generator=generator))
        return x, None if examples.prepared is None else examples.prepared[batch]

    def _set_rates(self, epoch: int, *, step: int, steps: int) -> None:
        plan, numbers = self._planned.plan, self._planned.plan.optimiser
        done = (epoch - plan.probe_epochs) * steps + step
        total, warmup = numbers.epochs * steps, numbers.warmup * numbers.epochs * steps
        if done < warmup:
            factor = (done + 1) / (warmup + 1)
        elif numbers.schedule is Schedule.COSINE:
            factor = 0.5 * (1 + math.cos(math.pi * (done - warmup) / max(1.0, total - warmup)))
        else:
            factor = 1.0
        for group, settings in zip(self._planned.groups, self._optimiser.param_groups, strict=True):
            if epoch < plan.probe_epochs:
                settings["lr"] = plan.probe_learning_rate if group.is_head else 0.0
                for parameter in group.parameters:
                    parameter.requires_grad_(group.is_head)
            else:
                settings["lr"] = numbers.learning_rate * group.rate * factor
                for parameter in group.parameters:
                    parameter.requires_grad_(True)

    def _penalty(self) -> Tensor | float:
        penalty = self._planned.plan.penalty
        if penalty is None:
            return 0.0
        drift = sum(((p - anchor).square().sum() for p, anchor in self._planned.anchors), torch.zeros(()))
        head = sum((p.square().sum() for p in self._planned.model.head.parameters()), torch.zeros(()))
        return penalty.strength / 2 * drift + penalty.head_strength / 2 * head

    @torch.no_grad()
    def _accuracy(self, split: str, epoch: int) -> float:
        examples, start = self._at(epoch, split)
        hits = 0
        for index in torch.split(torch.arange(len(examples.y)), CHUNK):
            side = None if examples.prepared is None else examples.prepared[index]
            logits = self._planned.model(examples.x[index], start, side)
            if not bool(torch.isfinite(logits).all()):
                raise FloatingPointError(f"logits are not finite in epoch {epoch + 1}")
            hits += int((logits.argmax(dim=1) == examples.y[index]).sum())
        return hits / len(examples.y)


def _shifted(images: Tensor, *, limit: int, offsets: Tensor) -> Tensor:
    """Returns images moved by `offsets` − `limit` pixels, edges repeated."""
    height, width = images.shape[2:]
    padded = functional.pad(images, (limit,) * 4, mode="replicate")
    moved = [
        padded[i, :, row : row + height, column : column + width] for i, (row, column) in enumerate(offsets.T.tolist())
    ]
    return torch.stack(moved).contiguous(memory_format=torch.channels_last)
