"""A log over connections that break, from a cluster that is made up."""

from collections.abc import AsyncGenerator

import pytest

from transmeta.errors import UnavailableError
from transmeta.execution.ray import job_log
from transmeta.execution.ray.job_client import JobState, JobStatus
from transmeta.execution.ray.job_log import follow_log


def state(status):
    code = 0 if status.is_final else None
    return JobState(
        id="a", status=status, command="", exit_code=code, message="", started_at=None, ended_at=None, metadata={}
    )


class FakeClient:
    """Each connection gives its pieces of the log, from the beginning, and breaks off where they hold an error."""

    def __init__(self, *connections, states):
        self.connections = list(connections)
        self.states = list(states)

    def state(self, job_id):
        answer = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(answer, Exception):
            raise answer
        return state(answer)

    async def tail(self, job_id) -> AsyncGenerator[str, None]:
        for piece in self.connections.pop(0):
            if isinstance(piece, Exception):
                raise piece
            yield piece


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(job_log, "PAUSE_S", 0.0)


def follow(client):
    written = []
    return follow_log(client, "a", write=written.append), "".join(written)


def test_each_character_is_written_once_however_the_pieces_fall_after_a_break():
    broken = RuntimeError("connection closed")
    client = FakeClient(
        ["one\ntw", broken],
        ["one\n", "two\nth", broken],
        ["o", "ne\ntwo\nthree\n"],
        states=[JobStatus.RUNNING, JobStatus.RUNNING, JobStatus.RUNNING, JobStatus.SUCCEEDED],
    )

    outcome, text = follow(client)

    assert text == "one\ntwo\nthree\n"
    assert outcome.exit_code == 0


def test_the_log_of_a_job_that_ended_is_asked_for_again_if_it_broke_off_but_not_for_ever():
    broken = RuntimeError("its node is gone")
    client = FakeClient(*[["one\n", broken]] * 5, states=[JobStatus.RUNNING, JobStatus.SUCCEEDED])

    outcome, text = follow(client)

    assert (outcome.status, text) == (JobStatus.SUCCEEDED, "one\n")
    assert len(client.connections) == 2


def test_a_cluster_that_comes_back_in_time_is_followed_on():
    broken = RuntimeError("connection closed")
    away = UnavailableError("no answer")
    client = FakeClient(
        ["one\n", broken],
        [broken],
        ["one\ntwo\n"],
        states=[JobStatus.RUNNING, away, away, JobStatus.SUCCEEDED],
    )

    assert follow(client)[1] == "one\ntwo\n"


def test_a_cluster_that_stays_away_is_given_up(monkeypatch):
    monkeypatch.setattr(job_log, "PATIENCE_S", 0.0)
    client = FakeClient(*[[RuntimeError("closed")]] * 9, states=[JobStatus.RUNNING, UnavailableError("no answer")])

    with pytest.raises(UnavailableError, match="may still run"):
        follow(client)


def test_a_connection_that_fell_silent_when_its_job_ended_is_replaced(monkeypatch):
    monkeypatch.setattr(job_log, "SILENCE_S", 0.05)

    class Silent(FakeClient):
        async def tail(self, job_id):
            for piece in self.connections.pop(0):
                if piece is None:
                    import asyncio

                    await asyncio.sleep(60)
                yield piece

    client = Silent(["one\n", None], ["one\ntwo\n"], states=[JobStatus.RUNNING, JobStatus.SUCCEEDED])

    assert follow(client)[1] == "one\ntwo\n"
