"""Random search that stops bad runs early: asynchronous successive halving, as Ray Tune's AsyncHyperBandScheduler."""

import dataclasses
from typing import Final, final

import numpy as np

from transmeta.policies.adaptive.protocol import Array, Curves, Indices, Move, Present
from transmeta.training.seeding import derive_seed

REDUCTION: Final = 3
RUNGS: Final = 3
"""At 1/9, 1/3 and all of the steps."""


@final
class StoppingRule:
    """Stops a run at a rung unless it is among the best third of those that got there before it.

    With fewer than three steps there is one rung per step. The rule is that of Ray Tune 2.60 with one bracket (Li et
    al., A System for Massively Parallel Hyperparameter Tuning, 2020): a run continues if its value is not below the 2/3
    quantile of the values recorded at that rung before, and always where there are none.
    """

    def __init__(self) -> None:
        self._recorded: list[list[float]] = [[] for _ in range(RUNGS)]

    def continues(self, rung: int, value: float) -> bool:
        """Returns whether the run goes on, after recording its value at the rung."""
        recorded = self._recorded[rung]
        goes_on = not recorded or value >= np.percentile(recorded, 100 * (1 - 1 / REDUCTION))
        recorded.append(value)
        return bool(goes_on)


def rungs(steps: int) -> Indices:
    """Returns the steps of the rungs for a run of `steps`; distinct, the last is the run's end."""
    shares = REDUCTION ** -np.arange(RUNGS - 1, -1, -1, dtype=np.float64)
    return np.maximum(np.rint(steps * shares), 1).astype(np.int64)


@final
class HalvingSession:
    """Runs configurations in order, each to the next rung as long as the rule lets it."""

    def __init__(self, order: Indices, steps: Indices) -> None:
        self._order = [int(config) for config in reversed(order)]
        self._steps = steps
        self._rule = StoppingRule()
        self._open: tuple[int, int] | None = None
        """The configuration that goes on, and the rung that it goes to."""

    def next(self) -> Move | None:
        """Returns the next part of a run; None when every configuration had its turn."""
        if self._open is None:
            if not self._order:
                return None
            self._open = (self._order.pop(), 0)
        config, rung = self._open
        return Move(config=config, step=int(rungs(int(self._steps[config]))[rung]))

    def tell(self, move: Move, values: Array, cost_s: Array, failed: bool) -> None:
        """Decides whether the run goes on."""
        assert self._open is not None, "told before it was asked"
        _, rung = self._open
        at = rungs(int(self._steps[move.config]))
        self._open = None
        while not failed and np.isfinite(values[-1]) and rung < RUNGS - 1 and self._rule.continues(rung, values[-1]):
            rung += 1
            if at[rung] > move.step:  # short runs have rungs that coincide
                self._open = (move.config, rung)
                return


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RandomHalving:
    """Random order with early stopping; it knows nothing of other targets."""

    name: str = "random_asha"
    is_random: bool = True

    def learn(self, curves: Curves, *, seed: int) -> "RandomHalving":
        """Learns nothing."""
        return self

    def start(self, present: Present, *, seed: int) -> HalvingSession:
        """Returns the search on the target."""
        rng = np.random.default_rng(derive_seed(seed, "random", present.target))
        return HalvingSession(rng.permutation(np.flatnonzero(present.is_allowed)), present.steps)
