"""What is special about a store in a SQLite file: is it one, is it whole, and does it survive a power cut."""

import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sqlalchemy import URL

from transmeta.errors import ConfigError, ConflictError, UnavailableError, UnsafeFileError

MAGIC: Final = b"SQLite format 3\0"
NETWORK_KINDS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "lustre", "fuse.sshfs", "glusterfs"})
"""File systems on which the write-ahead log's shared memory does not work."""
MOUNTS: Final = Path("/proc/self/mounts")
LONGEST_WAIT_S: Final = 5.0
"""How long SQLite itself waits for a lock before the transaction is started again."""

Identity = tuple[int, int]
"""Device and inode of a file."""


def identity(file: Path) -> Identity | None:
    """Returns which file has this name now; None if none has, or if it is empty and so holds no store yet."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnavailableError(f"{file} cannot be looked at ({error.strerror}); check its path and rights") from error
    log = file.with_name(f"{file.name}-wal")
    if status.st_size == 0 and not (log.exists() and log.stat().st_size):
        return None
    return status.st_dev, status.st_ino


def check_is_sqlite(file: Path) -> None:
    """Checks that `file`, if it exists, may be opened as a SQLite database.

    Raises:
        ConfigError: for a folder.
        UnavailableError: if it cannot be read.
        UnsafeFileError: for a file of another kind.
    """
    if file.is_dir():
        raise ConfigError(f"{file} is a folder; give the name of a file in it, such as {file / 'experience.db'}")
    try:
        with file.open("rb") as opened:
            head = opened.read(len(MAGIC))
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnavailableError(f"{file} cannot be read ({error.strerror}); check the path and its rights") from error
    if head and head != MAGIC:
        raise UnsafeFileError(f"{file} is not a SQLite database; nothing was changed: give the name of another file")


def check_same(file: Path, *, opened: Identity) -> None:
    """Checks that the name still means the file that was opened: rows written to a deleted file would be lost.

    Raises:
        ConflictError: if it does not.
    """
    if identity(file) != opened:
        raise ConflictError(f"{file} was deleted or replaced while it was open; close everything and start again")


def check_file_system(file: Path, *, mounts: Path = MOUNTS) -> None:
    """Checks that `file` lies on a file system that can hold a SQLite store.

    Raises:
        ConfigError: for a network file system.
    """
    kind = _file_system(file, mounts=mounts)
    if kind in NETWORK_KINDS:
        raise ConfigError(
            f"{file} lies on a network file system ({kind}), where SQLite can lose data; give a file on a local disk "
            "or a PostgreSQL address"
        )


def read_only_url(file: Path) -> URL:
    """Returns the address by which a store in a folder that cannot be written to is read."""
    path = file.as_uri().removeprefix("file://")
    return URL.create("sqlite", database=f"file:{path}", query={"mode": "ro", "immutable": "1", "uri": "true"})


def is_read_only(file: Path) -> bool:
    """Whether the file exists where no other file can be made, as SQLite does beside it."""
    log = file.with_name(f"{file.name}-wal")
    return file.exists() and not log.exists() and not os.access(file.parent, os.W_OK)


def prepare(connection: sqlite3.Connection, *, is_writer: bool) -> None:
    """Prepares a new connection: explicit transactions, and commits that have reached the disk when they return."""
    # Python's own transaction handling would start writing transactions late and split off schema changes.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=FULL")
    if is_writer:
        connection.execute("PRAGMA journal_mode=WAL")


def connect_arguments(patience_s: float) -> Mapping[str, float]:
    """Returns what the driver is given on connecting."""
    return {"timeout": min(LONGEST_WAIT_S, patience_s)}


def _file_system(file: Path, *, mounts: Path) -> str | None:
    folder = _nearest_existing(file).resolve()
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    found: tuple[int, str] | None = None
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(fields[1].replace("\\040", " "))
        # The last of equally deep mounts hides the others.
        if folder.is_relative_to(point) and (found is None or len(point.parts) >= found[0]):
            found = (len(point.parts), fields[2])
    return found[1] if found else None


def _nearest_existing(file: Path) -> Path:
    is_there: Callable[[Path], bool] = Path.exists
    return next(path for path in (file, *file.parents) if is_there(path))
