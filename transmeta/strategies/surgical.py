"""Surgical fine-tuning: one stage is trained, chosen by where source and target differ."""

from typing import final

from ConfigSpace import ConfigurationSpace

from transmeta.core.model import ModelCard
from transmeta.core.plan import TransferPlan
from transmeta.core.task import Params
from transmeta.strategies.hyperparameters import (
    epochs,
    head_multiplier,
    learning_rate,
    optimiser_plan,
    schedule,
    space_of,
    stage_index,
    weight_decay,
)
from transmeta.strategies.spaces import resolve


@final
class Surgical:
    """Trains one stage: an early one for a shift of the input, a late one for a shift of the output."""

    name = "surgical"
    summary = "Trains one chosen stage and the head, and freezes all others (Lee et al. 2023)."

    def applies_to(self, model: ModelCard) -> bool:
        """Returns whether the card has weights."""
        return model.is_pretrained

    def space(self, model: ModelCard) -> ConfigurationSpace:
        """Returns the stage and the optimiser's numbers; by default a middle stage."""
        return space_of(
            stage_index("stage", low=0, high=model.stage_count - 1, default=model.stage_count // 2),
            learning_rate(low=3e-4, high=2e-2, default=5e-3, model=model),
            epochs(low=10, high=40, default=20),
            head_multiplier(),
            weight_decay(),
            *schedule(),
        )

    def plan(self, params: Params, model: ModelCard) -> TransferPlan:
        """Returns the one stage trained."""
        values = resolve(self, params, model=model)
        return TransferPlan(trainable=(values.whole("stage"),), optimiser=optimiser_plan(values))
