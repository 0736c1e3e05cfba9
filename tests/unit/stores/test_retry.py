import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from transmeta.stores.retry import LONGEST_DELAY_S, retried


class Clock:
    """Time that passes only in sleep."""

    def __init__(self):
        self.now = 0.0
        self.delays = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.delays.append(seconds)
        self.now += seconds


class Work:
    def __init__(self, faults):
        self.faults = faults
        self.starts = 0

    def __call__(self):
        self.starts += 1
        if self.starts <= self.faults:
            raise OperationalError("SELECT 1", {}, sqlite3.OperationalError("busy"))
        return "done"


def test_work_is_started_again_until_its_fault_has_passed():
    clock, work = Clock(), Work(faults=3)

    done = retried(work, is_passing=lambda error: True, patience_s=60, clock=clock, sleep=clock.sleep)

    assert done == "done"
    assert work.starts == 4


def test_delays_grow_to_a_limit_and_differ_between_processes():
    first, second = Clock(), Clock()
    for clock in (first, second):
        retried(Work(faults=12), is_passing=lambda error: True, patience_s=60, clock=clock, sleep=clock.sleep)

    assert first.delays != second.delays
    assert max(first.delays) <= 1.5 * LONGEST_DELAY_S
    assert min(first.delays[8:]) > max(first.delays[:3])


def test_patience_is_a_limit():
    clock, work = Clock(), Work(faults=1000)

    with pytest.raises(OperationalError):
        retried(work, is_passing=lambda error: True, patience_s=10, clock=clock, sleep=clock.sleep)

    assert 5 < clock.now <= 10


def test_a_fault_that_does_not_pass_is_raised_at_once():
    clock, work = Clock(), Work(faults=1)

    with pytest.raises(OperationalError):
        retried(work, is_passing=lambda error: False, patience_s=10, clock=clock, sleep=clock.sleep)

    assert work.starts == 1
    assert clock.delays == []
