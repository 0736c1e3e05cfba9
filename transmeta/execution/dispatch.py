"""What the driver of a pool of workers knows: which units wait, which are out, and whom they cost their worker."""

import dataclasses
from collections import deque
from collections.abc import Sequence
from typing import Final, final

from transmeta.core.protocols import Search
from transmeta.core.trial import Measurement, TrialId, TrialResult, TrialSpec, TrialStatus, Verdict
from transmeta.trials.planning import Planner, running_mean
from transmeta.trials.unit import MemberMeasurement, Tier, UnitSpec, UnitStep

ATTEMPTS: Final = 3
"""How often a trial is started, if its worker fails each time: twice in its unit, and then by itself."""
BRISK_S: Final = 1.0
"""A worker gets a second unit to turn to while units take less than this; longer ones rather wait for a free worker."""
TRIALS_AHEAD: Final = 1024
"""How many trials are asked for at once, for each worker, so that the planner finds some that fit together."""
AHEAD_S: Final = 20.0
"""Trials that would wait longer than this are not asked for yet: a search may run out of time meanwhile."""


@final
class Assignment:
    """A unit on its way through the workers.

    Attributes:
        losses: how often a worker failed with its members.
    """

    __slots__ = ("_curves", "_running", "busy_s", "losses", "results", "unit")

    def __init__(self, unit: UnitSpec, *, losses: int = 0) -> None:
        self.unit = unit
        self.losses = losses
        self.busy_s = 0.0
        self.results: list[TrialResult] = []
        self._running = {spec.id: spec for spec in unit.members}
        self._curves: dict[TrialId, list[Measurement]] = {trial: [] for trial in self._running}

    @property
    def running(self) -> Sequence[TrialSpec]:
        """The members that have not ended."""
        return tuple(self._running.values())

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what its worker failed of: then it has a worker to itself, so that the next time shows."""
        return self.losses > 0

    def curve(self, trial: TrialId) -> Sequence[Measurement]:
        """Returns what a member has shown so far."""
        return tuple(self._curves[trial])

    def show(self, trial: TrialId, measurement: Measurement) -> None:
        """Takes a measurement of a member that is running."""
        self._curves[trial].append(measurement)

    def end(self, result: TrialResult) -> TrialResult:
        """Takes the result of a member that was running, and returns it with the curve that was shown."""
        trial = result.spec.id
        assert trial in self._running, f"a result of trial {trial}, which does not run in unit {self.unit.id}"
        result = dataclasses.replace(result, spec=self._running.pop(trial), curve=tuple(self._curves[trial]))
        self.results.append(result)
        return result


@final
class Dispatch:
    """Brings the units of a search out to workers, and tells the search what comes back; each result once.

    Args:
        workers: how many units run at once.
        divides: whether one trial may have all of them.
    """

    def __init__(self, search: Search, *, planner: Planner, workers: int, divides: bool = False) -> None:
        self._search = search
        self._planner = planner
        self._workers = workers
        self._divides = divides
        self._waiting: deque[Assignment] = deque()
        self._out: set[Assignment] = set()
        self._unit_s: float | None = None
        self._member_s: float | None = None

    @property
    def has_waiting(self) -> bool:
        """Whether units wait for a worker."""
        return bool(self._waiting)

    @property
    def is_over(self) -> bool:
        """Whether nothing waits and nothing is out; after `replenish`, so is the search."""
        return not self._waiting and not self._out

    def replenish(self) -> None:
        """Asks the search for trials while fewer units wait than there are workers."""
        while len(self._waiting) < self._workers and (specs := self._search.ask(count=self._count())):
            units = self._planner.units(specs, workers=self._workers)
            planned = sorted(spec.id for unit in units for spec in unit.members)
            assert planned == sorted(spec.id for spec in specs), "a plan holds each trial that was asked for, once"
            if self._divides and self.is_over:
                units = self._planner.divided(units, workers=self._workers)
            self._waiting.extend(Assignment(unit) for unit in units)

    def take(self, *, beside: Sequence[Assignment]) -> Assignment | None:
        """Returns the unit that a worker starts next, None if it gets none now.

        Args:
            beside: what the worker holds already.
        """
        if not self._waiting or self._waiting[0].unit.tier is Tier.DIVIDED:
            return None
        is_brisk = self._unit_s is not None and self._unit_s < BRISK_S
        if beside and (not is_brisk or self._waiting[0].is_suspect or any(held.is_suspect for held in beside)):
            return None
        taken = self._waiting.popleft()
        self._out.add(taken)
        return taken

    def take_divided(self) -> Assignment | None:
        """Returns the unit that all workers start next together, None if there is none or some of them are busy."""
        if self._out or not self._waiting or self._waiting[0].unit.tier is not Tier.DIVIDED:
            return None
        taken = self._waiting.popleft()
        self._out.add(taken)
        return taken

    def show(self, assignment: Assignment, member: MemberMeasurement) -> Verdict:
        """Shows the search what a member of a unit showed, and returns its verdict."""
        assignment.show(member.trial, member.measurement)
        return self._search.report(member.trial, member.measurement)

    def absorb(
        self, assignment: Assignment, step: UnitStep, *, is_done: bool, busy_s: float
    ) -> tuple[Sequence[TrialResult], Sequence[TrialId]]:
        """Shows the search what a unit showed; returns the results, which have been told, and the trials to be stopped.

        A result's curve is what was shown, so a step's results may come without.

        Args:
            busy_s: wall seconds that the step took.
        """
        assignment.busy_s += busy_s
        ended = {result.spec.id for result in step.results}
        stops: dict[TrialId, None] = {}
        for member in step.measurements:
            verdict = self.show(assignment, member)
            if verdict is Verdict.STOP and member.trial not in ended:
                stops[member.trial] = None
        results = [assignment.end(result) for result in step.results]
        for result in results:
            self._search.tell(result)
        if is_done:
            assert not assignment.running, f"unit {assignment.unit.id} ended without the results of all its members"
            self._out.remove(assignment)
            self._learn(assignment)
        return results, tuple(stops)

    def lose(self, assignment: Assignment, *, reason: str) -> Sequence[TrialResult]:
        """Takes back a unit whose worker failed: once whole, then member by member; returns whom it quarantined.

        The split goes all the way at once, so that nobody starts more than `ATTEMPTS` times, whoever is to blame.
        """
        self._out.remove(assignment)
        losses = assignment.losses + 1
        if losses == ATTEMPTS:
            reason = f"quarantined: its worker failed {ATTEMPTS} times, at last: {reason}"
            crashed = [TrialResult(spec=spec, status=TrialStatus.CRASHED, reason=reason) for spec in assignment.running]
            for result in crashed:
                self._search.tell(result)
            return crashed
        if losses == 1:
            units = [dataclasses.replace(assignment.unit, members=tuple(assignment.running))]
        else:
            units = [UnitSpec(members=(spec,)) for spec in assignment.running]
        self._waiting.extendleft(Assignment(unit, losses=losses) for unit in reversed(units))
        return ()

    def put_back(self, assignment: Assignment) -> None:
        """Takes back a unit whose worker was taken away, which says nothing about the unit; it starts over."""
        self._out.remove(assignment)
        rest = dataclasses.replace(assignment.unit, members=tuple(assignment.running))
        self._waiting.appendleft(Assignment(rest, losses=assignment.losses))

    def _count(self) -> int:
        """Returns how many trials to ask for: enough to plan with, no more than can start soon."""
        most = self._workers * TRIALS_AHEAD
        if self._member_s is None:
            return most
        soon = self._workers * AHEAD_S / max(self._member_s, 1e-6)
        return max(2 * self._workers, int(min(most, soon)))

    def _learn(self, assignment: Assignment) -> None:
        members = len(assignment.unit.members)
        self._unit_s = running_mean(self._unit_s, assignment.busy_s)
        self._member_s = running_mean(self._member_s, assignment.busy_s / members)
        if not assignment.losses:
            self._planner.observe(assignment.unit, results=tuple(assignment.results), busy_s=assignment.busy_s)
