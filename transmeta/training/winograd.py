"""A trained 3×3 convolution that reads frozen features, by minimal filtering: 4/9 of the multiplications.

Source: F(2×2, 3×3) of Lavin & Gray 2016, "Fast algorithms for convolutional neural networks", whose letters these are:
d a tile of 4×4 inputs, g the 3×3 weights, y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A its 2×2 outputs. The features are frozen, so
their side, Bᵀ d B, is computed once for a whole split.

Other letters: K members, B examples, T tiles of an example, C inputs, O outputs.
"""

from collections.abc import Sequence
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from transmeta.training.linear_map import Weights

KERNEL: Final = (3, 3)
TILE: Final = 4
STRIDE: Final = 2
OUTPUTS: Final = 4
"""Of one tile."""
_B: Final = ((1.0, 0.0, -1.0, 0.0), (0.0, 1.0, 1.0, 0.0), (0.0, -1.0, 1.0, 0.0), (0.0, 1.0, 0.0, -1.0))
_G: Final = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))
_A: Final = ((1.0, 1.0, 1.0, 0.0), (0.0, 1.0, -1.0, -1.0))


@final
class Winograd:
    """The convolution of each member, as a layer of `Products` that comes first.

    Members are run one by one: what lies between two products then stays in a processor's cache.

    Args:
        weight: name of the members' own (O, C, 3, 3).
    """

    def __init__(self, *, weight: str) -> None:
        self._weight = weight

    def forward(self, x: Tensor, weights: Weights, *, known: Tensor | None) -> tuple[Tensor, Sequence[Tensor]]:
        """Returns the outputs (K, B, 4·T, O), tile by tile, and what `backward` needs.

        Args:
            x: of `tiles_of`, (K, B, T, 16·C), or (1, B, T, 16·C) that all members share.
        """
        assert known is None
        weight = weights[self._weight]
        outputs, channels = weight.shape[1:3]
        tiles = _by_place(x, channels=channels)
        filters, filtered = _squared(_G, like=x), _squared(_A, like=x)
        count = tiles.shape[2]
        u, m = x.new_empty(16, outputs * channels), x.new_empty(16, count, outputs)
        out, y = x.new_empty(4, count * outputs), x.new_empty(len(weight), count, 4, outputs)
        for member, g in enumerate(weight):
            torch.mm(filters, g.reshape(-1, 9).T, out=u)
            torch.bmm(_own(tiles, member), u.view(16, outputs, channels).transpose(1, 2), out=m)
            torch.mm(filtered, m.view(16, -1), out=out)
            y[member].copy_(out.view(4, count, outputs).transpose(0, 1))
        return y.view(len(weight), x.shape[1], -1, outputs), (x,)

    def backward(
        self, slope: Tensor, saved: Sequence[Tensor], weights: Weights, gradients: Weights, *, is_first: bool
    ) -> Tensor:
        """Writes the gradients of the members' weights; returns `slope`, as nothing before it is trained."""
        assert is_first
        (x,) = saved
        gradient = gradients[self._weight]
        outputs, channels = gradient.shape[1:3]
        tiles = _by_place(x, channels=channels)
        filters, filtered = _squared(_G, like=x).T, _squared(_A, like=x).T
        count = tiles.shape[2]
        m, u, g = (
            x.new_empty(16, count * outputs),
            x.new_empty(16, outputs, channels),
            x.new_empty(9, outputs * channels),
        )
        for member, own in enumerate(slope):
            torch.mm(filtered, own.reshape(count, 4, outputs).transpose(0, 1).reshape(4, -1), out=m)
            torch.bmm(m.view(16, count, outputs).transpose(1, 2), _own(tiles, member), out=u)
            torch.mm(filters, u.view(16, -1), out=g)
            gradient[member].view(-1, 9).copy_(g.T)
        return slope


def fits(convolution: nn.Conv2d, *, height: int, width: int) -> bool:
    """Whether a convolution over images of that size can be run so: 3×3, one by one, an even number of outputs."""
    padding = convolution.padding
    assert not isinstance(padding, str)
    is_plain = convolution.kernel_size == KERNEL and convolution.stride == (1, 1) and convolution.dilation == (1, 1)
    sides = (height + 2 * padding[0] - 2, width + 2 * padding[1] - 2)
    return is_plain and convolution.bias is None and all(side > 0 and side % STRIDE == 0 for side in sides)


def tiles_of(x: Tensor, *, padding: tuple[int, ...]) -> Tensor:
    """Returns Bᵀ d B of images (N, C, height, width), (N, T, 16·C)."""
    count, channels = x.shape[:2]
    tiles = functional.unfold(x, (TILE, TILE), padding=padding, stride=STRIDE).view(count, channels, 16, -1)
    return torch.einsum("pq,ncqt->ntpc", _squared(_B, like=x), tiles).flatten(2).contiguous()


def _by_place(x: Tensor, *, channels: int) -> Tensor:
    """Returns (K or 1, 16, B·T, C) of (K or 1, B, T, 16·C); shares its memory."""
    return x.view(len(x), -1, 16, channels).transpose(1, 2)


def _own(tiles: Tensor, member: int) -> Tensor:
    return tiles[member if len(tiles) > 1 else 0]


def _squared(matrix: Sequence[Sequence[float]], *, like: Tensor) -> Tensor:
    """Returns what acts on flat tiles as the matrix does on their rows and on their columns."""
    side = torch.tensor(matrix, dtype=like.dtype, device=like.device)
    return torch.kron(side, side)
