import sqlite3

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import DBAPIError

from transmeta.errors import ConflictError, UnavailableError, UnsafeFileError
from transmeta.stores.address import parse_address
from transmeta.stores.failures import Failure, is_passing, kind_of, translated


def wrapped(orig):
    return DBAPIError("SELECT 1", {}, orig)


def sqlite_error(code, kind=sqlite3.OperationalError):
    error = kind("the reason")
    error.sqlite_errorcode = code
    return wrapped(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sqlite_error(sqlite3.SQLITE_BUSY), Failure.PASSING),
        (sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT), Failure.PASSING),
        (sqlite_error(sqlite3.SQLITE_CORRUPT), Failure.DAMAGED),
        (sqlite_error(sqlite3.SQLITE_NOTADB, sqlite3.DatabaseError), Failure.DAMAGED),
        (sqlite_error(sqlite3.SQLITE_FULL), Failure.OUT_OF_REACH),
        (sqlite_error(sqlite3.SQLITE_IOERR_FSYNC), Failure.OUT_OF_REACH),
        (wrapped(sqlite3.OperationalError("could not decode to UTF-8")), Failure.DAMAGED),
        (wrapped(sqlite3.ProgrammingError("wrong thread")), Failure.OUR_FAULT),
        (wrapped(psycopg.OperationalError("connection refused")), Failure.PASSING),
        (wrapped(psycopg.OperationalError('database "x" does not exist')), Failure.OUT_OF_REACH),
        (wrapped(psycopg.OperationalError("password authentication failed")), Failure.OUT_OF_REACH),
        (wrapped(psycopg.DataError("cannot contain NUL")), Failure.OUR_FAULT),
        (wrapped(errors.SerializationFailure("")), Failure.PASSING),
        (wrapped(errors.DeadlockDetected("")), Failure.PASSING),
        (wrapped(errors.UniqueViolation("")), Failure.PASSING),
        (wrapped(errors.AdminShutdown("")), Failure.PASSING),
        (wrapped(errors.CannotConnectNow("")), Failure.PASSING),
        (wrapped(errors.DiskFull("")), Failure.OUT_OF_REACH),
        (wrapped(errors.InsufficientPrivilege("")), Failure.OUT_OF_REACH),
        (wrapped(errors.DataCorrupted("")), Failure.DAMAGED),
        (wrapped(errors.UndefinedColumn("")), Failure.OUR_FAULT),
    ],
)
def test_an_error_of_a_driver_has_a_meaning(error, kind):
    assert kind_of(error) is kind
    assert is_passing(error) is (kind is Failure.PASSING)


@pytest.mark.parametrize(
    ("address", "code", "kind"),
    [
        ("x.db", sqlite3.SQLITE_BUSY, ConflictError),
        ("x.db", sqlite3.SQLITE_FULL, UnavailableError),
        ("x.db", sqlite3.SQLITE_CORRUPT, UnsafeFileError),
    ],
)
def test_a_user_is_told_what_to_do(address, code, kind):
    error = translated(sqlite_error(code), address=parse_address(address))

    assert isinstance(error, kind)
    assert "the reason" in str(error)


def test_an_error_of_ours_is_not_hidden():
    error = wrapped(errors.UndefinedColumn("score2"))

    assert translated(error, address=parse_address("postgresql://a@b/c")) is error
