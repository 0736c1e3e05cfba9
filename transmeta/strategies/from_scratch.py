"""Training from scratch: what transfer must beat."""

from typing import final

from ConfigSpace import ConfigurationSpace

from transmeta.core.model import ModelCard
from transmeta.core.plan import Initialisation, TransferPlan
from transmeta.core.task import Params
from transmeta.strategies.hyperparameters import (
    augment_shift,
    epochs,
    learning_rate,
    optimiser_plan,
    schedule,
    shift_of,
    space_of,
    weight_decay,
)
from transmeta.strategies.spaces import resolve


@final
class FromScratch:
    """Trains all stages from random weights."""

    name = "from_scratch"
    summary = "Trains the whole architecture from random weights, without transfer (He et al. 2019)."

    def applies_to(self, model: ModelCard) -> bool:
        """Returns whether the card has no weights: with weights, nothing of the source would be used."""
        return not model.is_pretrained

    def space(self, model: ModelCard) -> ConfigurationSpace:
        """Returns the optimiser's numbers; longer than fine-tuning takes."""
        return space_of(
            learning_rate(low=3e-4, high=2e-2, default=3e-3),
            epochs(low=20, high=60, default=40),
            weight_decay(),
            *schedule(),
            *augment_shift(model),
        )

    def plan(self, params: Params, model: ModelCard) -> TransferPlan:
        """Returns all stages trained, from random weights."""
        values = resolve(self, params, model=model)
        return TransferPlan(
            trainable=tuple(range(model.stage_count)),
            initialisation=Initialisation.RANDOM,
            optimiser=optimiser_plan(values),
            augment_shift=shift_of(values),
        )
