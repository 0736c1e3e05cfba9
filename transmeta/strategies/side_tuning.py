"""Side-tuning: a small network beside the frozen source, f_mt = f_s + f_ad."""

from typing import final

from ConfigSpace import ConfigurationSpace

from transmeta.core.model import ModelCard
from transmeta.core.plan import SideNetwork, TransferPlan
from transmeta.core.task import Params
from transmeta.strategies.hyperparameters import (
    epochs,
    head_multiplier,
    learning_rate,
    log_integer,
    optimiser_plan,
    schedule,
    space_of,
    weight_decay,
)
from transmeta.strategies.spaces import resolve


@final
class SideTuning:
    """Adds the features of a small trainable network to those of the frozen source."""

    name = "side_tuning"
    summary = "Trains a small network whose features are added to the frozen ones (Zhang et al. 2020)."

    def applies_to(self, model: ModelCard) -> bool:
        """Returns whether the card has weights."""
        return model.is_pretrained

    def space(self, model: ModelCard) -> ConfigurationSpace:
        """Returns the width and the optimiser's numbers; the side network starts from nothing and takes longer."""
        return space_of(
            log_integer("width", low=4, high=32, default=12),
            learning_rate(low=5e-4, high=4e-2, default=1e-2),
            epochs(low=10, high=60, default=30),
            head_multiplier(),
            weight_decay(),
            *schedule(),
        )

    def plan(self, params: Params, model: ModelCard) -> TransferPlan:
        """Returns all stages frozen and the side network added."""
        values = resolve(self, params, model=model)
        side = SideNetwork(width=values.whole("width"))
        return TransferPlan(trainable=(), optimiser=optimiser_plan(values), additions=(side,))
