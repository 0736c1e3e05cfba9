"""Partial freezing: the stages before a cut stay, those after it are fine-tuned."""

from typing import final

from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace

from transmeta.core.model import ModelCard
from transmeta.core.plan import Scope, TransferPlan
from transmeta.core.task import Params
from transmeta.strategies.hyperparameters import (
    epochs,
    head_multiplier,
    layer_decay_above,
    learning_rate,
    optimiser_plan,
    schedule,
    space_of,
    stage_index,
    weight_decay,
)
from transmeta.strategies.spaces import resolve


@final
class PartialFreeze:
    """Trains the stages from `cut` on; on either side of it there is at least one."""

    name = "partial_freeze"
    summary = "Freezes the stages before a cut and trains those after it (Yosinski et al. 2014)."

    def applies_to(self, model: ModelCard) -> bool:
        """Returns whether the card has weights and two stages to cut between."""
        return model.is_pretrained and model.stage_count >= 2

    def space(self, model: ModelCard) -> ConfigurationSpace:
        """Returns the cut, the scope and the optimiser's numbers; by default the last stage alone is trained."""
        last = model.stage_count - 1
        cut = stage_index("cut", low=1, high=last, default=last)
        return space_of(
            cut,
            CategoricalHyperparameter("scope", [Scope.ALL.value, Scope.BIAS.value], default_value=Scope.ALL.value),
            learning_rate(low=3e-4, high=2e-2, default=5e-3, model=model),
            epochs(low=10, high=40, default=20),
            head_multiplier(),
            *layer_decay_above(cut, model=model),
            weight_decay(),
            *schedule(),
        )

    def plan(self, params: Params, model: ModelCard) -> TransferPlan:
        """Returns the stages from the cut on trained."""
        values = resolve(self, params, model=model)
        return TransferPlan(
            trainable=tuple(range(values.whole("cut"), model.stage_count)),
            scope=Scope(values.text("scope")),
            optimiser=optimiser_plan(values),
        )
