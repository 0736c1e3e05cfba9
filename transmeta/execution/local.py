"""Runs trials one after another in this process: the reference that every other executor must agree with."""

from collections.abc import Iterator
from typing import Final, final

import torch

from transmeta.core.protocols import Search
from transmeta.core.trial import TrialResult, Verdict
from transmeta.trials.environment import Environment
from transmeta.trials.run import THREADS
from transmeta.trials.unit import UnitSpec, open_unit

STOPPED_BY_SEARCH: Final = "stopped by the search"


@final
class LocalExecutor:
    """Runs trials in this process, with one torch thread.

    Args:
        environment: where models are found and results are kept.
    """

    name = "local"

    def __init__(self, *, environment: Environment) -> None:
        self._environment = environment

    def drive(self, search: Search) -> Iterator[TrialResult]:
        """Yields the result of each trial of `search`, in the order in which it asked for them."""
        torch.set_num_threads(THREADS)
        while specs := search.ask(count=1):
            for spec in specs:
                yield from self._run(UnitSpec(members=(spec,)), search)

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
