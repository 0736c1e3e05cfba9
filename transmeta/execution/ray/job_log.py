"""Follows the log of a job over lost connections, each character once."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, final

import aiohttp

from transmeta.errors import UnavailableError
from transmeta.execution.ray.job_client import JobClient, JobState

SILENCE_S: Final = 15.0
"""After so long without a line, the cluster is asked whether it is still there."""
PATIENCE_S: Final = 30.0
"""A cluster that is out of reach for longer is given up."""
PAUSE_S: Final = 1.0
LAST_TRIES: Final = 2
"""How often the log of a job that has ended is asked for again, if it broke off."""


def follow_log(client: JobClient, job_id: str, *, write: Callable[[str], None]) -> JobState:
    """Writes the job's log from its beginning until the job has ended; returns how it ended.

    Raises:
        UnknownNameError: if there is no such job.
        UnavailableError: if the cluster is out of reach for longer than `PATIENCE_S`.
    """
    client.state(job_id)
    return asyncio.run(_follow(client, job_id, _Once(write)))


@final
class _Once:
    """Passes on what was not passed on before, where a log starts over with each connection."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._written = 0
        self._seen = 0

    def restart(self) -> None:
        self._seen = 0

    def __call__(self, text: str) -> None:
        fresh = text[max(0, self._written - self._seen) :]
        self._seen += len(text)
        self._written = max(self._written, self._seen)
        if fresh:
            self._write(fresh)


async def _follow(client: JobClient, job_id: str, write: _Once) -> JobState:
    lost_s: float | None = None
    tries = 0
    while True:
        write.restart()
        is_complete = False
        # A connection that breaks is no answer; whether the job has ended is asked next.
        with suppress(RuntimeError, OSError, aiohttp.ClientError, UnavailableError):
            is_complete = await _stream(client, job_id, write)
        try:
            state = await asyncio.to_thread(client.state, job_id)
            lost_s = None
        except UnavailableError as error:
            lost_s = lost_s or time.monotonic()
            if time.monotonic() - lost_s > PATIENCE_S:
                raise UnavailableError(
                    f"lost the cluster while following {job_id}, which may still run ({error}); "
                    "run the same command again to follow it"
                ) from error
        else:
            tries += state.status.is_final
            if state.status.is_final and (is_complete or tries > LAST_TRIES):
                return state
        await asyncio.sleep(PAUSE_S)


async def _stream(client: JobClient, job_id: str, write: _Once) -> bool:
    """Passes on one connection's log; returns whether it came to its end."""
    stream = client.tail(job_id)
    pending = None
    try:
        while True:
            pending = asyncio.ensure_future(anext(stream, None))
            while not (await asyncio.wait({pending}, timeout=SILENCE_S))[0]:
                state = await asyncio.to_thread(client.state, job_id)
                if state.status.is_final:
                    return False  # the connection is dead, or it would have said so
            text = pending.result()
            if text is None:
                return True
            write(text)
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)
        await stream.aclose()
