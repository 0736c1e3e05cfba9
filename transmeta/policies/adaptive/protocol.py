"""How a method that learns from tables of curves meets the harness that replays it: plain arrays, no stores.

Letters: T known targets, C configurations, S steps.
"""

import dataclasses
from collections.abc import Mapping
from typing import Protocol, final, runtime_checkable

import numpy as np
import numpy.typing as npt

from transmeta.core.task import Params

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curves:
    """What a method may learn from: the known targets only.

    Attributes:
        groups: (T,) data sets, the unit of statistics.
        domains: (T,); the groups where the table has none.
        values: (T, C, S), higher is better; NaN where the step was not recorded or diverged.
        failed, observed: (T, C).
        steps: (T, C) steps of a recorded run, 0 where there is none.
        cost_s: (T, C, S) of each step alone, in the table's unit of cost.
        final: (T, C) value of the last step; NaN where it failed or was not recorded.
        regret: (T, C, S) clip((best − value) / (best − median), 0, 3), best and median over `final`; 3 from the step on
            where it diverged; NaN where not recorded.
        params: (C,).
        target_features: name → (T,), and `pair_features`: name → (T, C); NaN where unknown.
    """

    targets: tuple[str, ...]
    groups: tuple[str, ...]
    domains: tuple[str, ...]
    values: Array
    failed: Flags
    observed: Flags
    steps: Indices
    cost_s: Array
    final: Array
    regret: Array
    configs: tuple[str, ...]
    sources: tuple[str, ...] | None
    strategies: tuple[str, ...] | None
    params: tuple[Params, ...]
    target_features: Mapping[str, Array]
    pair_features: Mapping[str, Array]


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a search may spend: evaluations (a full run is 1, a part of it its share of the steps), or cost."""

    evaluations: float | None = None
    cost_s: float | None = None


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Present:
    """What is known of the target at hand before anything runs on it.

    Attributes:
        is_allowed: (C,) which configurations are recorded there.
        steps: (C,) steps of a full run there, 0 where not allowed.
        pair_features: name → (C,); NaN where unknown.
    """

    target: str
    is_allowed: Flags
    steps: Indices
    target_features: Mapping[str, float]
    pair_features: Mapping[str, Array]
    allowance: Allowance


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Run or continue a configuration up to a step, from 1."""

    config: int
    step: int


class Session(Protocol):
    """One search on one target."""

    def next(self) -> Move | None:
        """Returns what to run next; None to stop."""
        ...

    def tell(self, move: Move, values: Array, cost_s: Array, failed: bool) -> None:
        """Takes values and costs of the steps that were new."""
        ...


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A predicted final value with its 90 % interval, and the cost of a full run."""

    value: float
    low: float
    high: float
    cost_s: float


@runtime_checkable
class Predicting(Protocol):
    """A session that says what it expects."""

    def predict(self, config: int) -> Forecast:
        """Returns what a full run of the configuration would bring, as known now."""
        ...


class Learned(Protocol):
    """What a method learned from the known targets."""

    def start(self, present: Present, *, seed: int) -> Session:
        """Returns a search on the target."""
        ...


class Method(Protocol):
    """A way to choose what to run."""

    @property
    def name(self) -> str:
        """Its name in tables."""
        ...

    @property
    def is_random(self) -> bool:
        """Whether the seed matters."""
        ...

    def learn(self, curves: Curves, *, seed: int) -> Learned:
        """Returns what it learns from the known targets."""
        ...
