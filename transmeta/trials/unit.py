"""What a worker takes: one trial, or several that are trained together; reported member by member."""

import dataclasses
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from transmeta.core import codec
from transmeta.core.trial import Measurement, TrialId, TrialResult, TrialSpec


class Tier(StrEnum):
    """How the members of a unit are trained."""

    SINGLE = "single"
    """One trial, by itself."""
    STACK = "stack"
    """All members as one step over stacked parameters."""
    DIVIDED = "divided"
    """One trial, its batches shared out among all workers."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitSpec:
    """Trials that a worker takes together; one member, but for a STACK."""

    members: tuple[TrialSpec, ...]
    tier: Tier = Tier.SINGLE

    def __post_init__(self) -> None:
        assert self.members
        assert self.tier is Tier.STACK or len(self.members) == 1

    @property
    def id(self) -> str:
        """20 hexadecimal digits; equal for equal units."""
        return codec.digest(self)


def unit_of(members: Sequence[TrialSpec]) -> UnitSpec:
    """Returns the unit that trains `members` together: a stack, or the one trial there is."""
    return UnitSpec(members=tuple(members), tier=Tier.STACK if len(members) > 1 else Tier.SINGLE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MemberMeasurement:
    """What a member of a unit showed."""

    trial: TrialId
    measurement: Measurement


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitStep:
    """What the members of a unit showed since the step before: measurements first, then how members ended."""

    measurements: tuple[MemberMeasurement, ...] = ()
    results: tuple[TrialResult, ...] = ()


class TrialUnit(Protocol):
    """A unit under way."""

    @property
    def is_done(self) -> bool:
        """Whether every member has ended."""
        ...

    def advance(self) -> UnitStep:
        """Runs up to the next measurements or results of its members and returns them; a result ends its member."""
        ...

    def stop(self, trial: TrialId, *, reason: str) -> TrialResult:
        """Ends a running member early and returns its result: STOPPED, its curve so far. The others go on."""
        ...

    def parameter_count(self, trial: TrialId) -> int:
        """Returns the trainable weights of a member."""
        ...
