"""Transactions on a SQLite file or a PostgreSQL server: opened lazily, started again after passing faults."""

import functools
import sqlite3
from collections.abc import Callable
from typing import Final, TypeVar, final

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from transmeta.errors import ConfigError, ConflictError, InputError, UnsafeFileError
from transmeta.stores import sqlite_file
from transmeta.stores.address import Address
from transmeta.stores.failures import Failure, is_passing, kind_of, translated
from transmeta.stores.lock import WriterLock
from transmeta.stores.retry import retried
from transmeta.stores.schema import META, SCHEMA_VERSION, TABLES, VERSION_KEY

T = TypeVar("T")

WRITES: Final = "transmeta_writes"
CREATION_LOCK: Final = 7_308_604_759_847_825_236
"""A number of our own among PostgreSQL's advisory locks: one process at a time makes the tables."""
CONNECT_TIMEOUT_S: Final = 5


@final
class Database:
    """One database, used from one thread.

    Args:
        patience_s: how long passing faults are waited out before they become errors.
    """

    def __init__(self, address: Address, *, patience_s: float) -> None:
        self.address = address
        self._patience_s = patience_s
        self._engine: Engine | None = None
        self._lock = None if address.file is None else WriterLock(address.file)
        self._opened: sqlite_file.Identity | None = None
        self._has_tables = False
        self._is_closed = False

    def read(self, work: Callable[[Connection], T], *, empty: T) -> T:
        """Returns what `work` returns on one consistent state of the data; `empty` if there is no store yet.

        Raises:
            ConflictError: if a newer transmeta wrote it, or another program locks it.
            UnavailableError: if it is out of reach.
            UnsafeFileError: if it is damaged, or something else.
        """
        self._check_open()
        return self._guarded(functools.partial(self._read_once, work, empty))

    def write(self, work: Callable[[Connection], T]) -> T:
        """Returns what `work` returns, after all that it wrote is durable; on an error, nothing of it is written.

        Args:
            work: is started again after a passing fault, so its effect must not depend on how often it ran.

        Raises:
            ConflictError: if another process writes the file, or a newer transmeta wrote it.
            UnavailableError: if it is out of reach, or the disk is full.
            UnsafeFileError: if it is damaged, or something else.
        """
        self._check_open()
        return self._guarded(functools.partial(self._write_once, work))

    def close(self) -> None:
        """Closes the connection and lets another process write; harmless if repeated."""
        self._is_closed = True
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        if self._lock is not None:
            self._lock.release()

    def _read_once(self, work: Callable[[Connection], T], empty: T) -> T:
        file = self.address.file
        if file is not None and not self._find_file():
            return empty
        with self._connected_engine().connect() as connection, connection.begin():
            if not self._find_tables(connection):
                return empty
            result = work(connection)
        self._remember_file()
        return result

    def _write_once(self, work: Callable[[Connection], T]) -> T:
        if self.address.file is not None:
            if self._find_file() and not self._has_tables:
                # Preparing a file for writing changes it, so see first that it is ours.
                with self._connected_engine().connect() as connection, connection.begin():
                    self._find_tables(connection)
            self._lock_file()
        with self._connected_engine().connect() as connection:
            connection.execution_options(**{WRITES: True})
            with connection.begin():
                if not self._find_tables(connection):
                    self._make_tables(connection)
                result = work(connection)
        self._has_tables = True
        self._remember_file()
        return result

    def _guarded(self, attempt: Callable[[], T]) -> T:
        try:
            return retried(attempt, is_passing=self._may_retry, patience_s=self._patience_s)
        except DBAPIError as error:
            raise translated(error, address=self.address) from error
        except UnicodeDecodeError as error:
            raise UnsafeFileError(
                f"{self.address} is damaged (a text is not UTF-8); move it aside and restore a backup or an export"
            ) from error

    def _may_retry(self, error: DBAPIError) -> bool:
        if self._engine is not None and self.address.file is None:
            # After a restart of the server all pooled connections are dead, whichever the driver noticed.
            self._engine.dispose()
        return is_passing(error)

    def _check_open(self) -> None:
        if self._is_closed:
            raise InputError(f"the store {self.address} was closed; open it again")

    # The file

    def _find_file(self) -> bool:
        file = self.address.file
        assert file is not None
        if self._opened is not None:
            sqlite_file.check_same(file, opened=self._opened)
            return True
        sqlite_file.check_is_sqlite(file)
        return sqlite_file.identity(file) is not None

    def _lock_file(self) -> None:
        file, lock = self.address.file, self._lock
        assert file is not None
        assert lock is not None
        if lock.is_held:
            return
        sqlite_file.check_file_system(file)
        lock.acquire()
        if self._engine is not None:
            # The next connection is prepared for writing.
            self._engine.dispose()
            self._engine = None

    def _remember_file(self) -> None:
        if self.address.file is not None and self._opened is None:
            self._opened = sqlite_file.identity(self.address.file)

    # The connection

    def _connected_engine(self) -> Engine:
        if self._engine is None:
            self._engine = self._new_engine()
        return self._engine

    def _new_engine(self) -> Engine:
        url, file = self.address.url, self.address.file
        arguments: dict[str, float | int] = {}
        if file is not None:
            arguments |= sqlite_file.connect_arguments(self._patience_s)
            if sqlite_file.is_read_only(file):
                url = sqlite_file.read_only_url(file)
        elif "connect_timeout" not in url.query:
            arguments["connect_timeout"] = CONNECT_TIMEOUT_S
        try:
            engine = create_engine(
                url,
                poolclass=QueuePool,
                pool_size=1,
                max_overflow=0,
                hide_parameters=True,
                connect_args=arguments,
            )
        except (ModuleNotFoundError, NoSuchModuleError) as error:
            raise ConfigError(
                "PostgreSQL needs a driver that is not installed; run: pip install 'transmeta[postgres]'"
            ) from error
        if file is None:
            event.listen(engine, "connect", _ensure_durable_commits)
        else:
            is_writer = self._lock is not None and self._lock.is_held
            event.listen(engine, "connect", functools.partial(_prepare_sqlite, is_writer))
            event.listen(engine, "begin", _begin_sqlite)
        return engine

    # The tables

    def _find_tables(self, connection: Connection) -> bool:
        """Returns whether the tables are there, after checking that they are ours and that we know their schema."""
        if not self._has_tables:
            if self.address.file is not None:
                self._check_whole(connection)
            names = set(inspect(connection).get_table_names())
            if META.name not in names:
                self._check_free(names)
                return False
        try:
            version = connection.execute(select(META.c.value).where(META.c.key == VERSION_KEY)).scalar()
        except DBAPIError as error:
            if self._has_tables or kind_of(error) is not Failure.OUR_FAULT:
                raise
            version = None  # a table of this name, with other columns
        self._check_version(version)
        self._has_tables = True
        return True

    def _make_tables(self, connection: Connection) -> None:
        if self.address.file is None:
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": CREATION_LOCK})
            if self._find_tables(connection):
                return
        TABLES.create_all(connection, checkfirst=False)
        connection.execute(insert(META).values(key=VERSION_KEY, value=str(SCHEMA_VERSION)))

    def _check_whole(self, connection: Connection) -> None:
        fault = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
        if fault != "ok":
            raise UnsafeFileError(
                f"{self.address} is damaged ({fault}); nothing was changed: move it aside and restore a backup or an "
                "export"
            )

    def _check_free(self, names: set[str]) -> None:
        taken = names if self.address.file is not None else names & set(TABLES.tables)
        if taken:
            raise UnsafeFileError(
                f"{self.address} belongs to another program (it has a table {min(taken)!r}); nothing was changed: give "
                "another file or database"
            )

    def _check_version(self, version: object) -> None:
        if not isinstance(version, str) or not version.isdecimal() or int(version) < 1:
            raise UnsafeFileError(
                f"{self.address} is not a transmeta store (schema {version!r}); nothing was changed: give another file "
                "or database"
            )
        if int(version) > SCHEMA_VERSION:
            raise ConflictError(
                f"{self.address} was written by a newer transmeta (schema {version}, this one knows {SCHEMA_VERSION}); "
                "upgrade transmeta"
            )


def _prepare_sqlite(is_writer: bool, connection: sqlite3.Connection, record: object) -> None:
    sqlite_file.prepare(connection, is_writer=is_writer)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that writes asks for the lock at once: asking later could only fail, after the work was done.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(WRITES) else "BEGIN")


def _ensure_durable_commits(connection: DBAPIConnection, record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("SHOW synchronous_commit")
    row = cursor.fetchone()
    if row is not None and row[0] == "off":
        cursor.execute("SET synchronous_commit TO on")
    cursor.close()
    connection.commit()
