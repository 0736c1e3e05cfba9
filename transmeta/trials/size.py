"""What an arm's model weighs and computes, known before it is trained."""

import dataclasses
from typing import Final, final

from transmeta.core.model import ModelCard
from transmeta.core.task import Task
from transmeta.core.trial import Arm
from transmeta.models.library import ModelLibrary
from transmeta.strategies.catalogue import find_strategy
from transmeta.training.planned import apply
from transmeta.training.structure import Structure, structure

WEIGHT_BYTES: Final = 4
STATE_BYTES: Final = 12
"""Of the gradient and the two moments of one trained weight, in float32."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """The size of an arm's model.

    Attributes:
        parameters: weights that are trained.
        macs: multiply-accumulate operations for one example, without what the strategy adds to the stages.
        memory_bytes: of weights, gradients and the optimiser's state in training; activations come on top.
    """

    parameters: int
    macs: int
    memory_bytes: int


@final
class SizeBook:
    """Measures arms on one target by building their models; arms of equal structure are built once."""

    def __init__(self, library: ModelLibrary, *, target: Task) -> None:
        self._library = library
        self._target = target
        self._cards: dict[str, ModelCard] = {card.id: card for card in library.candidates(target)}
        self._known: dict[Structure, ModelSize] = {}

    def size(self, arm: Arm) -> ModelSize:
        """Returns the size of the arm's model.

        Raises:
            ConfigError, UnknownNameError: for an arm that is not valid on the target.
            TrialFailure: if the plan does not fit the model.
        """
        card = self._cards.get(arm.source) or self._library.card(arm.source, target=self._target)
        plan = find_strategy(arm.strategy.name).plan(arm.strategy.params, card)
        shape = structure(plan, card=card, target_id=self._target.id)
        if shape not in self._known:
            model = self._library.load(card)
            planned = apply(plan, model=model, card=card, class_count=self._target.class_count, seed=0)
            weights = sum(parameter.numel() for parameter in planned.model.parameters())
            self._known[shape] = ModelSize(
                parameters=planned.parameter_count,
                macs=sum(stage.macs for stage in card.stages) + card.feature_count * self._target.class_count,
                memory_bytes=WEIGHT_BYTES * weights + STATE_BYTES * planned.parameter_count,
            )
        return self._known[shape]
