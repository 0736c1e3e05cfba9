"""Several fits as one: plans of equal structure are trained as one step over stacked parameters (`torch.func.vmap`).

Each member keeps its own numbers: learning rate, decay, penalty, schedule, epochs, seed, order of the data, source,
and number of classes. Letters: K members, B examples in a mini-batch, N in a split, C classes.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Final, final

import numpy as np
import torch
from torch import Tensor

from transmeta.errors import TrialFailure
from transmeta.training.fit import FitReport, Work, diverged, is_evaluated
from transmeta.training.heads import head_logits, loss_and_slope, write_head_gradients
from transmeta.training.inputs import Inputs, draw_offsets, open_shared
from transmeta.training.metric import evaluate_stacked
from transmeta.training.planned import NO_GRADIENT
from transmeta.training.products import PatchInputs, as_products
from transmeta.training.seeding import derive_seed
from transmeta.training.stack_member import StackMember, initial_values, parameter_groups, rate_table, runs_of
from transmeta.training.stacked_adamw import StackedAdamW
from transmeta.training.staged import StagedModel
from transmeta.training.vmapped import stackable

EVALUATION_EXAMPLES: Final = 4096
"""Examples, over all members, in one forward pass of an evaluation: what stays in a processor's cache."""
PADDING: Final = -1
LEAST_RUN: Final = 4
"""From so many members that share their examples on, on average, one product for all of them beats one for each."""


@final
class Stack:
    """Fits its members together, deterministic by their seeds; the numbers are those of `Fit`, up to rounding.

    A member that diverges ends alone. Members that end are dropped, and the stack is compacted.

    Args:
        members: of equal structure (see `structure`), all on one device.
    """

    def __init__(self, members: Sequence[StackMember], *, device: torch.device | None = None) -> None:
        self._members = tuple(members)
        self._device = device or torch.device("cpu")
        self._plan = members[0].planned.plan
        self._stage_count = len(members[0].planned.model.stages)
        self._optimiser = StackedAdamW(initial_values(members, device=self._device), groups=parameter_groups(members))
        penalised = [] if self._plan.penalty is None else [n for n in members[0].values if not n.startswith("head.")]
        self._anchors = {name: self._optimiser.parameters[name].detach().clone() for name in penalised}
        self._classes = torch.tensor([member.planned.class_count for member in members])
        self._products = as_products(
            members[0].planned,
            start=self._stage_count if self._plan.cut is None else self._plan.cut,
            trained=self._optimiser.parameters.keys(),
        )
        self._inputs: dict[tuple[str, str, int], Inputs | PatchInputs] = {}
        count = len(members)
        self._rows = np.arange(count)
        self._runs = runs_of([self._members[member] for member in self._rows])
        self._epoch, self._reported, self._step, self._work_steps, self._work_examples, self._work_evaluations = (
            np.zeros(count, dtype=np.int64) for _ in range(6)
        )
        self._epochs = np.array([member.planned.epochs for member in members])
        self._steps = np.array([math.ceil(len(member.data.train) / self._batch_size) for member in members])
        self._rates = rate_table(members, steps=self._steps)
        self._totals = torch.zeros(count, device=self._device)
        self._losses: list[list[float]] = [[] for _ in members]
        width = int(self._steps.max()) * self._batch_size
        self._order = torch.full((count, width), PADDING)
        self._offsets = torch.zeros((count, 2, width), dtype=torch.int64)
        self._is_checked = not members[0].planned.added
        self._shuffle(range(count))

    @property
    def live(self) -> tuple[int, ...]:
        """Indices of the members that have not ended."""
        return tuple(int(index) for index in self._rows)

    def work(self, member: int) -> Work:
        """Returns what was done for a member so far."""
        steps, examples = int(self._work_steps[member]), int(self._work_examples[member])
        return Work(steps=steps, examples=examples, evaluations=int(self._work_evaluations[member]))

    def is_complete(self, member: int) -> bool:
        """Whether a live member has run all its epochs."""
        row = self._row(member)
        return bool(self._epoch[row] == self._epochs[row])

    def advance(self) -> Mapping[int, FitReport | TrialFailure]:
        """Runs steps until members are due for an evaluation, or failed; returns what they showed, by index.

        Those that failed are dropped. A member that has run all its epochs has to be dropped before the next call.
        """
        assert len(self._rows), "every member has ended"
        assert not (self._epoch == self._epochs).any(), "a member that has ended was not dropped"
        found: dict[int, FitReport | TrialFailure] = {}
        while not found:
            self._train_step()
            found |= self._check_added()
            ended = np.flatnonzero(self._step == self._steps)
            if len(ended):
                found |= self._end_epochs([int(row) for row in ended if self._rows[row] not in found])
        self.drop([index for index, event in found.items() if isinstance(event, TrialFailure)])
        return found

    def score(self, members: Sequence[int], *, name: str) -> Mapping[int, float | TrialFailure]:
        """Returns the metric of each of `members` on the split `name` (validation or test), in its own direction."""
        at = {int(member): row for row, member in enumerate(self._rows)}
        rows = [at[index] for index in members]
        scores: dict[int, float | TrialFailure] = {}
        for reader in sorted({self._members[index].reader for index in members}):
            mine = [row for row in rows if self._members[self._rows[row]].reader == reader]
            inputs = self._open(self._members[self._rows[mine[0]]], name=name, start=self._start(mine[0]))
            width = max(1, EVALUATION_EXAMPLES // max(1, min(len(inputs), EVALUATION_EXAMPLES)))
            for begin in range(0, len(mine), width):
                scores |= self._score(mine[begin : begin + width], inputs=inputs, name=name)
        return scores

    def drop(self, members: Sequence[int]) -> None:
        """Ends members; the others go on."""
        gone = set(members)
        kept = np.array([row for row, index in enumerate(self._rows) if int(index) not in gone], dtype=np.int64)
        if len(kept) == len(self._rows):
            return
        self._rows = self._rows[kept]
        self._runs = runs_of([self._members[member] for member in self._rows])
        if not len(kept):
            return
        rows = torch.from_numpy(kept)
        self._optimiser.keep(rows)
        self._anchors = {name: value[rows] for name, value in self._anchors.items()}
        self._epoch, self._reported, self._step = self._epoch[kept], self._reported[kept], self._step[kept]
        self._epochs, self._steps, self._rates = self._epochs[kept], self._steps[kept], self._rates[kept]
        self._totals, self._classes = self._totals[rows], self._classes[rows]
        self._order, self._offsets = self._order[rows], self._offsets[rows]

    def state(self, member: int) -> Mapping[str, Tensor]:
        """Returns a copy of all weights of a live member's model, as its `state_dict` would be."""
        row, planned = self._row(member), self._members[member].planned
        state = {name: value.detach().clone() for name, value in planned.model.state_dict().items()}
        for name, leaf in self._optimiser.parameters.items():
            value = leaf[row].detach().clone()
            state[name] = value[: planned.class_count] if name.startswith("head.") else value
        return state

    @functools.cached_property
    def _vmapped(self) -> StagedModel:
        return stackable(self._members[0].planned.model).to(self._device).eval()

    @property
    def _batch_size(self) -> int:
        return self._plan.optimiser.batch_size

    def _row(self, member: int) -> int:
        return int(np.flatnonzero(self._rows == member)[0])

    def _is_probing(self, row: int) -> bool:
        return bool(self._epoch[row] < self._plan.probe_epochs)

    def _start(self, row: int) -> int:
        cut = self._plan.cut
        return self._stage_count if cut is None or self._is_probing(row) else cut

    def _open(self, member: StackMember, *, name: str, start: int) -> Inputs | PatchInputs:
        key = (member.reader, name, start)
        if key not in self._inputs:
            self._inputs = {k: v for k, v in self._inputs.items() if k[2] == start}
            inputs = open_shared(member.open_inputs, name=name, start=start)
            products = self._products if start == self._plan.cut else None
            self._inputs[key] = inputs if products is None else PatchInputs(inputs, products=products)
        return self._inputs[key]

    def _train_step(self) -> None:
        columns = torch.from_numpy(self._step)[:, None] * self._batch_size + torch.arange(self._batch_size)
        index = self._order.gather(1, columns)
        is_real = index != PADDING
        sizes = is_real.sum(dim=1)
        runs = self._runs if self._is_read_by_runs else ()
        rows = [run.start for run in runs] if runs else [*range(len(index))]
        x, side, labels = self._read(index[rows].clamp(min=0), columns=columns[rows], rows=rows)
        if runs:
            labels = labels.repeat_interleave(torch.tensor([run.stop - run.start for run in runs]), dim=0)
        shares = (is_real / sizes.to(torch.float64)[:, None]).to(self._device, self._optimiser.dtype)
        self._totals += (self._differentiate(x, side, labels, shares=shares, runs=runs) * sizes.to(self._device)).to(
            self._totals
        )
        self._pull()
        self._update()
        self._step += 1
        self._work_steps[self._rows] += 1
        self._work_examples[self._rows] += sizes.numpy()

    @property
    def _is_read_by_runs(self) -> bool:
        """Whether what neighbours share is read once: where all share it, or in a head's products."""
        return len(self._runs) == 1 or (self._is_head_only and len(self._runs) * LEAST_RUN <= len(self._rows))

    @property
    def _is_head_only(self) -> bool:
        """Whether steps train heads on features that are at hand."""
        return self._start(0) == self._stage_count and self._members[0].planned.model.side is None

    def _differentiate(
        self, x: Tensor, side: Tensor | None, labels: Tensor, *, shares: Tensor, runs: Sequence[slice]
    ) -> Tensor:
        """Takes the gradients of the weighted losses, and returns the losses (K,); `runs` are what x was read by."""
        leaves, gradients = self._optimiser.parameters, self._optimiser.gradients
        losses: list[Tensor] = []

        def slope_of(logits: Tensor) -> Tensor:
            loss, slope = loss_and_slope(self._masked(logits, self._classes), labels, shares=shares)
            losses.append(loss)
            return slope

        with torch.no_grad():
            if self._is_head_only:
                slope = slope_of(head_logits(x, leaves["head.weight"], leaves["head.bias"], runs=runs))
                write_head_gradients(slope, x, gradients["head.weight"], gradients["head.bias"], runs=runs)
                return losses[0]
            if self._products is not None and self._start(0) == self._plan.cut:
                self._products.differentiate(x, side, leaves, gradients, slope_of=slope_of)
                return losses[0]
        axis: int | None = 0
        if len(x) == 1:
            x, side, axis = x[0], None if side is None else side[0], None
        logits = self._call(leaves, x, side, start=self._start(0), axis=axis)
        slope = slope_of(logits.detach().transpose(1, 2))
        self._optimiser.differentiate(logits, slope=slope.transpose(1, 2))
        return losses[0]

    def _read(self, index: Tensor, *, columns: Tensor, rows: Sequence[int]) -> tuple[Tensor, Tensor | None, Tensor]:
        """Returns the inputs (R, B, ...) at `index`, those of the side network, and the labels (R, B), for R `rows`."""
        readers = [self._members[self._rows[row]].reader for row in rows]
        parts: list[tuple[Tensor, Tensor | None, Tensor]] = []
        groups = [[at for at, reader in enumerate(readers) if reader == name] for name in dict.fromkeys(readers)]
        for own in groups:
            row = rows[own[0]]
            inputs = self._open(self._members[self._rows[row]], name="train", start=self._start(row))
            mine = index if len(groups) == 1 else index[own]
            flat = mine.flatten().to(self._device)
            offsets = None
            if self._plan.augment_shift:
                wanted = columns[own][:, None].expand(-1, 2, -1)
                offsets = self._offsets[[rows[at] for at in own]].gather(2, wanted).transpose(0, 1).flatten(1)
            x, side = inputs.get(flat, offsets=offsets)
            shaped = None if side is None else side.view(*mine.shape, *side.shape[1:])
            parts.append((x.view(*mine.shape, *x.shape[1:]), shaped, inputs.labels[flat].view(mine.shape)))
        if len(parts) == 1:
            return parts[0]
        back = torch.tensor([at for own in groups for at in own]).argsort()
        sides = [part[1] for part in parts if part[1] is not None]
        x = torch.cat([part[0] for part in parts])[back]
        return x, torch.cat(sides)[back] if sides else None, torch.cat([part[2] for part in parts])[back]

    def _predict(self, x: Tensor, side: Tensor | None, *, rows: Sequence[int]) -> Tensor:
        """Returns logits (K, C, B) of the members at `rows` for inputs (B, ...) that they share."""
        start, leaves = self._start(rows[0]), self._optimiser.parameters
        if len(rows) < len(self._rows):
            leaves = {name: leaf[rows] for name, leaf in leaves.items()}
        if start == self._stage_count and side is None:
            logits = head_logits(x, leaves["head.weight"], leaves["head.bias"])
        elif self._products is not None and start == self._plan.cut:
            logits = self._products.logits(x[None], None if side is None else side[None], leaves)
        else:
            logits = self._call(leaves, x, side, start=start, axis=None).transpose(1, 2)
        return self._masked(logits, self._classes[rows])

    def _call(
        self, leaves: Mapping[str, Tensor], x: Tensor, side: Tensor | None, *, start: int, axis: int | None
    ) -> Tensor:
        """Returns logits (K, B, C) for inputs (K, B, ...); for (B, ...) that all share if `axis` is None."""

        def call(weights: dict[str, Tensor], x: Tensor, side: Tensor | None) -> Tensor:
            logits: Tensor = torch.func.functional_call(self._vmapped, weights, (x, start, side), tie_weights=False)
            return logits

        axes = (0, axis, None if side is None else axis)
        logits: Tensor = torch.func.vmap(call, in_dims=axes)(dict(leaves), x, side)
        return logits

    def _masked(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Returns logits (K, C, B) with −∞ for the classes that a member does not have."""
        if int(classes.min()) == logits.shape[1]:
            return logits
        absent = torch.arange(logits.shape[1])[None, :, None] >= classes[:, None, None]
        return logits.masked_fill(absent.to(self._device), -math.inf)

    @torch.no_grad()
    def _pull(self) -> None:
        """Adds the gradients of the L2-SP penalty of each member."""
        if self._plan.penalty is None:
            return
        plans = [self._members[member].planned.plan.penalty for member in self._rows]
        numbers = [(plan.strength, plan.head_strength) for plan in plans if plan is not None]
        strength, head_strength = torch.tensor(numbers, dtype=torch.float64).to(self._device, self._optimiser.dtype).T
        for name, leaf in self._optimiser.parameters.items():
            away = leaf - self._anchors[name] if name in self._anchors else leaf
            if name in self._anchors or name.startswith("head."):
                factor = strength if name in self._anchors else head_strength
                self._optimiser.gradients[name].add_(away * factor.view(-1, *(1,) * (leaf.ndim - 1)))

    def _update(self) -> None:
        if self._is_probing(0):
            plans = [self._members[member].planned.plan for member in self._rows]
            self._optimiser.step_head(torch.tensor([plan.probe_learning_rate for plan in plans], dtype=torch.float64))
            return
        done = (self._epoch - self._plan.probe_epochs) * self._steps + self._step
        self._optimiser.step(torch.from_numpy(self._rates[np.arange(len(done)), done]))

    def _check_added(self) -> Mapping[int, TrialFailure]:
        """Checks once, with the gradients of a step at hand, that what the plan adds takes part."""
        if self._is_checked or self._is_probing(0):
            return {}
        self._is_checked = True
        names = self._members[0].planned.added_names
        touched = torch.stack([self._optimiser.gradients[name].flatten(1).any(dim=1) for name in names]).any(dim=0)
        return {int(self._rows[row]): TrialFailure(NO_GRADIENT) for row in np.flatnonzero(~touched.cpu().numpy())}

    def _end_epochs(self, rows: Sequence[int]) -> Mapping[int, FitReport | TrialFailure]:
        """Closes the epoch of the members at `rows` and returns the reports of those that are due."""
        found: dict[int, FitReport | TrialFailure] = {}
        due: dict[int, int] = {}
        totals = self._totals.tolist()
        self._totals[rows] = 0.0
        self._step[rows] = 0
        self._epoch[rows] += 1
        for row in rows:
            member, epoch, epochs = int(self._rows[row]), int(self._epoch[row]), int(self._epochs[row])
            loss = totals[row] / len(self._members[member].data.train)
            self._losses[member].append(loss)
            if not math.isfinite(loss):
                found[member] = diverged(f"loss is {loss}", plan=self._members[member].planned.plan, epoch=epoch)
            elif is_evaluated(epoch, epochs=epochs):
                due[member] = row
        self._shuffle([row for row in rows if self._epoch[row] < self._epochs[row]])
        for member, value in self.score(tuple(due), name="validation").items():
            found[member] = value if isinstance(value, TrialFailure) else self._report(due[member], value=value)
        return found

    def _report(self, row: int, *, value: float) -> FitReport:
        member = int(self._rows[row])
        losses, before = self._losses[member], int(self._reported[row])
        self._losses[member], self._reported[row] = [], self._epoch[row]
        return FitReport(
            epoch=int(self._epoch[row]),
            epochs=int(self._epochs[row]),
            epoch_before=before,
            train_loss=sum(losses) / len(losses),
            value=value,
        )

    @torch.no_grad()
    def _score(
        self, rows: Sequence[int], *, inputs: Inputs | PatchInputs, name: str
    ) -> Mapping[int, float | TrialFailure]:
        chunks = []
        step = max(1, EVALUATION_EXAMPLES // len(rows))
        for begin in range(0, len(inputs), step):
            index = torch.arange(begin, min(begin + step, len(inputs)), device=self._device)
            x, side = inputs.get(index)
            chunks.append(self._predict(x, side, rows=rows))
        logits = torch.cat(chunks, dim=2).transpose(1, 2).contiguous()  # an argmax over strides takes ten times as long
        members = [int(self._rows[row]) for row in rows]
        self._work_evaluations[members] += 1
        scores: dict[int, float | TrialFailure] = {}
        values = self._values(members, logits, labels=inputs.labels)
        for row, member, value in zip(rows, members, values, strict=True):
            what, plan = f"logits on the {name} split are not finite", self._members[member].planned.plan
            is_finite = math.isfinite(value)
            scores[member] = value if is_finite else diverged(what, plan=plan, epoch=int(self._epoch[row]))
        return scores

    def _values(self, members: Sequence[int], logits: Tensor, *, labels: Tensor) -> Sequence[float]:
        """Returns the metric of each of `members`, whose `logits` are (K, N, C); NaN where these are not finite."""
        planned = [self._members[member].planned for member in members]
        metrics = [self._members[member].metric for member in members]
        if len({(made.class_count, metric) for made, metric in zip(planned, metrics, strict=True)}) == 1:
            return evaluate_stacked(metrics[0], logits=logits[:, :, : planned[0].class_count], labels=labels)
        values: list[float] = []
        for own, made, metric in zip(logits, planned, metrics, strict=True):
            values += evaluate_stacked(metric, logits=own[None, :, : made.class_count], labels=labels)
        return values

    def _shuffle(self, rows: Sequence[int]) -> None:
        """Draws the orders of members' next epochs, and the shifts of their images, as `Fit` does."""
        alike: dict[tuple[int, int, int], list[int]] = {}
        for row in rows:
            member = self._members[self._rows[row]]
            alike.setdefault((member.seed, int(self._epoch[row]), len(member.data.train)), []).append(row)
        limit = self._plan.augment_shift
        for (seed, epoch, count), own in alike.items():
            generator = torch.Generator().manual_seed(derive_seed(seed, "epoch", epoch))
            self._order[own, :count] = torch.randperm(count, generator=generator)
            for begin in range(0, count, self._batch_size) if limit else ():
                size = min(self._batch_size, count - begin)
                self._offsets[own, :, begin : begin + size] = draw_offsets(size, limit=limit, generator=generator)
