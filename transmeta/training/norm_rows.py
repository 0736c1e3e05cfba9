"""Layer and group norms over the members of a stack, differentiated in closed form; letters as in `products`."""

from collections.abc import Collection, Sequence
from typing import final

import torch
from torch import Tensor, nn

from transmeta.training.linear_map import Weights

Scale = str | Tensor
"""The name of the members' own, or what all of them share."""


@final
class NormRows:
    """(x − mean) / √(variance + ε) · γ + β, the statistics those of each example and group of channels.

    Args:
        scale, shift: γ and β, (C,) where they are shared.
    """

    def __init__(self, *, groups: int, epsilon: float, scale: Scale, shift: Scale) -> None:
        self._groups, self._epsilon = groups, epsilon
        self._scale, self._shift = scale, shift

    def forward(self, x: Tensor, weights: Weights, *, known: Tensor | None) -> tuple[Tensor, Sequence[Tensor]]:
        """Returns the outputs for x (K, B, P, C) and what `backward` needs."""
        assert known is None
        scale, shift = _of(self._scale, weights), _of(self._shift, weights)
        if self._groups == 1 and x.shape[2] == 1:
            one, zero = x.new_ones(x.shape[3]), x.new_zeros(x.shape[3])  # without them it is not vectorised
            normal, mean, factor = torch.native_layer_norm(x, x.shape[3:], one, zero, self._epsilon)
            return torch.addcmul(shift, normal, scale), (normal, x, mean, factor)
        centred = x - self._mean(x.sum(dim=2, keepdim=True), positions=x.shape[2])
        squares = centred.square().sum(dim=2, keepdim=True)
        factor = self._mean(squares, positions=x.shape[2]).add_(self._epsilon).rsqrt_()
        return torch.addcmul(shift, centred, scale * factor), (centred, factor)

    def backward(
        self, slope: Tensor, saved: Sequence[Tensor], weights: Weights, gradients: Weights, *, is_first: bool
    ) -> Tensor:
        """Writes the gradients of the members' own γ and β; returns the slope of the inputs."""
        scale = _of(self._scale, weights)
        if len(saved) == 4:
            normal, x, mean, factor = saved
            self._write(slope.sum(dim=1), (slope * normal).sum(dim=1), gradients)
            before: Tensor = torch.ops.aten.native_layer_norm_backward(
                slope * scale, x, x.shape[3:], mean, factor, None, None, [True, False, False]
            )[0]
            return before
        centred, factor = saved
        # few passes over (K, B, P, C): what follows is made of sums over positions
        total = slope.sum(dim=2, keepdim=True)
        along = (slope * centred).sum(dim=2, keepdim=True)
        self._write(total.sum(dim=1), (along * factor).sum(dim=1), gradients)
        positions = slope.shape[2]
        mean = self._mean(scale * total, positions=positions)
        shared = self._mean(scale * along, positions=positions) * factor**2
        return torch.addcmul(-factor * mean, centred, -factor * shared).addcmul_(slope, scale * factor)

    def _write(self, shift: Tensor, scale: Tensor, gradients: Weights) -> None:
        """Writes the gradients (K, 1, C) of what members have of their own."""
        for name, gradient in ((self._shift, shift), (self._scale, scale)):
            if isinstance(name, str):
                gradients[name].copy_(gradient[:, 0])

    def _mean(self, sums: Tensor, *, positions: int) -> Tensor:
        """Returns (K, B, 1, C), for each channel the mean over its group, of sums (K, B, 1, C) over positions."""
        channels = sums.shape[3]
        grouped = sums.view(*sums.shape[:2], self._groups, -1)
        means = grouped.sum(dim=3, keepdim=True) / (positions * grouped.shape[3])
        return means.expand(-1, -1, -1, channels // self._groups).reshape(*sums.shape[:2], 1, channels)


def norm_rows(module: nn.Module, name: str, *, trained: Collection[str], is_spatial: bool) -> NormRows | None:
    """Returns a layer norm of tables or a group norm of images, with scale and shift; None for anything else."""
    if isinstance(module, nn.LayerNorm) and not is_spatial and len(module.normalized_shape) == 1:
        groups = 1
    elif isinstance(module, nn.GroupNorm) and is_spatial:
        groups = module.num_groups
    else:
        return None
    if not module.elementwise_affine if isinstance(module, nn.LayerNorm) else not module.affine:
        return None
    scale, shift = (
        f"{name}.{key}" if f"{name}.{key}" in trained else getattr(module, key).detach() for key in ("weight", "bias")
    )
    return NormRows(groups=groups, epsilon=module.eps, scale=scale, shift=shift)


def _of(value: Scale, weights: Weights) -> Tensor:
    """Returns (K or 1, 1, 1, C)."""
    return weights[value][:, None, None] if isinstance(value, str) else value[None, None, None]
