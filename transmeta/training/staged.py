"""Staged models: an ordered list of stages and a head."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from transmeta.core.model import ModelCard
from transmeta.core.task import Modality


@final
class StagedModel(nn.Module):
    """features(x) = pool(stage_n(... stage_1(x))), logits(x) = head(features(x)).

    Args:
        stages: each takes what the one before returns; the first takes what `prepare` returns.
        feature_count: width of the features.
        class_count: outputs of the head.

    Attributes:
        side: an additional network whose features are added to those of the stages, or None.
    """

    def __init__(self, stages: Sequence[nn.Module], *, feature_count: int, class_count: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.head = nn.Linear(feature_count, class_count)
        self.side: nn.Module | None = None
        self.feature_count = feature_count

    def forward(self, x: Tensor, start: int = 0, inputs: Tensor | None = None) -> Tensor:
        """Returns logits (batch, classes).

        Args:
            x: prepared inputs, or the output of stage `start - 1`.
            start: index of the first stage to run.
            inputs: the prepared inputs, where `x` is not: the side network reads these.
        """
        logits: Tensor = self.head(self.features(x, start=start, inputs=inputs))
        return logits

    def features(self, x: Tensor, *, start: int = 0, inputs: Tensor | None = None) -> Tensor:
        """Returns features (batch, feature_count); arguments as in `forward`."""
        hidden = pool(self.run(x, start=start, stop=len(self.stages)))
        if self.side is not None:
            hidden = hidden + self.side(x if inputs is None else inputs)
        return hidden

    def run(self, x: Tensor, *, start: int, stop: int) -> Tensor:
        """Returns the output of stages `start` to `stop - 1`."""
        for stage in list(self.stages)[start:stop]:
            x = stage(x)
        return x


def pool(x: Tensor) -> Tensor:
    """Returns (batch, features): the mean over space of (batch, features, height, width), others unchanged."""
    return x.mean(dim=(2, 3)) if x.ndim == 4 else x


def prepare(x: Tensor, *, card: ModelCard) -> Tensor:
    """Returns examples as the first stage takes them: float32, channels first, of the card's size and channels.

    Args:
        x: uint8 (batch, height, width, channels) scaled to [−1, 1]; or float32 (batch, columns), unchanged.
    """
    if card.modality is not Modality.IMAGE:
        return x
    height, width, channels = card.input_shape
    images = x.permute(0, 3, 1, 2).to(torch.float32).sub(127.0).div(128.0)
    if images.shape[1] == 1 and channels > 1:
        images = images.expand(-1, channels, -1, -1)
    elif images.shape[1] > 1 and channels == 1:
        images = images.mean(dim=1, keepdim=True)
    if tuple(images.shape[2:]) != (height, width):
        images = functional.interpolate(images, size=(height, width), mode="bilinear", antialias=True)
    return images.contiguous(memory_format=torch.channels_last)
