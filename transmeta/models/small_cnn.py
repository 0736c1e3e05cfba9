"""A CNN of four stages and 85k weights for 32×32 images; group norms, so that small batches hold no surprises."""

from typing import Final, final

from torch import nn

from transmeta.core.model import ModelCard
from transmeta.core.task import Modality
from transmeta.models.architecture import measured_card
from transmeta.models.norm import SafeGroupNorm
from transmeta.training.staged import StagedModel

WIDTHS: Final = (24, 48, 64, 80)
SIZE: Final = 32


@final
class SmallCnn:
    """Architecture `small_cnn`; images of any size and channels are resized to 32×32 RGB."""

    def card(self, *, input_shape: tuple[int, ...]) -> ModelCard:
        """Returns the same card for every shape: the model resizes."""
        return measured_card(
            _stages(),
            name="small_cnn",
            architecture="small_cnn",
            modality=Modality.IMAGE,
            input_shape=(SIZE, SIZE, 3),
            feature_count=WIDTHS[-1],
        )

    def build(self, card: ModelCard) -> StagedModel:
        """Returns the model, its head for the card's classes."""
        stages = [stage for _, stage in _stages()]
        return StagedModel(stages, feature_count=card.feature_count, class_count=max(card.class_count, 1))


def _stages() -> list[tuple[str, nn.Module]]:
    kernels = ((5, 2), (3, 2), (3, 1), (3, 1))
    stages: list[tuple[str, nn.Module]] = []
    inputs = 3
    for index, (width, (kernel, stride)) in enumerate(zip(WIDTHS, kernels, strict=True)):
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, width, kernel, stride=stride, padding=kernel // 2, bias=False),
            SafeGroupNorm(8, width),
            nn.ReLU(),
        ]
        if index == 2:
            layers.append(nn.MaxPool2d(2))
        stages.append((f"conv{index + 1}", nn.Sequential(*layers)))
        inputs = width
    return stages
