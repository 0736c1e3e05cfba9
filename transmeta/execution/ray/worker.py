"""A resident worker: one single-threaded process that holds open units and runs them a step at a time.

It knows nothing of Ray; `crew` makes an actor of it. What it is told and what it answers is JSON.
"""

import dataclasses
import gc
import importlib
import os
import time
from collections.abc import Sequence
from typing import Final, Protocol, cast, final

import torch

from transmeta.core import codec
from transmeta.core.trial import STOPPED_BY_SEARCH, Measurement, TrialId, TrialResult, TrialSpec, TrialStatus
from transmeta.errors import InputError, UnsafeFileError
from transmeta.trials.environment import Environment
from transmeta.trials.run import THREADS
from transmeta.trials.unit import MemberMeasurement, TrialUnit, UnitSpec, UnitStep

STEP_S: Final = 1.0
"""A step ends after this many seconds, or at a rung: the delay with which a verdict is heard."""
REFUSALS: Final = (InputError, UnsafeFileError)
"""What a unit raises that cannot be run as it is specified: nobody's work is lost by ending the search."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A unit to open, with what its worker needs beside it.

    Attributes:
        rungs: shares of a trial's epochs at which it waits for a verdict.
    """

    unit: UnitSpec
    environment: Environment
    rungs: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stops:
    """The members of a unit that the search has stopped."""

    trials: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a unit cannot be run: the message of one of `REFUSALS`, and its exit code."""

    message: str
    exit_code: int

    def as_error(self) -> InputError | UnsafeFileError:
        """Returns the error to raise where the search is driven."""
        kinds = {kind.exit_code: kind for kind in REFUSALS}
        return kinds[self.exit_code](self.message)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A measurement of the trial whose id is `trial`."""

    trial: str
    measurement: Measurement


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the trial whose id is `trial` ended: its result but for the spec, which is known, and the curve, as shown."""

    trial: str
    status: TrialStatus
    score: float | None
    test_score: float | None
    cost_s: float
    wall_s: float
    parameter_count: int
    reason: str
    checkpoint: str | None

    @classmethod
    def of(cls, result: TrialResult) -> "Ended":
        """Returns what has to be said of a result."""
        rest = {field.name: getattr(result, field.name) for field in dataclasses.fields(cls) if field.name != "trial"}
        return cls(trial=result.spec.id, **rest)

    def as_result(self, spec: TrialSpec) -> TrialResult:
        """Returns the result of `spec`, without its curve."""
        rest = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "trial"}
        return TrialResult(spec=spec, **rest)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a unit showed in one step.

    Attributes:
        busy_s: wall seconds that the step took.
    """

    is_done: bool
    busy_s: float
    measurements: tuple[Shown, ...] = ()
    ended: tuple[Ended, ...] = ()
    refusal: Refusal | None = None

    def as_step(self, members: Sequence[TrialSpec]) -> UnitStep:
        """Returns what the unit's `members` showed, and the results, without their curves, of those that ended."""
        specs = {spec.id: spec for spec in members}
        shown = [MemberMeasurement(trial=TrialId(one.trial), measurement=one.measurement) for one in self.measurements]
        results = [one.as_result(specs[TrialId(one.trial)]) for one in self.ended]
        return UnitStep(measurements=tuple(shown), results=tuple(results))


class Opener(Protocol):
    """What opens units, as `transmeta.trials.opening.open_unit` does."""

    def __call__(self, spec: UnitSpec, *, environment: Environment) -> TrialUnit:
        """Returns the unit, its members ready to run."""
        ...


@final
class UnitWorker:
    """Holds open units by ticket, and runs one of them at a time.

    A unit that raises is dropped; the worker goes on with the others.

    Args:
        opener: import path of an `Opener`, such as `transmeta.trials.opening:open_unit`.
    """

    def __init__(self, *, opener: str) -> None:
        torch.set_num_threads(THREADS)
        importlib.import_module("torch._dynamo")  # the first optimiser step would, at the cost of the first trial
        module, _, name = opener.partition(":")
        self._open = cast(Opener, getattr(importlib.import_module(module), name))
        self._units: dict[int, tuple[TrialUnit, tuple[float, ...]]] = {}
        gc.freeze()  # what is loaded stays; looking through it for garbage again and again took a fifth of small trials

    def greet(self) -> int:
        """Returns the process id; that it answers means that all is loaded."""
        return os.getpid()

    def run(self, ticket: int, errand: str) -> str:
        """Opens a unit and runs its first step; returns the `Answer`."""
        started_s = time.perf_counter()
        told = codec.loads(Errand, errand)
        try:
            unit = self._open(told.unit, environment=told.environment)
        except REFUSALS as error:
            refusal = Refusal(message=str(error), exit_code=error.exit_code)
            return codec.dumps(Answer(is_done=True, busy_s=0.0, refusal=refusal))
        return self._step(ticket, unit, told.rungs, stops=(), started_s=started_s)

    def go_on(self, ticket: int, stops: str) -> str:
        """Stops the members that the search has stopped and runs the next step of the others; returns the `Answer`."""
        started_s = time.perf_counter()
        told = codec.loads(Stops, stops)
        unit, rungs = self._units.pop(ticket)
        return self._step(ticket, unit, rungs, stops=told.trials, started_s=started_s)

    def parameter_count(self, ticket: int, trial: TrialId) -> int:
        """Returns the trainable weights of a member of an open unit."""
        unit, _ = self._units[ticket]
        return unit.parameter_count(trial)

    def forget(self) -> int:
        """Drops all units, and returns how many there were."""
        count = len(self._units)
        self._units.clear()
        return count

    def _step(
        self, ticket: int, unit: TrialUnit, rungs: tuple[float, ...], *, stops: Sequence[str], started_s: float
    ) -> str:
        """Advances until a member reaches a rung, for about `STEP_S` seconds, or to the end; keeps what goes on."""
        results: list[TrialResult] = [unit.stop(TrialId(trial), reason=STOPPED_BY_SEARCH) for trial in stops]
        measurements: list[Shown] = []
        busy_s = time.perf_counter() - started_s
        while not unit.is_done and busy_s < STEP_S:
            step = unit.advance()
            results += step.results
            measurements += [Shown(trial=one.trial, measurement=one.measurement) for one in step.measurements]
            busy_s = time.perf_counter() - started_s
            if any(one.measurement.reaches(rung) for one in step.measurements for rung in rungs):
                break
        if not unit.is_done:
            self._units[ticket] = (unit, rungs)
        answer = Answer(
            is_done=unit.is_done,
            busy_s=round(busy_s, 6),
            measurements=tuple(measurements),
            ended=tuple(Ended.of(result) for result in results),
        )
        return codec.dumps(answer)
