"""The tree-structured Parzen estimator of Optuna over the recorded configurations; Optuna is imported when it starts.

Where configurations have hyperparameters, a source or a strategy, TPE proposes a point of that space and the nearest
recorded configuration that was not run yet is run; it learns from that configuration's own values, not from the point
it asked for. Where they have none, it chooses among the configurations' names.

Letters: C configurations, P numbers, Q choices.
"""

import dataclasses
import math
from typing import TYPE_CHECKING, Final, final

import numpy as np

from transmeta.core.task import ParamValue
from transmeta.policies.adaptive.protocol import Array, Curves, Flags, Indices, Move, Present
from transmeta.training.seeding import derive_seed

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution

WIDE: Final = 100.0
"""Positive numbers that span more than this factor are searched on a logarithmic scale."""
SOURCE: Final = "source"
STRATEGY: Final = "strategy"
CONFIG: Final = "config"


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A hyperparameter that is a number, from `low` to `high`."""

    low: float
    high: float
    is_log: bool

    def scaled(self, value: float) -> float:
        """Returns the value on a scale from 0 to 1."""
        low, high, at = (math.log(v) if self.is_log else v for v in (self.low, self.high, value))
        return (at - low) / (high - low)


@final
class Space:
    """The space that the configurations span.

    Attributes:
        numbers: by name; those that do not vary are left out, as are choices.
        choices: by name, the texts to choose from.
    """

    def __init__(self, curves: Curves) -> None:
        rows = [dict[str, ParamValue](params) for params in curves.params]
        for name, labels in ((SOURCE, curves.sources), (STRATEGY, curves.strategies)):
            if labels is not None:
                rows = [{**row, f"={name}": label} for row, label in zip(rows, labels, strict=True)]
        if not any(rows):
            rows = [{CONFIG: config} for config in curves.configs]
        self._rows = rows
        self.numbers: dict[str, Number] = {}
        self.choices: dict[str, tuple[str, ...]] = {}
        for name in sorted({name for row in rows for name in row}):
            self._add(name, [row[name] for row in rows if name in row])
        self._scaled = self._columns(self.numbers, lambda name, value: self.numbers[name].scaled(float(value)))
        self._codes = self._columns(self.choices, lambda name, value: self.choices[name].index(str(value)))
        self._kind = list(curves.strategies or [""] * len(rows))

    def distributions(self) -> "dict[str, BaseDistribution]":
        """Returns the space in Optuna's terms."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        numbers = {n: FloatDistribution(low=v.low, high=v.high, log=v.is_log) for n, v in self.numbers.items()}
        return {**numbers, **{name: CategoricalDistribution(texts) for name, texts in self.choices.items()}}

    def values(self, config: int) -> dict[str, float | str]:
        """Returns the configuration's point in the space: what applies to it."""
        row = self._rows[config]
        numbers: dict[str, float | str] = {name: float(row[name]) for name in self.numbers if name in row}
        return {**numbers, **{name: str(row[name]) for name in self.choices if name in row}}

    def ask(self, trial: "Trial") -> tuple[Array, Array]:
        """Returns a proposed point: numbers (P,) and codes (Q,), NaN where they do not apply to the strategy."""
        key = f"={STRATEGY}"
        strategy = trial.suggest_categorical(key, self.choices[key]) if key in self.choices else None
        has_kind = [strategy is None or kind == strategy for kind in self._kind]
        applies = np.asarray((~np.isnan(self._codes[has_kind])).any(axis=0))
        codes = np.full(len(self.choices), np.nan)
        for index, (name, texts) in enumerate(self.choices.items()):
            if applies[index]:
                codes[index] = texts.index(str(trial.suggest_categorical(name, texts)))
        applies = np.asarray((~np.isnan(self._scaled[has_kind])).any(axis=0))
        numbers = np.full(len(self.numbers), np.nan)
        for index, (name, number) in enumerate(self.numbers.items()):
            if applies[index]:
                numbers[index] = number.scaled(trial.suggest_float(name, number.low, number.high, log=number.is_log))
        return numbers, codes

    def nearest(self, numbers: Array, codes: Array, *, among: Indices) -> int:
        """Returns the configuration with the least sum of differences; one for a choice, or for what it lacks."""
        is_asked, is_chosen = ~np.isnan(numbers), ~np.isnan(codes)
        far = np.abs(self._scaled[among][:, is_asked] - numbers[is_asked])
        other = self._codes[among][:, is_chosen] != codes[is_chosen]
        distance = np.where(np.isnan(far), 1.0, far).sum(axis=1) + other.sum(axis=1)
        return int(among[int(np.argmin(np.round(distance, 12)))])

    def _add(self, name: str, values: list[ParamValue]) -> None:
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            low, high = min(map(float, values)), max(map(float, values))
            if low < high:
                self.numbers[name] = Number(low=low, high=high, is_log=low > 0 and high > WIDE * low)
        elif len(set(map(str, values))) > 1:
            self.choices[name] = tuple(sorted(set(map(str, values))))

    def _columns(self, names: object, scaled: object) -> Array:
        assert isinstance(names, dict)
        assert callable(scaled)
        columns = np.full((len(self._rows), len(names)), np.nan)
        for index, name in enumerate(names):
            for config, row in enumerate(self._rows):
                if name in row:
                    columns[config, index] = scaled(name, row[name])
        return columns


@final
class TpeSession:
    """Asks Optuna for a point, runs the nearest configuration in full, tells its value."""

    def __init__(self, space: Space, present: Present, *, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._steps = present.steps
        self._is_left: Flags = present.is_allowed.copy()
        sampler = optuna.samplers.TPESampler(seed=derive_seed(seed, "tpe", present.target) % 2**32)
        self._study: Study = optuna.create_study(direction="maximize", sampler=sampler)
        self._distributions = space.distributions()

    def next(self) -> Move | None:
        """Returns the next full run; None when every configuration was run."""
        from optuna.trial import TrialState

        left = np.flatnonzero(self._is_left)
        if not left.size:
            return None
        trial = self._study.ask()
        config = self._space.nearest(*self._space.ask(trial), among=left)
        # What was asked for was not run; what was run is told in its place.
        self._study.tell(trial, state=TrialState.FAIL)
        return Move(config=config, step=int(self._steps[config]))

    def tell(self, move: Move, values: Array, cost_s: Array, failed: bool) -> None:
        """Tells Optuna the value; one that failed is worse than all others."""
        from optuna.trial import create_trial

        self._is_left[move.config] = False
        point = self._space.values(move.config)
        self._study.add_trial(
            create_trial(
                params=dict(point),
                distributions={name: self._distributions[name] for name in point},
                value=float(values[-1]),
            )
        )


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TpeLearned:
    """Knows the space, nothing of other targets."""

    space: Space

    def start(self, present: Present, *, seed: int) -> TpeSession:
        """Returns the search on the target."""
        return TpeSession(self.space, present, seed=seed)


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tpe:
    """Optuna's TPE with its defaults (Bergstra et al. 2011); ten random runs come first."""

    name: str = "tpe"
    is_random: bool = True

    def learn(self, curves: Curves, *, seed: int) -> TpeLearned:
        """Takes the ranges of the hyperparameters."""
        return TpeLearned(space=Space(curves))
