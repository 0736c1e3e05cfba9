"""Where a store is: a SQLite file or a PostgreSQL database."""

import dataclasses
from pathlib import Path
from typing import Final, final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from transmeta.errors import ConfigError

POSTGRESQL: Final = ("postgres", "postgresql", "postgresql+psycopg")
KNOWN: Final = "a file name, sqlite:///file or postgresql+psycopg://user@host/database"


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a store is.

    Attributes:
        url: as SQLAlchemy connects to it.
        file: the SQLite file; None for a server.
    """

    url: URL
    file: Path | None

    def __str__(self) -> str:
        return str(self.file) if self.file is not None else self.url.render_as_string(hide_password=True)


def parse_address(text: str) -> Address:
    """Returns the address that a person wrote.

    Raises:
        ConfigError: if it is neither a file name nor a URL of a known kind.
    """
    if not text or "\0" in text:
        raise ConfigError(f"store {text!r}: give {KNOWN}")
    if "://" not in text:
        return _file_address(text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        # The text may hold a password, so it is not shown.
        raise ConfigError(f"the store's address is not a URL; give {KNOWN}") from error
    if url.drivername in POSTGRESQL:
        return Address(url=url.set(drivername="postgresql+psycopg"), file=None)
    if url.drivername != "sqlite":
        raise ConfigError(f"store {url.drivername}://...: this database is not supported; give {KNOWN}")
    if url.query or url.host:
        raise ConfigError(f"store {text!r}: a SQLite address is sqlite:///file, without host or options")
    return _file_address(url.database or "")


def _file_address(text: str) -> Address:
    if text in ("", ":memory:"):
        raise ConfigError(f"store {text!r} would not outlive this process; give {KNOWN}")
    file = Path(text).expanduser().absolute()
    return Address(url=URL.create("sqlite", database=str(file)), file=file)
