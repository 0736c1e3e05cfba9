"""Minimal filtering has the numbers of the convolution that it stands for."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from transmeta.training.winograd import Winograd, fits, tiles_of


def by_images(y: torch.Tensor, *, height: int, width: int) -> torch.Tensor:
    """Returns outputs (B, 4·T, O), tile by tile, as images (B, O, height, width)."""
    outputs = y.shape[-1]
    tiles = y.view(len(y), height // 2, width // 2, 2, 2, outputs)
    return tiles.permute(0, 5, 1, 3, 2, 4).reshape(len(y), outputs, height, width)


@pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "own inputs"])
@pytest.mark.parametrize(("height", "width", "padding"), [(4, 4, 1), (6, 8, 0), (2, 10, 1)])
def test_outputs_and_gradients_are_those_of_convolutions(height, width, padding, is_shared):
    generator = torch.Generator().manual_seed(0)
    members, examples, channels, outputs = 3, 2, 5, 4
    readers = 1 if is_shared else members
    images = torch.randn(readers, examples, channels, height, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(members, outputs, channels, 3, 3, generator=generator, dtype=torch.float64)
    high, wide = height + 2 * padding - 2, width + 2 * padding - 2
    slope = torch.randn(members, examples, high * wide, outputs, generator=generator, dtype=torch.float64)
    tiles = tiles_of(images.flatten(0, 1), padding=(padding, padding)).unflatten(0, (readers, examples))
    gradients = {"w": torch.full_like(weight, torch.nan)}

    layer = Winograd(weight="w")
    y, saved = layer.forward(tiles, {"w": weight}, known=None)
    layer.backward(slope, saved, {"w": weight}, gradients, is_first=True)

    for member in range(members):
        own = weight[member].clone().requires_grad_()
        expected = functional.conv2d(images[0 if is_shared else member], own, padding=padding)
        expected.backward(by_images(slope[member], height=high, width=wide))
        torch.testing.assert_close(by_images(y[member], height=high, width=wide), expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradients["w"][member], own.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("convolution", "size", "expected"),
    [
        (nn.Conv2d(2, 2, 3, padding=1, bias=False), (4, 6), True),
        (nn.Conv2d(2, 2, 3, bias=False), (4, 6), True),
        (nn.Conv2d(2, 2, 3, padding=1, bias=False), (5, 6), False),
        (nn.Conv2d(2, 2, 3, padding=1, bias=False), (4, 7), False),
        (nn.Conv2d(2, 2, 3, bias=False), (2, 2), False),
        (nn.Conv2d(2, 2, 3, padding=1), (4, 4), False),
        (nn.Conv2d(2, 2, 3, stride=2, padding=1, bias=False), (4, 4), False),
        (nn.Conv2d(2, 2, 3, dilation=2, padding=2, bias=False), (4, 4), False),
        (nn.Conv2d(2, 2, 5, padding=2, bias=False), (4, 4), False),
    ],
)
def test_only_small_plain_convolutions_of_even_size_are_run_so(convolution, size, expected):
    assert fits(convolution, height=size[0], width=size[1]) is expected
