"""What an architecture plug-in offers, and how its card is measured."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn

from transmeta.core.model import SCRATCH, ModelCard, Stage
from transmeta.core.task import Modality
from transmeta.training.staged import StagedModel, prepare


class Architecture(Protocol):
    """Builds staged models of one architecture; an entry point of the group `transmeta.models`."""

    def card(self, *, input_shape: tuple[int, ...]) -> ModelCard:
        """Returns the card of the model without weights for inputs of this shape, with the id `scratch-...`."""
        ...

    def build(self, card: ModelCard) -> StagedModel:
        """Returns the model that `card` describes, with arbitrary weights and a head for the card's own classes."""
        ...


def measured_card(
    stages: Sequence[tuple[str, nn.Module]],
    *,
    name: str,
    architecture: str,
    modality: Modality,
    input_shape: tuple[int, ...],
    feature_count: int,
) -> ModelCard:
    """Returns a card without weights, its stages' sizes counted by running one example through them."""
    macs: list[int] = []
    blank = ModelCard(
        id=f"{SCRATCH}-{name}",
        architecture=architecture,
        modality=modality,
        input_shape=input_shape,
        stages=(),
        feature_count=feature_count,
    )
    dtype = torch.uint8 if modality is Modality.IMAGE else torch.float32
    x = prepare(torch.zeros((1, *input_shape), dtype=dtype), card=blank)
    with torch.no_grad():
        for _, stage in stages:
            counts, x = _run_counting(stage, x)
            macs.append(counts)
    described = tuple(
        Stage(name=stage_name, parameter_count=sum(p.numel() for p in stage.parameters()), macs=count)
        for (stage_name, stage), count in zip(stages, macs, strict=True)
    )
    return ModelCard(
        id=blank.id,
        architecture=architecture,
        modality=modality,
        input_shape=input_shape,
        stages=described,
        feature_count=feature_count,
        note="random weights",
    )


def _run_counting(stage: nn.Module, x: torch.Tensor) -> tuple[int, torch.Tensor]:
    total = 0

    def count(layer: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        places = output[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1
        total += weight.numel() * places

    layers = [layer for layer in stage.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    output: torch.Tensor = stage(x)
    for hook in hooks:
        hook.remove()
    return total, output
