"""Norms without the surprises of torch's own: a crash, and batch statistics."""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional


@final
class SafeGroupNorm(nn.GroupNorm):
    """`torch.nn.GroupNorm`, with the same numbers.

    torch 2.13 crashes the process (segmentation fault) in the backward pass of a group norm over channels-last input
    that needs no gradient itself, as when only biases and norms are trained. Asking for the gradient avoids that path.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Returns the normalised input, of its shape."""
        if torch.is_grad_enabled() and self.weight.requires_grad and not input.requires_grad:
            input = input.detach().requires_grad_()
        return super().forward(input)


@final
class StoredNorm(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` with its stored statistics, in training as in evaluation.

    So a frozen prefix is a function of one example, which can be cached, and a step of few examples does not depend on
    who else is in it. Scale and shift are trained as usual; the statistics stay those of the source.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Returns the normalised input (batch, channels, height, width), of its shape."""
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )
