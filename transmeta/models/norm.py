"""Group norm that survives a frozen layer in front of it."""

from typing import final

import torch
from torch import Tensor, nn


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
