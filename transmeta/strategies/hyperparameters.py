"""The hyperparameters that strategies share: their ranges, and the optimiser's numbers made of them.

Ranges are for AdamW on some 10⁵ weights, 30 to 2000 training examples and batches of 32.
"""

import math
from collections.abc import Sequence
from typing import Final

from ConfigSpace import (
    CategoricalHyperparameter,
    ConfigurationSpace,
    Constant,
    EqualsCondition,
    InCondition,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)

from transmeta.core.model import ModelCard
from transmeta.core.plan import OptimiserPlan, Schedule
from transmeta.core.task import Modality
from transmeta.strategies.spaces import Values

Hyperparameter = UniformFloatHyperparameter | UniformIntegerHyperparameter | CategoricalHyperparameter | Constant
Part = Hyperparameter | EqualsCondition | InCondition

LEARNING_RATE: Final = "learning_rate"
EPOCHS: Final = "epochs"
HEAD_MULTIPLIER: Final = "head_multiplier"
LAYER_DECAY: Final = "layer_decay"
WEIGHT_DECAY: Final = "weight_decay"
SCHEDULE: Final = "schedule"
WARMUP: Final = "warmup"
AUGMENT_SHIFT: Final = "augment_shift"

SMALL: Final = 100_000
"""Weights of a model that the default learning rates were found on."""
SHIFT: Final = 2
"""Pixels; at 32×32 a class survives it."""


def space_of(*parts: Part) -> ConfigurationSpace:
    """Returns a new space of `parts`, conditions included."""
    space = ConfigurationSpace()
    space.add(*parts)
    return space


def log_float(name: str, *, low: float, high: float, default: float) -> UniformFloatHyperparameter:
    """Returns a number that is uniform in its logarithm."""
    return UniformFloatHyperparameter(name, low, high, default_value=default, log=True)


def log_integer(name: str, *, low: int, high: int, default: int) -> UniformIntegerHyperparameter:
    """Returns a whole number that is uniform in its logarithm."""
    return UniformIntegerHyperparameter(name, low, high, default_value=default, log=True)


def learning_rate(
    *, low: float, high: float, default: float, model: ModelCard | None = None
) -> UniformFloatHyperparameter:
    """Returns the learning rate of the last trained stage, or of the head where only the head is trained.

    Args:
        model: whose transferred weights are trained, so that a larger one starts lower: the default falls with the
            square root of the weights above `SMALL`.
    """
    if model is not None and model.parameter_count > SMALL:
        default = max(low, float(f"{default * math.sqrt(SMALL / model.parameter_count):.2g}"))
    return log_float(LEARNING_RATE, low=low, high=high, default=default)


def epochs(*, low: int, high: int, default: int) -> UniformIntegerHyperparameter:
    """Returns the number of passes over the training split."""
    return UniformIntegerHyperparameter(EPOCHS, low, high, default_value=default)


def head_multiplier(*, low: float = 1.0, high: float = 10.0, default: float = 3.0) -> UniformFloatHyperparameter:
    """Returns how much faster than the last stage the head learns, which starts from nothing."""
    return log_float(HEAD_MULTIPLIER, low=low, high=high, default=default)


def layer_decay() -> UniformFloatHyperparameter:
    """Returns the factor from a stage's learning rate to that of the stage before it (Howard & Ruder 2018)."""
    return UniformFloatHyperparameter(LAYER_DECAY, 0.4, 1.0, default_value=1.0)


def layer_decay_above(cut: Hyperparameter, *, model: ModelCard) -> tuple[Part, ...]:
    """Returns the layer decay, active where more than one stage is trained from `cut` on."""
    several = list(range(1, model.stage_count - 1))
    if not several:
        return ()
    decay = layer_decay()
    return decay, InCondition(decay, cut, several)


def weight_decay() -> UniformFloatHyperparameter:
    """Returns AdamW's decoupled weight decay."""
    return log_float(WEIGHT_DECAY, low=1e-4, high=1e-1, default=1e-2)


def schedule() -> tuple[Part, ...]:
    """Returns the schedule, and its warm-up where there is one."""
    kind = CategoricalHyperparameter(
        SCHEDULE, [Schedule.COSINE.value, Schedule.CONSTANT.value], default_value=Schedule.COSINE.value
    )
    warmup = UniformFloatHyperparameter(WARMUP, 0.0, 0.3, default_value=0.05)
    return kind, warmup, EqualsCondition(warmup, kind, Schedule.COSINE.value)


def augment_shift(model: ModelCard) -> Sequence[Part]:
    """Returns whether training images are shifted at random; nothing for a model of columns."""
    if model.modality is not Modality.IMAGE:
        return ()
    return (CategoricalHyperparameter(AUGMENT_SHIFT, [0, SHIFT], default_value=0),)


def stage_index(name: str, *, low: int, high: int, default: int) -> UniformIntegerHyperparameter | Constant:
    """Returns the index of a stage from `low` to `high`, a constant if there is only one."""
    if low == high:
        return Constant(name, low)
    return UniformIntegerHyperparameter(name, low, high, default_value=default)


def optimiser_plan(values: Values) -> OptimiserPlan:
    """Returns AdamW's numbers; what a strategy does not have among its hyperparameters is neutral."""
    return OptimiserPlan(
        learning_rate=values.number(LEARNING_RATE),
        epochs=values.whole(EPOCHS),
        head_multiplier=values.number(HEAD_MULTIPLIER, otherwise=1.0),
        layer_decay=values.number(LAYER_DECAY, otherwise=1.0),
        weight_decay=values.number(WEIGHT_DECAY, otherwise=0.0),
        schedule=Schedule(values.text(SCHEDULE)),
        warmup=values.number(WARMUP, otherwise=0.0),
    )


def shift_of(values: Values) -> int:
    """Returns the shift of training images in pixels; 0 where the model has none."""
    return values.whole(AUGMENT_SHIFT, otherwise=0)
