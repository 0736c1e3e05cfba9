"""One small cluster of our own for all tests that can share it."""

import os
import time
from collections.abc import Iterator

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, which reads it once

CPUS = 2
IDLE_S = 20.0


@pytest.fixture(scope="session")
def session() -> Iterator[None]:
    """A session with two CPUs, beside any other cluster on this machine."""
    from transmeta.execution.ray.session import session

    with session(address="local", cpus=CPUS):
        yield


@pytest.fixture
def two_cpus(session: None) -> Iterator[None]:
    """The session; afterwards all that the test took of it must be free again."""
    import ray
    from ray.util import placement_group_table

    yield
    deadline_s = time.monotonic() + IDLE_S
    while time.monotonic() < deadline_s:
        states = {group["state"] for group in placement_group_table().values()}
        cpus = ray.available_resources().get("CPU")
        if states <= {"REMOVED"} and cpus == CPUS:
            return
        time.sleep(0.1)
    pytest.fail(f"not given back within {IDLE_S:g} s: placement groups {states}, {cpus} of {CPUS} CPUs free")
