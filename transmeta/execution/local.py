"""Runs trials in this process, unit by unit: the reference that every other executor must agree with."""

from collections.abc import Iterator
from typing import Final, final

import torch

from transmeta.core.protocols import Search
from transmeta.core.trial import STOPPED_BY_SEARCH, TrialResult, Verdict
from transmeta.trials.environment import Environment
from transmeta.trials.opening import open_unit
from transmeta.trials.planner import UnitPlanner
from transmeta.trials.run import THREADS
from transmeta.trials.unit import UnitSpec

AT_ONCE: Final = 128
"""Trials that are asked for together, to be grouped."""


@final
class LocalExecutor:
    """Runs trials in this process, with one torch thread.

    Args:
        environment: where models are found and results are kept.
    """

    name = "local"

    def __init__(self, *, environment: Environment) -> None:
        self._environment = environment
        self._planner = UnitPlanner(environment=environment)

    def drive(self, search: Search) -> Iterator[TrialResult]:
        """Yields the result of each trial of `search`, in the order in which they end."""
        torch.set_num_threads(THREADS)
        while specs := search.ask(count=AT_ONCE):
            for unit in self._planner.units(specs, workers=1):
                yield from self._run(unit, search)

    def _run(self, spec: UnitSpec, search: Search) -> Iterator[TrialResult]:
        unit = open_unit(spec, environment=self._environment)
        while not unit.is_done:
            step = unit.advance()
            ended = list(step.results)
            for member in step.measurements:
                if search.report(member.trial, member.measurement) is Verdict.STOP:
                    ended.append(unit.stop(member.trial, reason=STOPPED_BY_SEARCH))
            for result in ended:
                search.tell(result)
            yield from ended
