"""Residual adapters: small maps beside frozen layers."""

from typing import final

from ConfigSpace import ConfigurationSpace

from transmeta.core.model import ModelCard
from transmeta.core.plan import ResidualAdapter, TransferPlan
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
class AdapterFinetune:
    """Adds parallel 1×1 maps from `cut` on; all source weights are frozen."""

    name = "residual_adapter"
    summary = "Trains 1×1 maps parallel to the frozen layers (Rebuffi et al. 2018)."

    def applies_to(self, model: ModelCard) -> bool:
        """Returns whether the card has weights."""
        return model.is_pretrained

    def space(self, model: ModelCard) -> ConfigurationSpace:
        """Returns the cut and the optimiser's numbers."""
        return space_of(
            stage_index("cut", low=0, high=model.stage_count - 1, default=0),
            learning_rate(low=5e-4, high=2e-2, default=8e-3, model=model),
            epochs(low=10, high=40, default=20),
            head_multiplier(),
            weight_decay(),
            *schedule(),
        )

    def plan(self, params: Params, model: ModelCard) -> TransferPlan:
        """Returns all stages frozen and the adapters added."""
        values = resolve(self, params, model=model)
        adapter = ResidualAdapter(cut=values.whole("cut"))
        return TransferPlan(trainable=(), optimiser=optimiser_plan(values), additions=(adapter,))
