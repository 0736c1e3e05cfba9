"""The seam of a transfer strategy: which models it fits, its hyperparameters, and the plan that it makes of them."""

from typing import Protocol, runtime_checkable

from ConfigSpace import ConfigurationSpace

from transmeta.core.model import ModelCard
from transmeta.core.plan import TransferPlan
from transmeta.core.task import Params


@runtime_checkable
class Strategy(Protocol):
    """One way to transfer a source checkpoint to a target task.

    To add one: a final class without constructor arguments, an entry point in the group `transmeta.strategies` whose
    name is `name`, and a test class derived from `transmeta.testing.strategy_cases.StrategyCases`.
    """

    @property
    def name(self) -> str:
        """Its name in specs, tables and entry points, such as `lora`."""
        ...

    @property
    def summary(self) -> str:
        """What it does in one sentence, with its reference."""
        ...

    def applies_to(self, model: ModelCard) -> bool:
        """Returns whether it can be offered for `model`."""
        ...

    def space(self, model: ModelCard) -> ConfigurationSpace:
        """Returns a new space of its hyperparameters for `model`, never empty; JSON scalars only.

        Uniform floats and integers, categories, constants, and conditions on the value of another hyperparameter.
        """
        ...

    def plan(self, params: Params, model: ModelCard) -> TransferPlan:
        """Returns what to do with `model`; what `params` leaves out has its default. Pure.

        Raises:
            ConfigError: for an unknown hyperparameter, a value of the wrong type or out of range, or a model that it
                does not apply to.
        """
        ...
