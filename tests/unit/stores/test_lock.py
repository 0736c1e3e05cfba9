import fcntl
import os
import subprocess
import sys

import pytest

from transmeta.errors import ConflictError
from transmeta.stores.lock import WriterLock

HOLDING = """
import sys
from pathlib import Path
from transmeta.stores.lock import WriterLock
WriterLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    command = [sys.executable, "-c", HOLDING, str(tmp_path / "x.db")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def is_free(path):
    """Asks from another process: a process never conflicts with its own locks."""
    child = os.fork()
    if child == 0:
        with path.open("r+b") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os._exit(1)
            os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def test_another_process_is_refused_with_the_holders_process_id(tmp_path, holder):
    with pytest.raises(ConflictError, match=rf"x\.db is being written by another process \(pid {holder.pid} on "):
        WriterLock(tmp_path / "x.db").acquire()


def test_the_lock_vanishes_with_a_killed_process(tmp_path, holder):
    lock = WriterLock(tmp_path / "x.db")
    holder.kill()
    holder.wait()

    lock.acquire()

    assert lock.is_held
    lock.release()


def test_the_last_user_in_a_process_gives_the_lock_back(tmp_path):
    first, second = WriterLock(tmp_path / "x.db"), WriterLock(tmp_path / "x.db")
    first.acquire()
    first.acquire()
    second.acquire()

    first.release()
    first.release()
    assert not first.is_held
    assert not is_free(tmp_path / "x.db.lock")

    second.release()
    assert is_free(tmp_path / "x.db.lock")


def test_a_forked_child_holds_nothing(tmp_path):
    lock = WriterLock(tmp_path / "x.db")
    lock.acquire()

    child = os.fork()
    if child == 0:
        try:
            inherited = lock.is_held
            lock.release()
            WriterLock(tmp_path / "x.db").acquire()
        except ConflictError:
            os._exit(2 if inherited else 0)
        os._exit(1)

    assert os.waitpid(child, 0)[1] == 0
    assert not is_free(tmp_path / "x.db.lock")
    lock.release()
