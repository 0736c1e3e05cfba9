"""Our own frozen description of a search space, for people, programs and policies; sampling is ConfigSpace's."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from transmeta.core.codec import tagged
from transmeta.core.task import ParamValue
from transmeta.core.trial import Arm


@tagged
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Numeric:
    """A number between `low` and `high`, both included."""

    name: str
    low: float
    high: float
    default: float
    log: bool
    is_integer: bool


@tagged
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Categorical:
    """One of `choices`."""

    name: str
    choices: tuple[ParamValue, ...]
    default: ParamValue


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """`child` is active only where `parent` has one of `values`."""

    child: str
    parent: str
    values: tuple[ParamValue, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SpaceDescription:
    """The hyperparameters of one strategy on one model."""

    strategy: str
    parameters: tuple[Numeric | Categorical, ...]
    conditions: tuple[Condition, ...] = ()


class Proposer(Protocol):
    """Draws arms from the strategies' spaces; handed to policies, which know no strategy."""

    def propose(self, *, sources: Sequence[str], count: int, seed: int) -> Sequence[Arm]:
        """Returns up to `count` distinct arms over `sources` (model card ids), the same for the same seed."""
        ...
