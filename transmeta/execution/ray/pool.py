"""Runs a search on resident workers: processes that have all loaded and take one unit after another."""

import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Final, Protocol, Self, final

from transmeta.execution.ray import session  # noqa: F401  # sets Ray's environment before Ray is imported

# isort: split
from transmeta.core import codec
from transmeta.core.protocols import Search
from transmeta.core.trial import Measurement, TrialId, TrialResult, TrialSpec, Verdict
from transmeta.execution.dispatch import Assignment, Dispatch
from transmeta.execution.ray.crew import Crew, Reply
from transmeta.execution.ray.resources import Resources, can_share_trial, slots
from transmeta.execution.ray.worker import Errand, Stops
from transmeta.execution.watch import Judge
from transmeta.trials.environment import Environment
from transmeta.trials.planning import OneByOne, Planner
from transmeta.trials.unit import MemberMeasurement, UnitStep

DEPTH: Final = 2
"""Units that a worker holds: one that runs, and one to turn to while the driver thinks about the first."""
OPENER: Final = "transmeta.trials.opening:open_unit"


class Divider(Protocol):
    """What runs one trial on several workers, such as `TrainExecutor`."""

    def run(self, spec: TrialSpec, judge: Judge, *, workers: int) -> TrialResult:
        """Returns the result of the trial, whose measurements `judge` hears."""
        ...


@final
class PoolExecutor:
    """Runs trials on resident workers of the session that is open, each with its resources reserved.

    The workers start with the first trial and stay for the next search, until `close`. While they are there nobody
    else gets what they hold: close the pool before a training by Ray Train, or a run of Ray Tune, in the same cluster
    wants it, or it waits forever. A pool that was closed starts new workers when it is used again.

    Args:
        environment: where models are found and results are kept.
        resources: what each worker takes.
        workers: how many; None for as many as the cluster can run. There are never more than it has free.
        planner: makes units of trials.
        opener: import path of what opens units in a worker.
        crew: workers that others use as well, with their own resources and opener, and whose owner closes them; None to
            start some of its own.
        divider: opens what runs a trial on all workers of a node, for plans that want it; None for none.
    """

    name = "pool"

    def __init__(
        self,
        *,
        environment: Environment,
        resources: Resources | None = None,
        workers: int | None = None,
        planner: Planner | None = None,
        opener: str = OPENER,
        crew: Crew | None = None,
        divider: Callable[[], Divider] | None = None,
    ) -> None:
        self._environment = environment
        self._resources = resources or Resources()
        self._workers = workers
        self._planner = planner or OneByOne()
        self._is_owner = crew is None
        self._divider = divider
        self._crew = crew or Crew(resources=self._resources, opener=opener)
        self._is_driving = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers and gives back what they hold, unless they are somebody else's."""
        if self._is_owner:
            self._crew.close()

    @property
    def pids(self) -> Sequence[int]:
        """The processes that are ready to take units."""
        return sorted(worker.pid for worker in self._crew.ready if worker.pid is not None)

    def drive(self, search: Search) -> Iterator[TrialResult]:
        """Yields the result of each trial of `search`, in order of completion.

        Results that come together are all told before the first of them is yielded. A trial whose worker fails starts
        over on another, twice; if it fails that as well, its result is CRASHED, with a reason that begins with
        `quarantined`. Whoever stops iterating has the workers back within seconds.

        Raises:
            InfeasibleError: at once, if the cluster can't run the workers.
            InputError, UnsafeFileError: if a trial cannot be run as it is specified; it is not told.
            UnavailableError: if no worker can be placed, or none can start.
        """
        assert not self._is_driving, "a pool drives one search at a time"
        workers = slots(self._resources) if self._workers is None else self._workers
        slots(self._resources, workers=workers)
        self._is_driving = True
        try:
            yield from self._drive(search, workers=workers)
        finally:
            self._is_driving = False
            self._crew.put_down()

    def _drive(self, search: Search, *, workers: int) -> Iterator[TrialResult]:
        divides = self._divider is not None and self._is_owner and can_share_trial(self._resources)
        dispatch = Dispatch(search, planner=self._planner, workers=workers, divides=divides)
        rungs = tuple(search.rungs)
        has_gathered = False
        ended: list[TrialResult] = []
        while True:
            dispatch.replenish()
            if (divided := dispatch.take_divided()) is not None:
                yield from ended
                ended = [*self._divide(divided, dispatch, workers=workers)]
                has_gathered = False
                continue
            if dispatch.has_waiting and not has_gathered:
                self._crew.gather(workers)
                has_gathered = True
            self._place(dispatch, rungs)
            yield from ended  # the workers are at it again while the caller has the results
            if dispatch.is_over:
                return
            assert self._crew.is_busy, "the pool was closed while it drove a search"
            replies = self._crew.wait()
            ended = [result for reply in replies for result in self._take(reply, dispatch)]
            for reply in replies:
                if reply.answer is not None and reply.answer.refusal is not None:
                    yield from ended
                    raise reply.answer.refusal.as_error()

    def _divide(self, assignment: Assignment, dispatch: Dispatch, *, workers: int) -> Sequence[TrialResult]:
        """Runs a trial on all workers together, for which the resident ones make room; returns its result, as told."""
        assert self._divider is not None, "no unit is divided without"
        self._crew.close()
        start_s = time.monotonic()
        (spec,) = assignment.unit.members
        result = self._divider().run(spec, _Listener(assignment, dispatch), workers=workers)
        busy_s = time.monotonic() - start_s
        results, _ = dispatch.absorb(assignment, UnitStep(results=(result,)), is_done=True, busy_s=busy_s)
        return results

    def _place(self, dispatch: Dispatch, rungs: tuple[float, ...]) -> None:
        """Hands out units, the first to workers that have none."""
        for depth in range(DEPTH):
            for worker in self._crew.ready:
                if len(worker.held) != depth:
                    continue
                assignment = dispatch.take(beside=tuple(worker.held.values()))
                if assignment is not None:
                    errand = Errand(unit=assignment.unit, environment=self._environment, rungs=rungs)
                    self._crew.start(worker, assignment, errand=codec.dumps(errand))

    def _take(self, reply: Reply, dispatch: Dispatch) -> Sequence[TrialResult]:
        """Passes on what came back, and lets a unit that is not done go on; returns the results, which were told."""
        if reply.answer is None:
            if reply.is_blameless:
                dispatch.put_back(reply.assignment)
                return ()
            return dispatch.lose(reply.assignment, reason=reply.failure)
        answer = reply.answer
        if answer.refusal is not None:
            return ()
        step = answer.as_step(reply.assignment.running)
        results, stops = dispatch.absorb(reply.assignment, step, is_done=answer.is_done, busy_s=answer.busy_s)
        if not answer.is_done:
            self._crew.go_on(reply, stops=codec.dumps(Stops(trials=tuple(stops))))
        return results


@final
class _Listener:
    """Hears the measurements of one trial for the search behind a dispatch."""

    def __init__(self, assignment: Assignment, dispatch: Dispatch) -> None:
        self._assignment = assignment
        self._dispatch = dispatch

    def report(self, trial: TrialId, measurement: Measurement) -> Verdict:
        return self._dispatch.show(self._assignment, MemberMeasurement(trial=trial, measurement=measurement))
