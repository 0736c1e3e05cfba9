"""The actors of a pool: placed, called, watched, replaced and given back."""

import dataclasses
import logging
import time
from collections.abc import Sequence
from typing import Final, cast, final

from transmeta.execution.ray import session  # sets Ray's environment before Ray is imported

# isort: split
import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util import placement_group_table

from transmeta.core import codec
from transmeta.errors import UnavailableError
from transmeta.execution.dispatch import Assignment
from transmeta.execution.ray.resources import Resources
from transmeta.execution.ray.worker import Answer, UnitWorker

START_S: Final = 90.0
"""How long a worker may take to be placed and to load what it needs."""
MAX_FAILED_STARTS: Final = 3
SETTLE_S: Final = 2.0
"""What somebody has just given back takes this long to show as free, at most."""
LEAVE_S: Final = 3.0
"""A worker that has not put its work down by then is killed."""
REASON_LENGTH: Final = 300
CLOSE_S: Final = 5.0
POLL_S: Final = 1.0
SILENCE_S: Final = 600.0
"""After so long without an answer a worker is named. It is not killed: a step of a large model may take as long."""

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of a call.

    Attributes:
        answer: None if the worker failed.
        failure: why.
        is_blameless: whether the worker was taken away, rather than failed.
    """

    assignment: Assignment
    worker: "Worker"
    answer: Answer | None = None
    failure: str = ""
    is_blameless: bool = False


@final
class Worker:
    """The driver's view of one actor.

    Attributes:
        held: the units that it has under way; of each, one call is outstanding.
        pid: of its process; None until it has greeted.
        heard_s: when it last answered, was greeted, or got work after it had none.
        is_reported: whether the user was told of its silence since then.
    """

    def __init__(self, actor: ActorHandle[UnitWorker]) -> None:
        self.actor = actor
        self.held: dict[int, Assignment] = {}
        self.pid: int | None = None
        self.hear()

    def hear(self) -> None:
        """Notes that it has answered, or may begin to."""
        self.heard_s = time.monotonic()
        self.is_reported = False

    @property
    def is_ready(self) -> bool:
        """Whether it has greeted since it was last greeted."""
        return self.pid is not None


@final
class Crew:
    """Actors with their resources reserved, from the first `gather` to `close`.

    Args:
        opener: import path of what opens units in a worker.
    """

    def __init__(self, *, resources: Resources, opener: str) -> None:
        self._resources = resources
        self._opener = opener
        self._workers: list[Worker] = []
        self._calls: dict[ObjectRef[str], tuple[Worker, int]] = {}
        self._greetings: dict[ObjectRef[int], Worker] = {}
        self._tickets = 0
        self._failed_starts = 0

    @property
    def ready(self) -> Sequence[Worker]:
        """The workers that can take units."""
        return [worker for worker in self._workers if worker.is_ready]

    @property
    def is_busy(self) -> bool:
        """Whether anything will answer."""
        return bool(self._calls or self._greetings)

    def gather(self, count: int) -> None:
        """Greets the workers that there are, and starts new ones up to `count`, or as many as the cluster has free.

        At least one is started, which then waits for its place.
        """
        self._failed_starts = 0
        for worker in self._workers:
            if worker.is_ready:
                self._greet(worker)
            worker.hear()
        missing = count - len(self._workers)
        if missing <= 0:
            return
        settle_s = 0.0 if self._workers else SETTLE_S
        free = _free(self._resources, wanted=missing, settle_s=settle_s)
        for _ in range(free if self._workers else max(free, 1)):
            self._start()

    def start(self, worker: Worker, assignment: Assignment, *, errand: str) -> None:
        """Hands a unit to a worker."""
        self._tickets += 1
        if not worker.held:
            worker.hear()
        worker.held[self._tickets] = assignment
        self._calls[worker.actor.run.remote(self._tickets, errand)] = (worker, self._tickets)

    def go_on(self, reply: Reply, *, stops: str) -> None:
        """Lets the worker of a unit that is not done run its next step."""
        worker = reply.worker
        ticket = next(ticket for ticket, held in worker.held.items() if held is reply.assignment)
        self._calls[worker.actor.go_on.remote(ticket, stops)] = (worker, ticket)

    def wait(self) -> Sequence[Reply]:
        """Returns what has come back, after waiting for something to; empty now and then.

        Workers that died are replaced.

        Raises:
            UnavailableError: if no worker can be placed, or none can start.
        """
        refs: list[ObjectRef[str] | ObjectRef[int]] = [*self._calls, *self._greetings]
        ready, _ = ray.wait(refs, num_returns=1, timeout=POLL_S)
        if ready and len(refs) > 1:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        replies = []
        for ref in ready:
            if ref in self._greetings:
                self._hear_greeting(ref)
            elif ref in self._calls:
                replies.append(self._hear(ref))
        if self._greetings:
            self._check_starts()
        self._check_silence()
        return replies

    def put_down(self) -> None:
        """Makes the workers drop what they hold; one that does not within `LEAVE_S` seconds is killed."""
        busy: dict[ObjectRef[int], Worker] = {
            worker.actor.forget.remote(): worker for worker in self._workers if worker.held
        }
        self._calls.clear()
        if not busy:
            return
        done, late = ray.wait([*busy], num_returns=len(busy), timeout=LEAVE_S)
        for ref in done:
            busy[ref].held.clear()
            try:
                ray.get(ref)
            except RayError:
                self._drop(busy[ref])
        for ref in late:
            self._drop(busy[ref])

    def close(self) -> None:
        """Ends all workers, and returns when they are gone and their resources on the way back."""
        workers, self._workers = self._workers, []
        self._calls.clear()
        self._greetings.clear()
        if not workers or not ray.is_initialized():
            return
        for worker in workers:
            ray.kill(worker.actor)
        # The answer to a call that comes after the kill is the news of the death.
        last: list[ObjectRef[int]] = [worker.actor.greet.remote() for worker in workers]
        ray.wait(last, num_returns=len(last), timeout=CLOSE_S)

    def _start(self) -> None:
        actor_class = ray.remote(UnitWorker).options(
            num_cpus=self._resources.cpus,
            num_gpus=self._resources.gpus,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": dict(session.WORKER_SETTINGS)},
        )
        worker = Worker(cast(ActorHandle[UnitWorker], actor_class.remote(opener=self._opener)))
        self._workers.append(worker)
        self._greet(worker)

    def _greet(self, worker: Worker) -> None:
        worker.pid = None
        worker.hear()
        self._greetings[worker.actor.greet.remote()] = worker

    def _hear_greeting(self, ref: ObjectRef[int]) -> None:
        worker = self._greetings.pop(ref)
        try:
            worker.pid = ray.get(ref)
            self._failed_starts = 0
        except RayError as error:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                raise UnavailableError(
                    f"workers cannot start, {MAX_FAILED_STARTS} in a row failed; see Ray's logs: {_last_line(error)}"
                ) from error
            self._replace(worker)

    def _hear(self, ref: ObjectRef[str]) -> Reply:
        worker, ticket = self._calls.pop(ref)
        assignment = worker.held[ticket]
        worker.hear()
        is_blameless = False
        try:
            answer = codec.loads(Answer, ray.get(ref))
        except RayTaskError as error:  # the unit raised: its worker goes on
            failure = _last_line(error)
        except RayError as error:
            is_blameless = isinstance(error, RayActorError) and error.preempted
            failure = _last_line(error)
            self._replace(worker)
        else:
            if answer.is_done:
                del worker.held[ticket]
            return Reply(assignment=assignment, worker=worker, answer=answer)
        del worker.held[ticket]
        return Reply(assignment=assignment, worker=worker, failure=failure, is_blameless=is_blameless)

    def _replace(self, worker: Worker) -> None:
        if worker in self._workers:
            self._drop(worker)
            self._start()

    def _drop(self, worker: Worker) -> None:
        self._workers.remove(worker)
        self._greetings = {ref: greeted for ref, greeted in self._greetings.items() if greeted is not worker}
        ray.kill(worker.actor)  # if it only was out of reach: what it still does must not count

    def _check_starts(self) -> None:
        now_s = time.monotonic()
        for worker in [worker for worker in self._greetings.values() if now_s - worker.heard_s > START_S]:
            self._drop(worker)
        if not self._workers:
            raise UnavailableError(
                f"no worker could be placed within {START_S:g} s: each takes {self._resources.cpus:g} CPU and "
                f"{self._resources.gpus:g} GPU, {_load()}; wait for them, close them, or ask for less"
            )

    def _check_silence(self) -> None:
        now_s = time.monotonic()
        for worker in self.ready:
            if worker.held and not worker.is_reported and now_s - worker.heard_s > SILENCE_S:
                worker.is_reported = True
                unit = next(iter(worker.held.values())).unit
                logger.warning(
                    "no word for %.0f s of trial %s%s in process %d; if it hangs, kill that process: what it held is "
                    "then run again",
                    now_s - worker.heard_s,
                    unit.members[0].id,
                    f" and {len(unit.members) - 1} beside it" if len(unit.members) > 1 else "",
                    worker.pid,
                )


def _free(resources: Resources, *, wanted: int, settle_s: float) -> int:
    """Returns how many workers the cluster has room for now, at most `wanted`, after up to `settle_s` seconds."""
    deadline_s = time.monotonic() + settle_s
    while True:
        free = ray.available_resources()  # type: ignore[no-untyped-call]  # Ray's
        needs = [(key, value) for key, value in resources.as_ray().items() if value > 0]
        room = min((int(free.get(key, 0.0) / value + 1e-9) for key, value in needs), default=wanted)
        if room >= wanted or time.monotonic() > deadline_s:
            return min(room, wanted)
        time.sleep(0.05)


def _load() -> str:
    """Returns what is free, and who is known to hold the rest."""
    free = ray.available_resources()  # type: ignore[no-untyped-call]  # Ray's
    total = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray's
    amounts = " and ".join(f"{free.get(key, 0.0):g} of {total.get(key, 0.0):g} {key}" for key in ("CPU", "GPU"))
    groups = [group for group in placement_group_table().values() if group["state"] == "CREATED"]
    held = sum(bundle.get("CPU", 0.0) for group in groups for bundle in group["bundles"].values())
    if groups:
        return f"free are {amounts}; {len(groups)} placement group(s) of Ray Tune or Train hold {held:g} CPU"
    return f"free are {amounts}; other actors or tasks hold the rest"


def _last_line(error: RayError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:REASON_LENGTH] if lines else type(error).__name__
