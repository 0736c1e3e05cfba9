"""Units for workers to open in tests: several members in turn, among them some that end their worker."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from transmeta.core.trial import TrialId, TrialResult, TrialSpec
from transmeta.trials.environment import Environment
from transmeta.trials.opening import SingleUnit
from transmeta.trials.planning import OneByOne
from transmeta.trials.unit import Tier, UnitSpec, UnitStep

OPENER = "odd_units:open_unit"
KILLER = 666
"""The seed of a trial that kills its process after its first measurement."""
RAISER = 667
"""The seed of a trial that raises after its first measurement."""
STARTS = "starts.txt"


def open_unit(spec: UnitSpec, *, environment: Environment) -> "TurnsUnit":
    """Returns the members as single trials that take turns, and notes that they started."""
    folder = Path(environment.checkpoint_folder or "")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / STARTS).open("a") as log:
        log.writelines(f"{member.id} {len(spec.members)} {spec.tier}\n" for member in spec.members)
    return TurnsUnit(spec, environment=environment)


class TurnsUnit:
    """Advances its members in turn, all by one measurement."""

    def __init__(self, spec: UnitSpec, *, environment: Environment) -> None:
        self._members = {member.id: SingleUnit(member, environment=environment) for member in spec.members}
        self._seeds = {member.id: member.seed for member in spec.members}
        self._steps = 0

    @property
    def is_done(self) -> bool:
        return all(unit.is_done for unit in self._members.values())

    def advance(self) -> UnitStep:
        if self._steps and KILLER in self._seeds.values():
            os.kill(os.getpid(), signal.SIGKILL)
        if self._steps and RAISER in self._seeds.values():
            raise RuntimeError("the unit fell over")
        self._steps += 1
        steps = [unit.advance() for unit in self._members.values() if not unit.is_done]
        return UnitStep(
            measurements=tuple(one for step in steps for one in step.measurements),
            results=tuple(one for step in steps for one in step.results),
        )

    def stop(self, trial: TrialId, *, reason: str) -> TrialResult:
        return self._members[trial].stop(trial, reason=reason)

    def parameter_count(self, trial: TrialId) -> int:
        return self._members[trial].parameter_count(trial)


class InStacks:
    """A planner that makes stacks of a size, and remembers what it observed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.observed: list[UnitSpec] = []

    def units(self, specs: Sequence[TrialSpec], *, workers: int) -> Sequence[UnitSpec]:
        if self._size == 1:
            return OneByOne().units(specs, workers=workers)
        starts = range(0, len(specs), self._size)
        return [UnitSpec(members=tuple(specs[start : start + self._size]), tier=Tier.STACK) for start in starts]

    def observe(self, unit: UnitSpec, *, results: Sequence[TrialResult], busy_s: float) -> None:
        assert busy_s > 0
        assert {result.spec.id for result in results} == {member.id for member in unit.members}
        self.observed.append(unit)
