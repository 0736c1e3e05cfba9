"""Linear maps and rectifiers over the members of a stack, differentiated in closed form; letters as in `products`."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

Weights = Mapping[str, Tensor]


@final
class LinearMap:
    """x·Wᵀ + b, with any of: weights of each member, weights that all share, a low-rank update of each member's.

    Args:
        weight, bias: names of the members' own; None for none.
        shared, shared_bias: frozen (O, I) and (O,); None for none, or where their output is known ahead.
        down, up: names of the low-rank update; None for none.
        gain: of that update.
    """

    def __init__(
        self,
        *,
        weight: str | None = None,
        bias: str | None = None,
        shared: Tensor | None = None,
        shared_bias: Tensor | None = None,
        low_rank: tuple[str, str] | None = None,
        gain: float = 1.0,
    ) -> None:
        self._weight, self._bias = weight, bias
        self._shared, self._shared_bias = shared, shared_bias
        self._low_rank, self._gain = low_rank, gain

    def forward(self, x: Tensor, weights: Weights, *, known: Tensor | None) -> tuple[Tensor, Sequence[Tensor]]:
        """Returns the outputs (K, B, P, O) and what `backward` needs.

        Args:
            x: (K, B, P, I), or (1, B, P, I) that all members share.
            known: (K or 1, B, P, O) to be added.
        """
        rows = x.flatten(1, 2)
        saved: list[Tensor] = [rows]
        y: Tensor | None = None
        if self._shared is not None:
            y = _sum(y, functional.linear(rows, self._shared, self._shared_bias))
        if self._weight is not None:
            w = weights[self._weight].flatten(2).transpose(1, 2)
            y = _sum(y, torch.bmm(rows.expand(len(w), -1, -1), w))
        if self._low_rank is not None:
            down, up = (weights[name].flatten(2) for name in self._low_rank)
            low = torch.bmm(rows.expand(len(down), -1, -1), down.transpose(1, 2)).mul_(self._gain)
            saved.append(low)
            y = _sum(y, torch.bmm(low, up.transpose(1, 2)))
        if self._bias is not None:
            y = _sum(y, weights[self._bias][:, None])
        if known is not None:
            y = known.flatten(1, 2) if y is None else y.add_(known.flatten(1, 2))
        assert y is not None
        return y.view(len(y), *x.shape[1:3], -1), saved

    def backward(
        self, slope: Tensor, saved: Sequence[Tensor], weights: Weights, gradients: Weights, *, is_first: bool
    ) -> Tensor:
        """Writes the gradients of the members' weights; returns the slope of the inputs, of no use if `is_first`."""
        rows, out = saved[0], slope.flatten(1, 2)
        before: Tensor | None = None
        if self._bias is not None:
            gradients[self._bias].copy_(out.sum(dim=1))
        if self._weight is not None:
            _write(gradients[self._weight], out.transpose(1, 2), rows)
            if not is_first:
                before = _sum(before, torch.bmm(out, weights[self._weight].flatten(2)))
        if self._low_rank is not None:
            down, up = self._low_rank
            _write(gradients[up], out.transpose(1, 2), saved[1])
            low = torch.bmm(out, weights[up].flatten(2)).mul_(self._gain)
            _write(gradients[down], low.transpose(1, 2), rows)
            if not is_first:
                before = _sum(before, torch.bmm(low, weights[down].flatten(2)))
        if self._shared is not None and not is_first:
            before = _sum(before, out @ self._shared)
        return slope if before is None else before.view(len(before), *slope.shape[1:3], -1)


@final
class Rectifier:
    """max(x, 0)."""

    def forward(self, x: Tensor, weights: Weights, *, known: Tensor | None) -> tuple[Tensor, Sequence[Tensor]]:
        """Returns the outputs and what `backward` needs."""
        assert known is None
        y = x.relu()
        return y, (y,)

    def backward(
        self, slope: Tensor, saved: Sequence[Tensor], weights: Weights, gradients: Weights, *, is_first: bool
    ) -> Tensor:
        """Returns the slope of the inputs."""
        before: Tensor = torch.ops.aten.threshold_backward(slope, saved[0], 0)
        return before


def _sum(a: Tensor | None, b: Tensor) -> Tensor:
    if a is None:
        return b
    return a + b if len(a) < len(b) else a.add_(b)


def _write(gradient: Tensor, out: Tensor, rows: Tensor) -> None:
    """Writes the products (K, O, I) of out (K, O, rows) and rows (K or 1, rows, I) to a gradient of their size."""
    gradient.copy_(torch.bmm(out, rows.expand(len(out), -1, -1)).view(gradient.shape))
