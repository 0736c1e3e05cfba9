"""Runs trials one after another in this process: the reference that every other executor must agree with."""

from collections.abc import Iterator
from typing import Final, final

import torch

from transmeta.core.protocols import Search
from transmeta.core.trial import TrialResult, TrialSpec, Verdict
from transmeta.trials.environment import Environment
from transmeta.trials.run import THREADS, TrialRun

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
                result = self._run(spec, search)
                search.tell(result)
                yield result

    def _run(self, spec: TrialSpec, search: Search) -> TrialResult:
        run = TrialRun(spec, environment=self._environment)
        while True:
            step = run.advance()
            if isinstance(step, TrialResult):
                return step
            if search.report(spec.id, step) is Verdict.STOP:
                return run.stop(reason=STOPPED_BY_SEARCH)
