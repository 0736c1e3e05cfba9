"""Probing in closed form: the source's features as they are, and a ridge regression on them as the head."""

from typing import Final, final

from ConfigSpace import ConfigurationSpace

from transmeta.core.model import ModelCard
from transmeta.core.plan import OptimiserPlan, Ridge, TransferPlan
from transmeta.core.task import Params
from transmeta.strategies.hyperparameters import log_float, space_of
from transmeta.strategies.spaces import resolve

PENALTY: Final = "penalty"


@final
class RidgeProbe:
    """Solves for the head alone: W = argmin ‖Y − Z·W‖² + λ·‖W‖², λ = penalty · ‖Z‖².

    Z are the centred features, Y one target of ±1 a class; the class with the largest output is chosen (regularised
    least-squares classification, Rifkin et al. 2003). All penalties on the same features share one decomposition
    (Hastie et al. 2009, eq. 3.47). One factor on all outputs makes them logits: the one with the least log loss on the
    training examples, each predicted by the head without it.
    """

    name = "ridge_probe"
    summary = "Solves a ridge regression on the frozen features as the new head, in closed form (Rifkin et al. 2003)."

    def applies_to(self, model: ModelCard) -> bool:
        """Returns whether the card has weights."""
        return model.is_pretrained

    def space(self, model: ModelCard) -> ConfigurationSpace:
        """Returns the penalty, as a share of the features' total variation."""
        return space_of(log_float(PENALTY, low=1e-6, high=1e-1, default=1e-4))

    def plan(self, params: Params, model: ModelCard) -> TransferPlan:
        """Returns all stages frozen, and the head in closed form."""
        values = resolve(self, params, model=model)
        return TransferPlan(
            trainable=(),
            optimiser=OptimiserPlan(learning_rate=1.0, epochs=1),
            ridge=Ridge(penalty=values.number(PENALTY)),
        )
