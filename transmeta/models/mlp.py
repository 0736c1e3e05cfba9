"""A multilayer perceptron of three stages for tables."""

from typing import Final, final

from torch import nn

from transmeta.core.model import ModelCard
from transmeta.core.task import Modality
from transmeta.models.architecture import measured_card
from transmeta.training.staged import StagedModel

WIDTH: Final = 128
DEPTH: Final = 3


@final
class Mlp:
    """Architecture `mlp`; one card for each number of columns."""

    def card(self, *, input_shape: tuple[int, ...]) -> ModelCard:
        """Returns the card for tables of `input_shape` (columns,)."""
        return measured_card(
            _stages(input_shape[0]),
            name=f"mlp-{input_shape[0]}",
            architecture="mlp",
            modality=Modality.TABULAR,
            input_shape=input_shape,
            feature_count=WIDTH,
        )

    def build(self, card: ModelCard) -> StagedModel:
        """Returns the model, its head for the card's classes."""
        stages = [stage for _, stage in _stages(card.input_shape[0])]
        return StagedModel(stages, feature_count=card.feature_count, class_count=max(card.class_count, 1))


def _stages(columns: int) -> list[tuple[str, nn.Module]]:
    widths = (columns, *(WIDTH,) * DEPTH)
    return [
        (f"layer{index + 1}", nn.Sequential(nn.Linear(widths[index], WIDTH), nn.LayerNorm(WIDTH), nn.ReLU()))
        for index in range(DEPTH)
    ]
