"""Linear probing: the source's features as they are, and a new head."""

from typing import final

from ConfigSpace import ConfigurationSpace

from transmeta.core.model import ModelCard
from transmeta.core.plan import TransferPlan
from transmeta.core.task import Params
from transmeta.strategies.hyperparameters import (
    epochs,
    learning_rate,
    optimiser_plan,
    schedule,
    space_of,
    weight_decay,
)
from transmeta.strategies.spaces import resolve


@final
class LinearProbe:
    """Trains the head alone."""

    name = "linear_probe"
    summary = "Trains a new head on the frozen features (Kornblith et al. 2019)."

    def applies_to(self, model: ModelCard) -> bool:
        """Returns whether the card has weights."""
        return model.is_pretrained

    def space(self, model: ModelCard) -> ConfigurationSpace:
        """Returns the optimiser's numbers, at a head's rates."""
        return space_of(
            learning_rate(low=1e-3, high=1e-1, default=2e-2),
            epochs(low=10, high=60, default=30),
            weight_decay(),
            *schedule(),
        )

    def plan(self, params: Params, model: ModelCard) -> TransferPlan:
        """Returns all stages frozen."""
        return TransferPlan(trainable=(), optimiser=optimiser_plan(resolve(self, params, model=model)))
