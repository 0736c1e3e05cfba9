"""Ray's job client with typed values, with limits on how long it may take, and with errors that say what to do."""

import dataclasses
import datetime
import logging
import os
import shlex
import socket
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final, Self, TypeVar, cast, final

from transmeta.errors import ConflictError, InputError, TransmetaError, UnavailableError, UnknownNameError

T = TypeVar("T")

AUTH_MODE: Final = "RAY_AUTH_MODE"
TOKEN: Final = "RAY_AUTH_TOKEN"
TOKEN_PATH: Final = "RAY_AUTH_TOKEN_PATH"
ADDRESS_OVERRIDES: Final = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Ray lets these two override an address that was given; here the address that was given counts."""
ANSWER_S: Final = 10.0
"""A dashboard that has not answered by then counts as out of reach."""
UPLOAD_S: Final = 600.0
SIGNALLED: Final = 128
STOPPED_CODE: Final = 130


def default_token_path() -> Path:
    """Returns where Ray keeps the token when nothing else is said."""
    return Path.home() / ".ray" / "auth_token"


def prepare_authentication() -> None:
    """Turns token authentication on where a token is in place and the user has not decided.

    Ray itself does this when it starts or joins a cluster, but not for its job client.
    """
    if any(os.environ.get(name) for name in (TOKEN, TOKEN_PATH)) or default_token_path().is_file():
        os.environ.setdefault(AUTH_MODE, "token")
        if "ray" in sys.modules:  # it has read its settings already, and would start clusters that it can't talk to
            from ray._raylet import Config  # type: ignore[attr-defined]

            Config.initialize("")


prepare_authentication()  # before the imports below: Ray reads it at its own import

from transmeta.execution.ray import session  # noqa: E402, F401  # sets the rest of Ray's environment

# isort: split
from ray.exceptions import AuthenticationError, RayError  # noqa: E402
from ray.job_submission import JobDetails, JobSubmissionClient  # noqa: E402

for name in ("ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk"):
    logging.getLogger(name).setLevel(logging.WARNING)  # they tell of each connection and upload


class JobStatus(StrEnum):
    """How far a job is, in Ray's words."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self not in (JobStatus.PENDING, JobStatus.RUNNING)


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """What the cluster knows of a job.

    Attributes:
        command: as a shell would read it.
        exit_code: of the job's command, 128 + n if signal n ended it; None while it goes on. A job that failed before
            its command could end has 1, one that was stopped 130.
        message: the cluster's own words on the status.
        started_at, ended_at: ISO 8601, UTC; None before.
    """

    id: str
    status: JobStatus
    command: str
    exit_code: int | None
    message: str
    started_at: str | None
    ended_at: str | None
    metadata: Mapping[str, str]


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What the cluster is asked to run.

    Attributes:
        command: words; no shell sees them unquoted.
        runtime_env: what is shipped with it, in Ray's form.
        cpus, gpus: reserved for the command itself, beside what it asks of the cluster; 0 runs it on the head node.
    """

    id: str
    command: tuple[str, ...]
    runtime_env: Mapping[str, str | list[str]]
    cpus: float
    gpus: float
    metadata: Mapping[str, str]


@final
class JobClient:
    """A connection to the dashboard of one cluster."""

    def __init__(self, client: JobSubmissionClient, *, address: str) -> None:
        self._client = client
        self._address = address

    @classmethod
    def connect(cls, address: str) -> Self:
        """Returns a client of the cluster at `address`.

        Args:
            address: `http://HOST:PORT` (or https) is the dashboard itself. `HOST:PORT` is the cluster's own address,
                as nodes join it, and `auto` is the cluster that runs on this machine: both are asked where their
                dashboard is.

        Raises:
            InputError: if it is none of these.
            UnavailableError: if nothing answers there, or if it wants another token.
        """
        _check_address(address)
        _check_token()
        with _addressed(), _explained(address):
            client = _within(lambda: JobSubmissionClient(address.rstrip("/")), seconds=ANSWER_S)
            return cls(client, address=address)

    def state(self, job_id: str) -> JobState:
        """Returns what the cluster knows of the job.

        Raises:
            UnknownNameError: if there is no such job.
            UnavailableError: if the cluster is out of reach.
        """
        try:
            return _state(self._ask(lambda: self._client.get_job_info(job_id)))
        except _NotFoundError:
            known = [state.id for state in self.states()]
            raise UnknownNameError("job", name=job_id, known=known) from None

    def states(self) -> tuple[JobState, ...]:
        """Returns all jobs that were submitted to this cluster, in the order of their start."""
        details = self._ask(self._client.list_jobs)
        states = [_state(detail) for detail in details if detail.submission_id]
        return tuple(sorted(states, key=lambda state: (state.started_at or "", state.id)))

    def start(self, request: JobRequest) -> bool:
        """Starts the job; returns False if there is one of this id, which then goes on as it is.

        Raises:
            InputError: if the cluster refuses the request.
            UnavailableError: if it is out of reach; the job may have been started all the same.
        """

        def submit() -> str:
            return self._client.submit_job(
                entrypoint=shlex.join(request.command),
                submission_id=request.id,
                runtime_env=dict(request.runtime_env),
                metadata=dict(request.metadata),
                entrypoint_num_cpus=request.cpus,
                entrypoint_num_gpus=request.gpus,
            )

        try:
            self._ask(submit, seconds=UPLOAD_S)
        except _ExistsError:
            return False
        return True

    def stop(self, job_id: str) -> None:
        """Asks the job to end; returns before it has."""
        self._ask(lambda: self._client.stop_job(job_id))

    async def tail(self, job_id: str) -> AsyncGenerator[str, None]:
        """Yields the job's log from its beginning, as it grows, until the job has ended."""
        async for text in self._client.tail_job_logs(job_id):
            yield text

    def _ask(self, call: Callable[[], T], *, seconds: float = ANSWER_S) -> T:
        with _explained(self._address):
            return _within(call, seconds=seconds)


@final
class _NotFoundError(UnavailableError):
    """The cluster has no such job."""


@final
class _ExistsError(ConflictError):
    """The cluster has a job of this id."""


def _check_address(address: str) -> None:
    scheme, mark, _ = address.partition("://")
    if mark and scheme in ("http", "https"):
        return
    host, colon, port = address.rpartition(":")
    if address != "auto" and (mark or not colon or not port.isdecimal()):
        raise InputError(
            f"address {address!r}: give the dashboard (http://HOST:8265), the cluster (HOST:6379) or auto for the "
            "cluster of this machine"
        )
    if address == "auto":
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
    except (OSError, OverflowError) as error:  # checked here because Ray waits 40 s for a cluster that is not there
        raise UnavailableError(_out_of_reach(address, error)) from error


def _check_token() -> None:
    """Refuses a token file that cannot be read, for which Ray would end this process."""
    path = os.environ.get(TOKEN_PATH)
    if os.environ.get(TOKEN) or not path:
        return
    try:
        token = Path(path).read_text().strip()
    except OSError as error:
        raise UnavailableError(f"{TOKEN_PATH} is {path}, which cannot be read ({error}); correct it") from error
    if not token:
        raise UnavailableError(f"{TOKEN_PATH} is {path}, which is empty; write the cluster's token into it")


@contextmanager
def _addressed() -> Iterator[None]:
    hidden = {name: os.environ.pop(name) for name in ADDRESS_OVERRIDES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Turns Ray's and the network's errors into ours."""
    try:
        yield
    except TransmetaError:
        raise
    except AuthenticationError as error:
        raise UnavailableError(_unauthorised(address, error)) from error
    except (OSError, RayError) as error:  # those of the HTTP client are OSErrors, and so are time-outs
        raise UnavailableError(_out_of_reach(address, error)) from error
    except (RuntimeError, ValueError) as error:  # what the server answered
        raise _refusal(error, address=address) from error


def _refusal(error: RuntimeError | ValueError, *, address: str) -> TransmetaError:
    text = str(error)
    if "already exists" in text:
        return _ExistsError(text)
    if "status code 404" in text:
        return _NotFoundError(text)
    last = text.strip().rstrip(".").splitlines()[-1] if text.strip() else type(error).__name__
    if isinstance(error, ValueError) or "status code 4" in text:
        return InputError(f"the cluster at {address} refused the job: {last}")
    return UnavailableError(f"the cluster at {address} could not answer: {last}; run the same command again")


def _unauthorised(address: str, error: AuthenticationError) -> str:
    mode = os.environ.get(AUTH_MODE, "not set")
    reason = str(error).splitlines()[0].rstrip(".")
    return (
        f"the cluster at {address} wants a token ({reason}); {AUTH_MODE} is {mode}. Put the cluster's token into "
        f"{default_token_path()} (mode 0600), or name its file in {TOKEN_PATH}, and export {AUTH_MODE}=token"
    )


def _out_of_reach(address: str, error: BaseException) -> str:
    reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
    return (
        f"no Ray dashboard answers for {address} ({reason}); start a cluster as in cluster/README.md, or, if its "
        "dashboard listens on the head node only, open a tunnel (ssh -L 8265:127.0.0.1:8265 HEAD) and give "
        "http://127.0.0.1:8265"
    )


def _within(call: Callable[[], T], *, seconds: float) -> T:
    """Returns what `call` returns; Ray's client has no time limit of its own."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            future.set_exception(error)

    threading.Thread(target=run, name="ray-jobs", daemon=True).start()
    try:
        return future.result(timeout=seconds)
    except TimeoutError as error:
        raise UnavailableError(f"no answer within {seconds:g} s; run the same command again") from error


def _state(details: JobDetails) -> JobState:
    status = JobStatus(details.status.value)
    return JobState(
        id=cast(str, details.submission_id),
        status=status,
        command=details.entrypoint,
        exit_code=_exit_code(status, details.driver_exit_code),
        message=details.message or "",
        started_at=_iso(details.start_time),
        ended_at=_iso(details.end_time) if status.is_final else None,
        metadata=details.metadata or {},
    )


def _exit_code(status: JobStatus, driver: int | None) -> int | None:
    if not status.is_final:
        return None
    if status is JobStatus.SUCCEEDED:
        return 0
    if status is JobStatus.STOPPED:
        return STOPPED_CODE
    return (driver if driver > 0 else SIGNALLED - driver) if driver else 1


def _iso(milliseconds: int | None) -> str | None:
    if not milliseconds:
        return None
    return datetime.datetime.fromtimestamp(milliseconds / 1000, tz=datetime.UTC).isoformat(timespec="seconds")
