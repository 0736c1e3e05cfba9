"""One writing process per file, by an advisory lock that vanishes with its process."""

import fcntl
import os
import socket
from pathlib import Path
from typing import Final, final

from transmeta.errors import ConflictError, UnavailableError

_SHARED: Final[dict[Path, "_Held"]] = {}
"""What this process holds. POSIX locks belong to the process, and closing any handle of the file drops them, so all
stores of one process on one file must share one handle."""


@final
class _Held:
    """A locked handle, shared by the stores of process `pid`."""

    def __init__(self, handle: int, *, pid: int) -> None:
        self.handle = handle
        self.pid = pid
        self.users = 1


@final
class WriterLock:
    """The right to write a file, held by at most one process at a time.

    The lock is on a file beside it, which stays: removing it would let two processes lock two files of one name. A
    forked child does not inherit the right.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}.lock")
        self._pid: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process may write, through this object."""
        return self._pid == os.getpid()

    def acquire(self) -> None:
        """Takes the right to write, and makes the folder of the file; harmless if it is already held.

        Raises:
            ConflictError: if another process holds it, with its process id.
            UnavailableError: if the folder cannot be written.
        """
        if self.is_held:
            return
        path = self._path.resolve()
        held = _SHARED.get(path)
        if held is not None and held.pid == os.getpid():
            held.users += 1
        else:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                handle = self._locked_handle()
            except OSError as error:
                file = self._path.with_name(self._path.name.removesuffix(".lock"))
                raise UnavailableError(
                    f"{file} cannot be written ({error.strerror}); check the folder and its rights"
                ) from error
            _SHARED[path] = _Held(handle, pid=os.getpid())
        self._pid = os.getpid()

    def release(self) -> None:
        """Gives the right back; harmless if it is not held."""
        if not self.is_held:
            return
        self._pid = None
        path = self._path.resolve()
        held = _SHARED[path]
        held.users -= 1
        if held.users == 0:
            del _SHARED[path]
            os.close(held.handle)

    def _locked_handle(self) -> int:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except OSError as error:
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            if not isinstance(error, BlockingIOError | PermissionError):
                raise
            file = self._path.name.removesuffix(".lock")
            raise ConflictError(
                f"{file} is being written by another process (pid {holder}); wait for it to end, or give another store"
            ) from error
        return handle
