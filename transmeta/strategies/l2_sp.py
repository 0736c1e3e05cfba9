"""L2-SP: fine-tuning that is pulled back to the source's weights."""

from typing import final

from ConfigSpace import ConfigurationSpace

from transmeta.core.model import ModelCard
from transmeta.core.plan import L2SP, TransferPlan
from transmeta.core.task import Params
from transmeta.strategies.hyperparameters import (
    augment_shift,
    epochs,
    head_multiplier,
    layer_decay,
    learning_rate,
    log_float,
    optimiser_plan,
    schedule,
    shift_of,
    space_of,
)
from transmeta.strategies.spaces import resolve


@final
class L2SpFinetune:
    """Trains all stages under a penalty on their distance from the source; it takes the place of weight decay."""

    name = "l2_sp"
    summary = "Fine-tunes all weights under an L2 penalty towards the source's (Li et al. 2018)."

    def applies_to(self, model: ModelCard) -> bool:
        """Returns whether the card has weights."""
        return model.is_pretrained

    def space(self, model: ModelCard) -> ConfigurationSpace:
        """Returns both strengths (α and β of the paper) and the optimiser's numbers."""
        return space_of(
            log_float("strength", low=1e-3, high=1.0, default=1e-1),
            log_float("head_strength", low=1e-4, high=1e-1, default=1e-2),
            learning_rate(low=1e-4, high=1e-2, default=4e-3, model=model),
            epochs(low=10, high=40, default=20),
            head_multiplier(),
            layer_decay(),
            *schedule(),
            *augment_shift(model),
        )

    def plan(self, params: Params, model: ModelCard) -> TransferPlan:
        """Returns all stages trained and penalised."""
        values = resolve(self, params, model=model)
        return TransferPlan(
            trainable=tuple(range(model.stage_count)),
            optimiser=optimiser_plan(values),
            penalty=L2SP(strength=values.number("strength"), head_strength=values.number("head_strength")),
            augment_shift=shift_of(values),
        )
