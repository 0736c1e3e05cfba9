"""Full fine-tuning: all weights start at the source and move."""

from typing import final

from ConfigSpace import ConfigurationSpace

from transmeta.core.model import ModelCard
from transmeta.core.plan import TransferPlan
from transmeta.core.task import Params
from transmeta.strategies.hyperparameters import (
    augment_shift,
    epochs,
    head_multiplier,
    layer_decay,
    learning_rate,
    optimiser_plan,
    schedule,
    shift_of,
    space_of,
    weight_decay,
)
from transmeta.strategies.spaces import resolve


@final
class FullFinetune:
    """Trains all stages from the source's weights."""

    name = "full_finetune"
    summary = "Trains all weights, starting from the source's (Girshick et al. 2014)."

    def applies_to(self, model: ModelCard) -> bool:
        """Returns whether the card has weights."""
        return model.is_pretrained

    def space(self, model: ModelCard) -> ConfigurationSpace:
        """Returns the optimiser's numbers, the head's and the earlier stages' rates apart."""
        return space_of(
            learning_rate(low=1e-4, high=1e-2, default=4e-3, model=model),
            epochs(low=10, high=40, default=20),
            head_multiplier(),
            layer_decay(),
            weight_decay(),
            *schedule(),
            *augment_shift(model),
        )

    def plan(self, params: Params, model: ModelCard) -> TransferPlan:
        """Returns all stages trained."""
        values = resolve(self, params, model=model)
        return TransferPlan(
            trainable=tuple(range(model.stage_count)),
            optimiser=optimiser_plan(values),
            augment_shift=shift_of(values),
        )
