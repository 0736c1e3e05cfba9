"""Parquet files from anywhere: refused before they are read if they are damaged, too large, or could run code."""

import base64
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, final

import pyarrow as pa
import pyarrow.parquet as pq

from transmeta.errors import ConfigError, InputError, UnsafeFileError
from transmeta.training.files import sync_folder

MAGIC: Final = b"PAR1"
MOST_ROWS: Final = 10_000_000
MOST_BYTES: Final = 4 * 2**30
MOST_FOOTER_BYTES: Final = 64 * 2**20
ROW_GROUP: Final = 100_000

EXTENSION: Final = b"ARROW:extension"
"""Arrow's mark of a type whose reader is somebody's code, Ray's pickled tensors among them."""


@final
class TableFile:
    """A Parquet file whose size and types were checked; its columns are read when asked for.

    Raises:
        InputError: if there is no such file.
        UnsafeFileError: if it is no Parquet file, damaged, too large, or has types that are read by foreign code.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _check_footer(path)
        try:
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
            self._schema: pa.Schema = self._file.schema_arrow
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _damaged(path, error) from error
        # Strings stay dictionaries, so that a short file cannot become a long table.
        texts = [field.name for field in self._schema if _is_text(field.type)]
        self._file = pq.ParquetFile(path, page_checksum_verification=True, read_dictionary=texts)
        self.row_count: int = self._file.metadata.num_rows
        if self.row_count > MOST_ROWS:
            raise UnsafeFileError(f"{path} has {self.row_count} rows, more than {MOST_ROWS}; split it")

    @property
    def columns(self) -> Sequence[str]:
        """The names of its columns."""
        return tuple(self._schema.names)

    def check_has(self, names: Sequence[str]) -> None:
        """Checks that the columns `names` are there, once each.

        Raises:
            ConfigError: if one is not.
        """
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise ConfigError(f"{self.path}: no column {', '.join(missing)}; it has {', '.join(self.columns[:20])}")

    def read(self, names: Sequence[str]) -> pa.Table:
        """Returns the columns `names`, which hold texts, numbers and truth values only.

        Raises:
            ConfigError: if a column is not there or of another type.
            UnsafeFileError: if the file is damaged.
        """
        self._check_types(names)
        try:
            table: pa.Table = self._file.read(columns=list(names))
            table.validate(full=True)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self.path, error) from error
        return table

    def batches(self, names: Sequence[str], *, rows: int) -> Iterator[pa.RecordBatch]:
        """Yields the columns `names`, at most `rows` rows at a time.

        Raises:
            ConfigError: if a column is not there or of another type.
            UnsafeFileError: if the file is damaged.
        """
        self._check_types(names)
        try:
            for batch in self._file.iter_batches(batch_size=rows, columns=list(names)):
                batch.validate(full=True)
                yield batch
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self.path, error) from error

    def _check_types(self, names: Sequence[str]) -> None:
        self.check_has(names)
        for name in names:
            if len(self._schema.get_all_field_indices(name)) > 1:
                raise ConfigError(f"{self.path}: two columns are called {name!r}; rename one")
            kind = self._schema.field(name).type
            if not (_is_text(kind) or _is_number(kind) or pa.types.is_null(kind)):
                raise ConfigError(f"{self.path}: column {name!r} holds {kind}; give texts, numbers or truth values")


def write_table(table: pa.Table, *, path: Path) -> None:
    """Makes `table` durable as a Parquet file at `path`, so that a reader sees all of it or what was there before.

    Raises:
        InputError: if it cannot be written there.
    """
    staged = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            table,
            staged,
            compression="zstd",
            compression_level=9,
            row_group_size=ROW_GROUP,
            write_page_checksum=True,
        )
        with staged.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(staged, path)
        sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error}); give another path") from error
    finally:
        staged.unlink(missing_ok=True)


def _check_footer(path: Path) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
            file.seek(max(0, size - 8))
            tail = file.read(8)
            footer_size = int.from_bytes(tail[:4], "little")
            is_parquet = size >= 12 and head == MAGIC and tail[4:] == MAGIC
            if is_parquet and footer_size <= min(MOST_FOOTER_BYTES, size - 12):
                file.seek(size - 8 - footer_size)
                footer = file.read(footer_size)
            else:
                raise UnsafeFileError(f"{path} is not a Parquet file, or not all of it; write it again")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path") from error
    if size > MOST_BYTES:
        raise UnsafeFileError(f"{path} has {size} bytes, more than {MOST_BYTES}; split it")
    # The schema is parsed, and extension types are built, as soon as Arrow opens the file: so look before that.
    if any(mark in footer for mark in _marks(EXTENSION)):
        raise UnsafeFileError(f"{path} holds extension types, which foreign code would read; write plain columns")


def _marks(text: bytes) -> Iterator[bytes]:
    """Yields how `text` shows in a footer: as it is, and inside base64 at each of the three alignments."""
    yield text
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + text)
        first, last = -(-offset * 8 // 6), (offset + len(text)) * 8 // 6
        yield encoded[first:last]


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _damaged(path: Path, error: Exception) -> UnsafeFileError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UnsafeFileError(f"{path} is damaged or no Parquet file ({reason}); write it again")
