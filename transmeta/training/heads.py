"""The linear heads of a stack: their logits, loss and gradients in a few products.

Letters: K members, B examples in a mini-batch, F features, C classes. Logits are (K, C, B): along the classes of
contiguous examples a softmax is vectorised, which over a last axis of a dozen classes it is not (15 times slower).
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def head_logits(x: Tensor, weight: Tensor, bias: Tensor, *, runs: Sequence[slice] = ()) -> Tensor:
    """Returns logits (K, C, B) of K linear heads.

    Args:
        x: features (K, B, F) of each head's own examples, (B, F) that all heads share, or (runs, B, F).
        weight: (K, C, F).
        bias: (K, C).
        runs: neighbouring heads that share examples, all heads in order; only for x of as many.
    """
    if x.ndim == 2:
        return (weight.flatten(0, 1) @ x.T).view(*bias.shape, -1).add_(bias[..., None])
    if not runs:
        return torch.baddbmm(bias[..., None], weight, x.transpose(1, 2))
    logits = torch.empty(*bias.shape, x.shape[1], dtype=x.dtype, device=x.device)
    for run, shared in zip(runs, x, strict=True):
        torch.mm(weight[run].flatten(0, 1), shared.T, out=logits[run].flatten(0, 1))
    return logits.add_(bias[..., None])


def write_head_gradients(slope: Tensor, x: Tensor, weight: Tensor, bias: Tensor, *, runs: Sequence[slice] = ()) -> None:
    """Writes the gradients of the heads into `weight` (K, C, F) and `bias` (K, C), for `slope` (K, C, B) of the loss.

    Args:
        x, runs: as in `head_logits`; (1, B, F) for what all share, too.
    """
    torch.sum(slope, dim=2, out=bias)
    if not runs:
        weight.copy_(torch.bmm(slope, x.expand(len(slope), -1, -1)))
        return
    own = weight if weight.is_contiguous() else torch.empty_like(weight, memory_format=torch.contiguous_format)
    for run, shared in zip(runs, x, strict=True):
        torch.mm(slope[run].flatten(0, 1), shared, out=own[run].flatten(0, 1))
    if own is not weight:
        weight.copy_(own)


def loss_and_slope(logits: Tensor, labels: Tensor, *, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the weighted cross-entropy (K,) of each member, and its slope in the logits (K, C, B).

    That of a logit is softmax − one-hot, so autograd is not needed, which took half of the time of a head's step.

    Args:
        logits: (K, C, B).
        labels: (K, B).
        shares: (K, B) weights of the examples.
    """
    logs, at = logits.log_softmax(dim=1), labels[:, None]
    losses = -(logs.gather(1, at)[:, 0] * shares).sum(dim=1)
    slope = logs.exp_()
    return losses, slope.scatter_add_(1, at, slope.new_full((), -1.0).expand_as(at)).mul_(shares[:, None])
