"""How the trials that a search asks for become units."""

from collections.abc import Sequence
from typing import Final, Protocol, final

from transmeta.core.trial import TrialResult, TrialSpec
from transmeta.trials.unit import UnitSpec

SMOOTHING: Final = 0.25
"""Weight of the newest unit in a running mean of what units take."""


def running_mean(before: float | None, value: float) -> float:
    """Returns the running mean `before`, None at first, with one more value."""
    return value if before is None else before + SMOOTHING * (value - before)


class Planner(Protocol):
    """Groups trials into units, and learns from what units cost."""

    def units(self, specs: Sequence[TrialSpec], *, workers: int) -> Sequence[UnitSpec]:
        """Returns units that hold each of `specs` once, in the order in which they should start.

        Args:
            workers: how many units run at once.
        """
        ...

    def divided(self, units: Sequence[UnitSpec], *, workers: int) -> Sequence[UnitSpec]:
        """Returns `units`, DIVIDED if they end sooner one after another, each on all `workers`, than side by side."""
        ...

    def observe(self, unit: UnitSpec, *, results: Sequence[TrialResult], busy_s: float) -> None:
        """Takes what a unit showed that ran undisturbed from its beginning to its end.

        Args:
            results: of all members, in the order in which they ended.
            busy_s: wall seconds that its worker spent on it, opening it included.
        """
        ...


@final
class OneByOne:
    """Makes each trial a unit of its own."""

    def units(self, specs: Sequence[TrialSpec], *, workers: int) -> Sequence[UnitSpec]:
        """Returns a unit for each of `specs`, in their order."""
        return [UnitSpec(members=(spec,)) for spec in specs]

    def divided(self, units: Sequence[UnitSpec], *, workers: int) -> Sequence[UnitSpec]:
        """Returns them as they are."""
        return units

    def observe(self, unit: UnitSpec, *, results: Sequence[TrialResult], busy_s: float) -> None:
        """Learns nothing."""
