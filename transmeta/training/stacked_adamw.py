"""AdamW over the stacked parameters of several members, each with its own learning rate and weight decay."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Final, final

import torch
from torch import Tensor

BETAS: Final = (0.9, 0.999)
EPSILON: Final = 1e-8
FUSED_WEIGHTS: Final = 8192
"""From so many weights of a group on, one fused pass over each member is faster on a CPU than ten over all of them."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StackedGroup:
    """Parameters that share their optimiser numbers within each member.

    Attributes:
        names: of the parameters, as in the model.
        rates: (members,) float64, each member's learning rate for these parameters, before its schedule.
        decays: (members,) decoupled weight decay.
        is_head: whether these are the head's, which alone are trained while probing.
    """

    names: tuple[str, ...]
    rates: Tensor
    decays: Tensor
    is_head: bool

    def kept(self, rows: Tensor) -> "StackedGroup":
        """Returns the group of the members at `rows` alone."""
        return dataclasses.replace(self, rates=self.rates[rows], decays=self.decays[rows])


@final
class StackedAdamW:
    """Steps all members at once: the update of `torch.optim.AdamW` (Loshchilov & Hutter 2019, algorithm 2) row by row.

    The parameters of a group lie side by side in one matrix (members, weights), so a step is a few operations on each
    matrix, however many parameters there are. `parameters` are leaves that share memory with these matrices.

    Args:
        values: name → (members, ...) initial weights, copied; the steps are done on their device.
        groups: each name is in one of them.
    """

    def __init__(self, values: Mapping[str, Tensor], *, groups: Sequence[StackedGroup]) -> None:
        self._groups = tuple(groups)
        self._shapes = {name: tuple(value.shape[1:]) for name, value in values.items()}
        flat = [torch.cat([values[name].flatten(1) for name in group.names], dim=1) for group in groups]
        self._weights = flat
        self._first = [torch.zeros_like(part) for part in flat]
        self._second = [torch.zeros_like(part) for part in flat]
        self._steps = [0] * len(flat)
        self._has_decay = [bool(group.decays.any()) for group in groups]
        self._is_fused = [part.device.type == "cpu" and part.shape[1] >= FUSED_WEIGHTS for part in flat]
        self._share()

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """Name → (members, ...) leaf that needs its gradient."""
        return self._leaves

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return self._weights[0].dtype

    def differentiate(self, outputs: Tensor, *, slope: Tensor) -> None:
        """Takes the gradients of a loss whose `slope` in `outputs` is given; 0 for what plays no part in it."""
        gradients = torch.autograd.grad(outputs, list(self._leaves.values()), slope, allow_unused=True)
        for own, gradient in zip(self.gradients.values(), gradients, strict=True):
            own.zero_() if gradient is None else own.copy_(gradient)

    def step(self, factors: Tensor) -> None:
        """Updates all weights from their gradients, with `factors` (members,) float64 times the groups' rates."""
        for index, group in enumerate(self._groups):
            self._step_group(index, rates=factors * group.rates, group=group)

    def step_head(self, rates: Tensor) -> None:
        """Updates the head alone with learning rates (members,) float64; the others stay as if they had no gradient."""
        for index, group in enumerate(self._groups):
            if group.is_head:
                self._step_group(index, rates=rates, group=group)

    @torch.no_grad()
    def _step_group(self, index: int, *, rates: Tensor, group: StackedGroup) -> None:
        self._steps[index] += 1
        if self._is_fused[index]:
            self._step_rows(index, rates=rates, group=group)
            return
        rate, steps = rates[:, None], self._steps[index]
        weights, gradient = self._weights[index], self._gradients[index]
        first, second = self._first[index], self._second[index]
        if self._has_decay[index]:
            weights.mul_((1 - rate * group.decays[:, None]).to(weights))
        first.lerp_(gradient, 1 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        # √(v / c) + ε as (√v + ε·√c) / √c: one pass less, as √c joins the rates
        scale = math.sqrt(1 - BETAS[1] ** steps)
        factor = rate * (scale / (1 - BETAS[0] ** steps))
        weights.sub_(first.div(second.sqrt().add_(EPSILON * scale)).mul_(factor.to(weights)))

    def _step_rows(self, index: int, *, rates: Tensor, group: StackedGroup) -> None:
        """Steps the members of a group one by one, each in one pass over memory."""
        steps = torch.tensor(float(self._steps[index]))
        for row, rate, decay in zip(self._fused[index], rates.tolist(), group.decays.tolist(), strict=True):
            weights, gradient, first, second = row
            torch._fused_adamw_(
                [weights], [gradient], [first], [second], [], [steps],
                lr=rate, beta1=BETAS[0], beta2=BETAS[1], weight_decay=decay, eps=EPSILON, amsgrad=False, maximize=False,
            )  # fmt: skip

    def keep(self, rows: Tensor) -> None:
        """Drops all members but those at `rows`; `parameters` are new leaves afterwards."""
        self._groups = tuple(group.kept(rows) for group in self._groups)
        for parts in (self._weights, self._first, self._second):
            parts[:] = [part[rows] for part in parts]
        self._share()

    def _share(self) -> None:
        self._gradients = [torch.zeros_like(part) for part in self._weights]
        parts = zip(self._weights, self._gradients, self._first, self._second, strict=True)
        self._fused = [
            [*zip(*(part.unbind() for part in own), strict=True)] if is_fused else []
            for own, is_fused in zip(parts, self._is_fused, strict=True)
        ]
        self._leaves: dict[str, Tensor] = {}
        self.gradients: dict[str, Tensor] = {}
        for group, weights, gradients in zip(self._groups, self._weights, self._gradients, strict=True):
            begin = 0
            for name in group.names:
                shape = self._shapes[name]
                end = begin + torch.Size(shape).numel()
                self._leaves[name] = weights[:, begin:end].view(len(weights), *shape).requires_grad_()
                self.gradients[name] = gradients[:, begin:end].view(len(weights), *shape)
                begin = end
