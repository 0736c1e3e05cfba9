"""What a model needs to be run under `vmap`."""

import copy
from typing import final

import torch
from torch import Tensor, nn

from transmeta.training.staged import StagedModel


def stackable(model: StagedModel) -> StagedModel:
    """Returns a copy of the model that `vmap` can run, with the same names."""
    copied = copy.deepcopy(model)
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GroupNorm):
                setattr(parent, name, PlainGroupNorm(child))
    return copied


@final
class PlainGroupNorm(nn.Module):
    """`torch.nn.GroupNorm` in plain operations: torch 2.13 has no rule for it under `vmap` on channels-last input."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self._groups, self._epsilon = norm.num_groups, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised x (batch, channels, height, width)."""
        grouped = x.reshape(x.shape[0], self._groups, -1)
        variance, mean = torch.var_mean(grouped, dim=2, correction=0, keepdim=True)
        normal = ((grouped - mean) * (variance + self._epsilon).rsqrt()).reshape(x.shape)
        return normal * self.weight[:, None, None] + self.bias[:, None, None]
