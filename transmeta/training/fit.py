"""The one training loop, an epoch at a time: source training and fine-tuning, alone or as one of several replicas."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from transmeta.core.plan import OptimiserPlan, Precision, Ridge, Schedule, TransferPlan
from transmeta.core.task import Metric
from transmeta.errors import ConfigError, Diverged
from transmeta.training.data import Split, TaskData
from transmeta.training.frozen import FrozenFeatures, process_cache
from transmeta.training.inputs import CHUNK, Inputs, draw_offsets
from transmeta.training.metric import evaluate
from transmeta.training.optimisers import AdamW
from transmeta.training.planned import PlannedModel
from transmeta.training.prefix import SplitPrefix
from transmeta.training.seeding import derive_seed

EVALUATIONS: Final = 9
"""Most measurements of a trial; ninths, so that the usual rungs of halving by three fall on them."""
OPTIMISER_STATE: Final = ("exp_avg", "exp_avg_sq", "step")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """Which share of each batch this process takes, and how its gradients are averaged with the others'.

    Attributes:
        wrap: makes the model average its gradients over all replicas, such as DistributedDataParallel.
    """

    rank: int = 0
    count: int = 1
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module


ALONE: Final = Replica()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """What some epochs showed: mean training loss (nats) and the metric on the validation split after the last.

    Attributes:
        epoch: number of epochs that are done.
        epochs: of how many.
        epoch_before: number of epochs that were done at the report before.
    """

    epoch: int
    epochs: int
    epoch_before: int
    train_loss: float
    value: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a fit did: optimiser steps, examples that they saw, and passes over a split for its metric."""

    steps: int = 0
    examples: int = 0
    evaluations: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitState:
    """All that a fit needs to go on: weights, optimiser moments, and the number of epochs that are done."""

    tensors: Mapping[str, Tensor]
    epoch: int


@final
class Fit:
    """Fits a planned model to a task, deterministic by seed.

    The order of the data and its shifts depend on seed and epoch only; each batch is cut into one share per replica and
    the loss is divided by the size of the whole batch, so any number of replicas follows the same gradients.

    Args:
        planned: is trained in place.
        replica: the share of this process.
        prefix: outputs of the frozen stages that other fits on the same source and data share; None to share nothing.
        precision: of the trained part; a head in closed form is solved and read in float32 whatever it is.

    Raises:
        ConfigError: for several replicas where the plan probes first, or a precision that the device lacks.
    """

    def __init__(
        self,
        planned: PlannedModel,
        data: TaskData,
        *,
        metric: Metric,
        seed: int,
        replica: Replica = ALONE,
        device: torch.device | None = None,
        prefix: SplitPrefix | None = None,
        precision: Precision = Precision.FLOAT32,
    ) -> None:
        plan = planned.plan
        if plan.probe_epochs and replica.count > 1:
            raise ConfigError("probe_epochs: probing first works on one device; ask for one worker or set it to 0")
        self.epoch = 0
        self.work = Work()
        self._planned = planned
        self._data = data
        self._metric = metric
        self._seed = seed
        self._replica = replica
        self._prefix = prefix
        self._device = device or torch.device("cpu")
        self._is_mixed = precision is Precision.BFLOAT16 and plan.ridge is None
        if self._is_mixed and self._device.type == "cuda" and not torch.cuda.is_bf16_supported():
            raise ConfigError(f"precision {precision}: {torch.cuda.get_device_name()} has none; use float32")
        planned.model.to(self._device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # stub lacks it
        self._module = replica.wrap(planned.model)
        self._optimiser = AdamW(
            [{"params": list(group.parameters), "weight_decay": group.weight_decay} for group in planned.groups],
            lr=plan.optimiser.learning_rate,
            fused=True,
        )
        self._rates = rates_of(plan.optimiser, steps=math.ceil(len(data.train) / plan.optimiser.batch_size))
        self._inputs: dict[str, Inputs | FrozenFeatures] = {}
        self._start = -1
        self._is_checked = False

    @property
    def epochs(self) -> int:
        """Epochs in all, probing included."""
        return self._planned.epochs

    @property
    def is_done(self) -> bool:
        """Whether all epochs have been run."""
        return self.epoch >= self.epochs

    def advance(self) -> FitReport:
        """Runs epochs up to the next evaluation, `EVALUATIONS` of which are spread over all epochs.

        Raises:
            Diverged: if the loss or the logits stopped being finite.
            TrialFailure: if what was added takes no part.
        """
        assert not self.is_done, "all epochs have been run"
        before = self.epoch
        losses: list[float] = []
        while not losses or not self._is_evaluated():
            self._open()
            losses.append(self._train_epoch())
            self.epoch += 1
            if not math.isfinite(losses[-1]):
                raise diverged(f"loss is {losses[-1]}", plan=self._planned.plan, epoch=self.epoch)
        return FitReport(
            epoch=self.epoch,
            epochs=self.epochs,
            epoch_before=before,
            train_loss=sum(losses) / len(losses),
            value=self.score(self._data.validation, name="validation"),
        )

    def score(self, split: Split, *, name: str) -> float:
        """Returns the metric on `split`; `name` is the key under which its frozen features are cached.

        Raises:
            Diverged: if the logits are not finite: the last step can do that after a loss that was.
        """
        self._open()
        inputs = self._read(split, name=name)
        logits = self._predict(inputs)
        self._worked(evaluations=1)
        value = evaluate(self._metric, logits=logits, labels=inputs.labels)
        if not (bool(torch.isfinite(logits).all()) and math.isfinite(value)):
            raise diverged(f"logits on the {name} split are not finite", plan=self._planned.plan, epoch=self.epoch)
        return value

    def state(self) -> FitState:
        """Returns a copy of weights and optimiser moments."""
        tensors = {f"model.{key}": value.detach().clone() for key, value in self._planned.model.state_dict().items()}
        for index, parameter in enumerate(self._parameters()):
            for key, value in self._optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{index}.{key}"] = value.detach().clone()
        return FitState(tensors=tensors, epoch=self.epoch)

    def restore(self, state: FitState) -> None:
        """Goes on from `state`, which was made under the same plan, model and data."""
        weights = {key.removeprefix("model."): v for key, v in state.tensors.items() if key.startswith("model.")}
        self._planned.model.load_state_dict(weights)
        self._optimiser.state.clear()
        for index, parameter in enumerate(self._parameters()):
            saved = {key: state.tensors.get(f"optimiser.{index}.{key}") for key in OPTIMISER_STATE}
            moments = {key: _laid_out(value, like=parameter) for key, value in saved.items() if value is not None}
            if moments:
                self._optimiser.state[parameter] = moments
        self.epoch = state.epoch
        self._is_checked = True  # loading writes to frozen parameters too, so their version counters no longer tell
        self._inputs.clear()

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self._planned.groups for parameter in group.parameters]

    def _is_evaluated(self) -> bool:
        return is_evaluated(self.epoch, epochs=self.epochs)

    def _open(self) -> None:
        """Chooses where the trainable part starts in this epoch, and drops what was cached for another start."""
        plan = self._planned.plan
        stage_count = len(self._planned.model.stages)
        is_probing = self.epoch < plan.probe_epochs
        start = stage_count if is_probing or plan.cut is None else plan.cut
        if start != self._start:
            self._inputs.clear()
            self._start = start

    def _read(self, split: Split, *, name: str) -> Inputs | FrozenFeatures:
        if name not in self._inputs:
            is_ridge = self._planned.plan.ridge is not None
            self._inputs[name] = self._frozen(split, name=name) if is_ridge else self._inputs_of(split, name=name)
        return self._inputs[name]

    def _inputs_of(self, split: Split, *, name: str) -> Inputs:
        return Inputs(
            split,
            model=self._planned.model,
            card=self._planned.card,
            start=self._start,
            keep_prepared=self._planned.model.side is not None,
            shift=self._planned.plan.augment_shift if name == "train" else 0,
            device=self._device,
            name=name,
            prefix=self._prefix,
        )

    def _frozen(self, split: Split, *, name: str) -> FrozenFeatures:
        return process_cache().get(
            split,
            card=self._planned.card,
            device=self._device,
            make=lambda: FrozenFeatures.of(self._inputs_of(split, name=name)),
        )

    def _train_epoch(self) -> float:
        plan, replica = self._planned.plan, self._replica
        if plan.ridge is not None:
            return self._solve(plan.ridge)
        inputs = self._read(self._data.train, name="train")
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "epoch", self.epoch))
        order = torch.randperm(len(inputs), generator=generator)
        batches = torch.split(order, plan.optimiser.batch_size)
        total = torch.zeros((), device=self._device)
        self._module.eval()
        for step, batch in enumerate(batches):
            self._set_rates(step=step, steps=len(batches))
            offsets = (
                draw_offsets(len(batch), limit=plan.augment_shift, generator=generator) if plan.augment_shift else None
            )
            mine = torch.arange(len(batch)).tensor_split(replica.count)[replica.rank]
            share = batch[mine].to(self._device)
            x, side = inputs.get(share, offsets=None if offsets is None else offsets[:, mine])
            with self._mixed():
                logits = self._module(x, self._start, side)
            logits = logits.to(self._planned.model.head.weight.dtype)
            loss = functional.cross_entropy(logits, inputs.labels[share], reduction="sum") / len(batch)
            total += loss.detach() * len(batch)
            self._optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss * replica.count)
            self._pull()
            self._optimiser.step()
            self._check_once()
        self._worked(steps=len(batches), examples=len(inputs))
        if replica.count > 1:
            torch.distributed.all_reduce(total)
        return float(total) / len(inputs)

    def _solve(self, ridge: Ridge) -> float:
        """Writes the closed-form head into the model and returns its training loss; every replica finds the same."""
        features, head = self._frozen(self._data.train, name="train"), self._planned.model.head
        path = features.path(class_count=head.out_features)
        scale = path.scale(ridge.penalty)
        with torch.no_grad():
            for parameter, value in zip((head.weight, head.bias), path.head(ridge.penalty), strict=True):
                parameter.copy_(scale * value)
        self._check_once()
        self._worked(examples=len(features))
        return float(functional.cross_entropy(self._predict(features), features.labels))

    def _worked(self, *, steps: int = 0, examples: int = 0, evaluations: int = 0) -> None:
        done = self.work
        self.work = Work(
            steps=done.steps + steps, examples=done.examples + examples, evaluations=done.evaluations + evaluations
        )

    @torch.no_grad()
    def _pull(self) -> None:
        """Adds the gradient of the L2-SP penalty to that of the loss; while probing, stages have none."""
        penalty = self._planned.plan.penalty
        if penalty is None:
            return
        for parameter, anchor in self._planned.anchors:
            if parameter.grad is not None:
                parameter.grad.add_(parameter - anchor.to(parameter.device), alpha=penalty.strength)
        for parameter in self._planned.model.head.parameters():
            assert parameter.grad is not None, "the loss depends on the head"
            parameter.grad.add_(parameter, alpha=penalty.head_strength)

    def _set_rates(self, *, step: int, steps: int) -> None:
        plan = self._planned.plan
        is_probing = self.epoch < plan.probe_epochs
        for group, settings in zip(self._planned.groups, self._optimiser.param_groups, strict=True):
            if is_probing:
                settings["lr"] = plan.probe_learning_rate if group.is_head else 0.0
            else:
                done = (self.epoch - plan.probe_epochs) * steps + step
                settings["lr"] = plan.optimiser.learning_rate * group.rate * float(self._rates[done])

    def _check_once(self) -> None:
        if not self._is_checked and self.epoch >= self._planned.plan.probe_epochs:
            self._is_checked = True
            self._planned.check_frozen()
            self._planned.check_added()

    @torch.no_grad()
    def _predict(self, inputs: Inputs | FrozenFeatures) -> Tensor:
        self._planned.model.eval()
        chunks = []
        for begin in range(0, len(inputs), CHUNK):
            index = torch.arange(begin, min(begin + CHUNK, len(inputs)), device=self._device)
            x, side = inputs.get(index)
            with self._mixed():
                chunks.append(self._planned.model(x, self._start, side))
        return torch.cat(chunks).to(self._planned.model.head.weight.dtype)

    def _mixed(self) -> AbstractContextManager[object]:
        """Returns what the trained part is run in: what was cached of a frozen prefix stays in float32."""
        return torch.autocast(self._device.type, dtype=torch.bfloat16) if self._is_mixed else nullcontext()


def _laid_out(saved: Tensor, *, like: nn.Parameter) -> Tensor:
    """Returns a copy of an optimiser's tensor in the memory layout of its parameter.

    A file does not keep the layout, and torch's fused AdamW takes it for granted: moments in another one would be
    applied to the wrong weights without a word.
    """
    if saved.shape != like.shape:
        return saved.detach().clone()  # the step count
    return torch.empty_like(like, requires_grad=False).copy_(saved)


def is_divisible(plan: TransferPlan) -> bool:
    """Whether replicas can share the work: probing first is for one device, a head in closed form has no batches."""
    return plan.probe_epochs == 0 and plan.ridge is None


def is_evaluated(epoch: int, *, epochs: int) -> bool:
    """Whether `epoch` of `epochs` is the first to reach another of the evaluations."""
    return epoch * EVALUATIONS // epochs > (epoch - 1) * EVALUATIONS // epochs


def diverged(what: str, *, plan: TransferPlan, epoch: int) -> Diverged:
    """Returns the failure of a fit whose numbers stopped being finite."""
    if plan.ridge is not None:
        return Diverged(f"{what}; raise penalty (now {plan.ridge.penalty:g})")
    return Diverged(f"{what} in epoch {epoch}; lower learning_rate (now {plan.optimiser.learning_rate:g})")


def rates_of(plan: OptimiserPlan, *, steps: int) -> npt.NDArray[np.float64]:
    """Returns the multiple of the learning rate at each step of a fit, `steps` to an epoch: warm-up, then schedule."""
    total = plan.epochs * steps
    warmup = plan.warmup * total
    done = np.arange(total, dtype=np.float64)
    if plan.schedule is Schedule.CONSTANT:
        later = np.ones(total)
    else:
        later = 0.5 * (1 + np.cos(math.pi * (done - warmup) / max(1.0, total - warmup)))
    return np.where(done < warmup, (done + 1) / (warmup + 1), later)
