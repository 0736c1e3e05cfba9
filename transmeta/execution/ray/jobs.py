"""Jobs on a cluster: submitted once however often they are asked for, followed, stopped."""

import dataclasses
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, final

from transmeta.core import codec
from transmeta.errors import ConflictError, InputError, UnavailableError
from transmeta.execution.ray.job_client import JobClient, JobRequest, JobState, JobStatus
from transmeta.execution.ray.job_log import follow_log
from transmeta.execution.ray.resources import Resources
from transmeta.execution.ray.shipment import shipment

MARK: Final = {"submitted_by": "transmeta"}
"""The metadata by which our jobs are known among others."""
ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
ON_HEAD: Final = Resources(cpus=0.0)
"""The command itself waits for its trials, so it takes no CPU from them."""
STOP_S: Final = 20.0
LOST_REPLY_S: Final = 1.0


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What came of a submission.

    Attributes:
        known: the job as it was found, if it had been submitted before; None if it is new.
    """

    id: str
    known: JobState | None

    @property
    def is_new(self) -> bool:
        """Whether this submission started the job."""
        return self.known is None


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobOutcome:
    """How a job ended.

    Attributes:
        exit_code: of its command; 128 + n if signal n ended it, 1 if it failed before, 130 if it was stopped.
        message: the cluster's own words.
    """

    id: str
    status: JobStatus
    exit_code: int
    message: str


def submit(
    command: Sequence[str],
    *,
    address: str,
    working_dir: Path | None = None,
    wheel: Path | None = None,
    resources: Resources = ON_HEAD,
    submission_id: str | None = None,
    metadata: Mapping[str, str] | None = None,
    again: bool = False,
) -> Submission:
    """Starts `command` on the cluster, unless the cluster knows it already; returns either job, without waiting.

    The id is the digest of the command and of the content of what is shipped. A job that has ended is known too,
    however it ended. With `again` a counter is added to the id, so that it runs anew.

    Args:
        command: words, such as `python -m transmeta adapt ...`; runs on a node of the cluster, in another directory.
        address: as `JobClient.connect` takes it.
        working_dir: becomes the directory that the job runs in.
        wheel: of pure Python; goes before what is installed on the nodes.
        resources: of the command itself, beside what it asks of the cluster; by default none, on the head node.
        submission_id: in place of the digest.
        metadata: kept with the job; no secrets, everybody on the cluster can read it.

    Raises:
        InputError: if command, id, folder or wheel cannot be used.
        ConflictError: if it shall run again while it still runs.
        UnavailableError: if the cluster is out of reach.
    """
    if not command:
        raise InputError("command: it is empty; give what shall run")
    with shipment(working_dir=working_dir, wheel=wheel) as shipped:
        base = _checked(submission_id or job_id(command, digests=shipped.digests))
        client = JobClient.connect(address)
        known = _latest(client.states(), base=base)
        if known is not None and not again:
            return Submission(id=known[1].id, known=known[1])
        if known is not None and not known[1].status.is_final:
            raise ConflictError(
                f"job {known[1].id} is {known[1].status}; follow it by leaving --again out, or end it first with "
                f"`transmeta stop {known[1].id}`"
            )
        request = JobRequest(
            id=base if known is None else f"{base}-{known[0] + 1}",
            command=tuple(command),
            runtime_env=shipped.runtime_env,
            cpus=resources.cpus,
            gpus=resources.gpus,
            metadata={**(metadata or {}), **MARK},
        )
        if _start(client, request):
            return Submission(id=request.id, known=None)
        return Submission(id=request.id, known=client.state(request.id))


def job_id(command: Sequence[str], *, digests: Mapping[str, str]) -> str:
    """Returns the id of the job that runs `command` with what `digests` stand for."""
    return f"transmeta-{codec.digest({'command': list(command), 'shipped': dict(digests)})}"


def follow(job: str, *, address: str, write: Callable[[str], None]) -> JobOutcome:
    """Writes the job's log from its beginning until it has ended; returns how it ended.

    Args:
        write: gets pieces of text with their line ends, each once.

    Raises:
        UnknownNameError: if there is no such job.
        UnavailableError: if the cluster is out of reach; the job itself may go on.
    """
    state = follow_log(JobClient.connect(address), _checked(job), write=write)
    assert state.exit_code is not None, "a job that has ended has an exit code"
    return JobOutcome(id=state.id, status=state.status, exit_code=state.exit_code, message=state.message)


def status(job: str, *, address: str) -> JobState:
    """Returns what the cluster knows of the job.

    Raises:
        UnknownNameError: if there is no such job.
    """
    return JobClient.connect(address).state(_checked(job))


def stop(job: str, *, address: str) -> JobState:
    """Ends the job, by SIGTERM and after Ray's grace by SIGKILL; returns how it ended. One that has ended stays so.

    Raises:
        UnknownNameError: if there is no such job.
        UnavailableError: if it has not ended within `STOP_S` seconds.
    """
    client = JobClient.connect(address)
    state = client.state(_checked(job))
    if state.status.is_final:
        return state
    client.stop(job)
    deadline_s = time.monotonic() + STOP_S
    while not (state := client.state(job)).status.is_final:
        if time.monotonic() > deadline_s:
            raise UnavailableError(f"job {job} is still {state.status} after {STOP_S:g} s; ask for its status later")
        time.sleep(0.2)
    return state


def list_jobs(*, address: str) -> tuple[JobState, ...]:
    """Returns the jobs that transmeta submitted to this cluster, in the order of their start."""
    return tuple(state for state in JobClient.connect(address).states() if MARK.items() <= state.metadata.items())


def _start(client: JobClient, request: JobRequest) -> bool:
    """Returns whether this call started the job; a reply that was lost is looked up before asking again."""
    try:
        return client.start(request)
    except UnavailableError:
        time.sleep(LOST_REPLY_S)
        if any(state.id == request.id for state in client.states()):
            return True
        return client.start(request)


def _latest(states: Sequence[JobState], *, base: str) -> tuple[int, JobState] | None:
    """Returns the last of the jobs `base`, `base-2`, `base-3`, ... with its number."""
    numbered = {}
    for state in states:
        suffix = re.fullmatch(re.escape(base) + r"(?:-([1-9]\d*))?", state.id)
        if suffix:
            numbered[int(suffix[1] or 1)] = state
    return max(numbered.items(), key=lambda item: item[0]) if numbered else None


def _checked(job: str) -> str:
    if not ID.fullmatch(job):
        raise InputError(f"job id {job!r}: give up to 64 letters, digits, dots, dashes and underscores")
    return job
