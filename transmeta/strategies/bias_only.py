"""BitFit: only biases and the affine parameters of norms are trained."""

from typing import final

from ConfigSpace import ConfigurationSpace

from transmeta.core.model import ModelCard
from transmeta.core.plan import Scope, TransferPlan
from transmeta.core.task import Params
from transmeta.strategies.hyperparameters import (
    epochs,
    head_multiplier,
    layer_decay,
    learning_rate,
    optimiser_plan,
    schedule,
    space_of,
    weight_decay,
)
from transmeta.strategies.spaces import resolve


@final
class BiasOnly:
    """Trains the biases of all stages."""

    name = "bias_only"
    summary = "Trains the biases and norms of all stages, and the head (BitFit, Ben Zaken et al. 2022)."

    def applies_to(self, model: ModelCard) -> bool:
        """Returns whether the card has weights."""
        return model.is_pretrained

    def space(self, model: ModelCard) -> ConfigurationSpace:
        """Returns the optimiser's numbers, at higher rates than for all weights."""
        return space_of(
            learning_rate(low=5e-4, high=2e-2, default=8e-3, model=model),
            epochs(low=10, high=40, default=20),
            head_multiplier(),
            layer_decay(),
            weight_decay(),
            *schedule(),
        )

    def plan(self, params: Params, model: ModelCard) -> TransferPlan:
        """Returns all stages trained, in their biases alone."""
        return TransferPlan(
            trainable=tuple(range(model.stage_count)),
            scope=Scope.BIAS,
            optimiser=optimiser_plan(resolve(self, params, model=model)),
        )
