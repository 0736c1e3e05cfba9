"""ResNet-20 for 32×32 images: a stem and 9 residual blocks, 10 stages in all."""

from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from transmeta.core.model import ModelCard
from transmeta.core.task import Modality
from transmeta.models.architecture import measured_card
from transmeta.models.norm import StoredNorm
from transmeta.training.staged import StagedModel

SIZE: Final = 32
WIDTHS: Final = (16, 32, 64)
BLOCKS: Final = 3
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)
"""Of red, green and blue in [0, 1], as the known weights were trained."""


@final
class ResNet20:
    """Architecture `resnet20`: the CIFAR variant with parameter-free shortcuts (He et al. 2016, section 4.2).

    Its norms use stored statistics at all times, so it is meant for imported weights: random ones train badly.
    """

    def card(self, *, input_shape: tuple[int, ...]) -> ModelCard:
        """Returns the same card for every shape: images are resized to 32×32 RGB."""
        return measured_card(
            _stages(),
            name="resnet20",
            architecture="resnet20",
            modality=Modality.IMAGE,
            input_shape=(SIZE, SIZE, 3),
            feature_count=WIDTHS[-1],
        )

    def build(self, card: ModelCard) -> StagedModel:
        """Returns the model, its head for the card's classes."""
        stages = [stage for _, stage in _stages()]
        return StagedModel(stages, feature_count=card.feature_count, class_count=max(card.class_count, 1))


@final
class Stem(nn.Module):
    """The first convolution, on pixels scaled as its weights expect them and not as `prepare` returns them."""

    scale: Tensor
    shift: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = StoredNorm(width)
        # prepare gives (255·u − 127) / 128 for u in [0, 1], and the weights want (u − MEAN) / STD. The zero padding
        # comes after that, so it cannot be folded into the convolution.
        gains = [128 / 255 / std for std in STD]
        shifts = [(127 / 255 - mean) / std for mean, std in zip(MEAN, STD, strict=True)]
        self.register_buffer("scale", torch.tensor(gains).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", torch.tensor(shifts).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (batch, channels, height, width)."""
        return functional.relu(self.bn1(self.conv1(x * self.scale + self.shift)))


@final
class BasicBlock(nn.Module):
    """relu(x + layers(x)); where the shape changes, x is subsampled and its channels are padded with zeros."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.padding = (outputs - inputs) // 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = StoredNorm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = StoredNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (batch, outputs, height / stride, width / stride)."""
        hidden: Tensor = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        skip = x[:, :, :: self.stride, :: self.stride]
        return functional.relu(hidden + functional.pad(skip, (0, 0, 0, 0, self.padding, self.padding)))


def _stages() -> list[tuple[str, nn.Module]]:
    stages: list[tuple[str, nn.Module]] = [("stem", Stem(WIDTHS[0]))]
    inputs = WIDTHS[0]
    for width in WIDTHS:
        for _ in range(BLOCKS):
            stages.append((f"block{len(stages)}", BasicBlock(inputs, width, stride=1 if width == inputs else 2)))
            inputs = width
    return stages
