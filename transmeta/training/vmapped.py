"""What a model needs to be run under `vmap`, and the head without it."""

import copy
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from transmeta.training.staged import StagedModel


def stackable(model: StagedModel) -> StagedModel:
    """Returns a copy of the model that `vmap` can run, with the same names."""
    copied = copy.deepcopy(model)
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GroupNorm):
                setattr(parent, name, PlainGroupNorm(child))
    return copied


def head_logits(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Returns logits (K, B, C) of K linear heads, in one product.

    Args:
        x: features (K, B, features), or (B, features) that all heads share.
        weight: (K, C, features).
        bias: (K, C).
    """
    if x.ndim == 3:
        return torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))
    return (x @ weight.flatten(0, 1).T).view(len(x), *bias.shape).transpose(0, 1) + bias[:, None]


def loss_and_slope(logits: Tensor, labels: Tensor, *, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the weighted cross-entropy (K,) of each member, and its slope in the logits (K, B, C).

    That of a logit is softmax − one-hot, so autograd is not needed, which took half of the time of a head's step.

    Args:
        labels: (K, B).
        shares: (K, B) weights of the examples.
    """
    logs = functional.log_softmax(logits, dim=2)
    slope = logs.exp().scatter_add_(2, labels[..., None], -torch.ones_like(logs[..., :1]))
    return -(logs.gather(2, labels[..., None])[..., 0] * shares).sum(dim=1), slope.mul_(shares[..., None])


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
