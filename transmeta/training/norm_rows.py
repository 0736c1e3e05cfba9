"""Layer and group norms over the members of a stack, differentiated in closed form; letters as in `products`."""

from collections.abc import Collection, Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

Weights = Mapping[str, Tensor]
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
        saved: tuple[Tensor, ...]
        if self._groups == 1 and x.shape[2] == 1:
            one, zero = x.new_ones(x.shape[3]), x.new_zeros(x.shape[3])  # without them it is not vectorised
            normal, mean, factor = torch.native_layer_norm(x, x.shape[3:], one, zero, self._epsilon)
            saved = (normal, x, mean, factor)
        else:
            centred = x - self._mean(x)
            factor = self._mean(centred.square()).add_(self._epsilon).rsqrt_()
            normal = centred.mul_(factor)
            saved = (normal, factor)
        return torch.addcmul(_of(self._shift, weights), normal, _of(self._scale, weights)), saved

    def backward(
        self, slope: Tensor, saved: Sequence[Tensor], weights: Weights, gradients: Weights, *, is_first: bool
    ) -> Tensor:
        """Writes the gradients of the members' own γ and β; returns the slope of the inputs."""
        normal = saved[0]
        if isinstance(self._shift, str):
            gradients[self._shift].copy_(slope.sum(dim=(1, 2)))
        if isinstance(self._scale, str):
            gradients[self._scale].copy_((slope * normal).sum(dim=(1, 2)))
        inner = slope * _of(self._scale, weights)
        if len(saved) == 4:
            _, x, mean, factor = saved
            before: Tensor = torch.ops.aten.native_layer_norm_backward(
                inner, x, x.shape[3:], mean, factor, None, None, [True, False, False]
            )[0]
            return before
        shared = self._mean(inner * normal)
        return inner.sub_(self._mean(inner)).sub_(normal * shared).mul_(saved[1])

    def _mean(self, x: Tensor) -> Tensor:
        """Returns (K, B, 1, C), the mean over positions and the channels of a group, for each channel."""
        channels = x.shape[3]
        means = x.mean(dim=2).view(*x.shape[:2], self._groups, -1).mean(dim=3, keepdim=True)
        return means.expand(-1, -1, -1, channels // self._groups).reshape(*x.shape[:2], 1, channels)


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
