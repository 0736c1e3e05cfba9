"""What a database driver's error means: it passes, the data is damaged, or the store is out of reach."""

import sqlite3
from enum import Enum
from typing import Final

from sqlalchemy.exc import DBAPIError

from transmeta.errors import ConflictError, TransmetaError, UnavailableError, UnsafeFileError
from transmeta.stores.address import Address

SQLITE_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
SQLITE_OUT_OF_REACH: Final = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)

POSTGRES_PASSING: Final = (
    "08",  # connection exceptions
    "23505",  # another writer stored the same key after we looked; we will see it when we look again
    "40",  # serialisation failures and deadlocks
    "53300",  # too many connections
    "55P03",  # lock not available
    "57P01",  # shut down by the administrator
    "57P02",  # shut down by a crash
    "57P03",  # starting up
)
POSTGRES_OUT_OF_REACH: Final = (
    "28",  # who you are
    "3D000",  # no such database
    "42501",  # what you may do
    "53",  # disk or memory full
    "57",  # cancelled
    "58",  # input and output
    "25006",  # read-only server
)
POSTGRES_DAMAGED: Final = "XX00"
REFUSALS: Final = ("authentication failed", "does not exist", "no password supplied", "pg_hba.conf")
"""psycopg gives no code for a refused connection; these words tell that asking again is of no use."""


class Failure(Enum):
    """Kinds of failure."""

    PASSING = "passing"
    DAMAGED = "damaged"
    OUT_OF_REACH = "out of reach"
    OUR_FAULT = "our fault"


def kind_of(error: DBAPIError) -> Failure:
    """Returns what `error` means."""
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_kind(error.orig)
    return _postgres_kind(error)


def is_passing(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed if it is started again."""
    return kind_of(error) is Failure.PASSING


def translated(error: DBAPIError, *, address: Address) -> TransmetaError | DBAPIError:
    """Returns what to raise for `error`, after patience has run out; `error` itself if it is our own fault."""
    kind = kind_of(error)
    reason = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
    if kind is Failure.DAMAGED:
        return UnsafeFileError(
            f"{address} is damaged or is not a transmeta store ({reason}); nothing was changed: "
            "move it aside and restore a backup or an export"
        )
    if kind is Failure.PASSING and address.file is not None:
        return ConflictError(f"{address} is locked by another program ({reason}); close it and run the command again")
    if kind is Failure.OUR_FAULT:
        return error
    return UnavailableError(
        f"{address} is out of reach ({reason}); see that the server runs, or that the disk has space and may be "
        "written, and run the same command again"
    )


def _sqlite_kind(error: sqlite3.Error) -> Failure:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in SQLITE_BUSY:
        return Failure.PASSING
    if code in SQLITE_OUT_OF_REACH:
        return Failure.OUT_OF_REACH
    # Damage may show as any fault of the file, such as a column that is not there; misuse of the driver is ours.
    is_misuse = isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError | sqlite3.NotSupportedError)
    return Failure.OUR_FAULT if is_misuse or isinstance(error, sqlite3.InterfaceError) else Failure.DAMAGED


def _postgres_kind(error: DBAPIError) -> Failure:
    state: str | None = getattr(error.orig, "sqlstate", None)
    if state is None:
        if not error.connection_invalidated and not _is_connection_failure(error):
            return Failure.OUR_FAULT
        is_refused = any(words in str(error.orig) for words in REFUSALS)
        return Failure.OUT_OF_REACH if is_refused else Failure.PASSING
    if state.startswith(POSTGRES_PASSING):
        return Failure.PASSING
    if state.startswith(POSTGRES_DAMAGED):
        return Failure.DAMAGED
    return Failure.OUT_OF_REACH if state.startswith(POSTGRES_OUT_OF_REACH) else Failure.OUR_FAULT


def _is_connection_failure(error: DBAPIError) -> bool:
    return type(error.orig).__name__ in ("OperationalError", "InterfaceError", "ConnectionTimeout")
