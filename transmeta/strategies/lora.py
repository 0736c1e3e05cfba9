"""LoRA: a low-rank update of frozen weights, W_s + ΔW."""

from typing import final

from ConfigSpace import ConfigurationSpace

from transmeta.core.model import ModelCard
from transmeta.core.plan import Lora, TransferPlan
from transmeta.core.task import Params
from transmeta.strategies.hyperparameters import (
    epochs,
    head_multiplier,
    learning_rate,
    log_float,
    log_integer,
    optimiser_plan,
    schedule,
    space_of,
    stage_index,
    weight_decay,
)
from transmeta.strategies.spaces import resolve


@final
class LoraFinetune:
    """Adds low-rank updates from `cut` on; all source weights are frozen."""

    name = "lora"
    summary = "Trains low-rank updates of the frozen convolutions and linear layers (Hu et al. 2022)."

    def applies_to(self, model: ModelCard) -> bool:
        """Returns whether the card has weights."""
        return model.is_pretrained

    def space(self, model: ModelCard) -> ConfigurationSpace:
        """Returns rank, scale, cut and the optimiser's numbers."""
        return space_of(
            log_integer("rank", low=1, high=16, default=4),
            log_float("scale", low=1.0, high=32.0, default=8.0),
            stage_index("cut", low=0, high=model.stage_count - 1, default=0),
            learning_rate(low=5e-4, high=2e-2, default=8e-3, model=model),
            epochs(low=10, high=40, default=20),
            head_multiplier(),
            weight_decay(),
            *schedule(),
        )

    def plan(self, params: Params, model: ModelCard) -> TransferPlan:
        """Returns all stages frozen and the updates added."""
        values = resolve(self, params, model=model)
        update = Lora(rank=values.whole("rank"), scale=values.number("scale"), cut=values.whole("cut"))
        return TransferPlan(trainable=(), optimiser=optimiser_plan(values), additions=(update,))
