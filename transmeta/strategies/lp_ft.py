"""LP-FT: the head is probed first, so that fine-tuning does not distort the features for a random head."""

from typing import final

from ConfigSpace import ConfigurationSpace, UniformIntegerHyperparameter

from transmeta.core.model import ModelCard
from transmeta.core.plan import TransferPlan
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
    weight_decay,
)
from transmeta.strategies.spaces import resolve


@final
class ProbeThenFinetune:
    """Trains the head alone, then everything."""

    name = "lp_ft"
    summary = "Probes the head on frozen features first, then fine-tunes all weights (Kumar et al. 2022)."

    def applies_to(self, model: ModelCard) -> bool:
        """Returns whether the card has weights."""
        return model.is_pretrained

    def space(self, model: ModelCard) -> ConfigurationSpace:
        """Returns the numbers of both phases; the second starts from a good head and needs less."""
        return space_of(
            UniformIntegerHyperparameter("probe_epochs", 5, 20, default_value=10),
            log_float("probe_learning_rate", low=1e-3, high=1e-1, default=2e-2),
            learning_rate(low=1e-4, high=1e-2, default=2e-3, model=model),
            epochs(low=5, high=30, default=15),
            head_multiplier(low=0.3, high=10.0, default=1.0),
            layer_decay(),
            weight_decay(),
            *schedule(),
            *augment_shift(model),
        )

    def plan(self, params: Params, model: ModelCard) -> TransferPlan:
        """Returns all stages trained after the probing epochs."""
        values = resolve(self, params, model=model)
        return TransferPlan(
            trainable=tuple(range(model.stage_count)),
            optimiser=optimiser_plan(values),
            probe_epochs=values.whole("probe_epochs"),
            probe_learning_rate=values.number("probe_learning_rate"),
            augment_shift=shift_of(values),
        )
