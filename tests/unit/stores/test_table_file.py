import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transmeta.errors import ConfigError, InputError, UnsafeFileError
from transmeta.stores import table_file
from transmeta.stores.table_file import TableFile, write_table


class Foreign(pa.ExtensionType):
    """A type whose reader is its author's code."""

    read = 0

    def __init__(self):
        super().__init__(pa.int64(), "transmeta.tests.foreign")

    def __arrow_ext_serialize__(self):
        return b"anything"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage, serialised):
        cls.read += 1
        return cls()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "table.parquet"


@pytest.fixture
def registered():
    pa.register_extension_type(Foreign())
    Foreign.read = 0
    yield
    pa.unregister_extension_type("transmeta.tests.foreign")


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_type_that_foreign_code_would_read_is_refused_before_that_code_runs(path, registered, before):
    # The names before it shift the mark within the file's base64 text.
    column = pa.ExtensionArray.from_storage(Foreign(), pa.array([1, 2]))
    pq.write_table(pa.table({before + "x": [1, 2], "evil": column}, metadata={before + "k": "v"}), path)

    with pytest.raises(UnsafeFileError, match="extension types") as caught:
        TableFile(path)

    assert caught.value.exit_code == 5
    assert Foreign.read == 0


@pytest.mark.parametrize("content", [b"", b"PAR1", b"SQLite format 3\0", b"PAR1" + b"\xff" * 100 + b"PAR1"])
def test_a_file_of_another_kind_is_refused(path, content):
    path.write_bytes(content)

    with pytest.raises(UnsafeFileError, match="not a Parquet file"):
        TableFile(path)


def test_a_missing_file_is_named(path):
    with pytest.raises(InputError, match=r"table\.parquet cannot be read \(No such file"):
        TableFile(path)


def test_a_flipped_byte_gives_a_named_error_or_the_true_rows(path, tmp_path):
    table = pa.table({"text": [f"t{i % 7}" for i in range(300)], "number": [i / 7 for i in range(300)]})
    write_table(table, path=path)
    whole = path.read_bytes()
    chance = random.Random(0)
    refused = 0

    for _ in range(100):
        damaged = bytearray(whole)
        # The page headers and the pages: they are checked by their sums.
        damaged[chance.randrange(4, len(whole) // 2)] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            read = TableFile(path).read(["text", "number"])
        except (UnsafeFileError, ConfigError):
            refused += 1
        else:
            assert read.to_pylist() == table.to_pylist()

    assert refused > 50


def test_a_file_with_too_many_rows_or_bytes_is_refused_before_it_is_read(path, monkeypatch):
    write_table(pa.table({"x": range(11)}), path=path)

    monkeypatch.setattr(table_file, "MOST_ROWS", 10)
    with pytest.raises(UnsafeFileError, match="11 rows, more than 10"):
        TableFile(path)
    monkeypatch.setattr(table_file, "MOST_BYTES", 100)
    with pytest.raises(UnsafeFileError, match="bytes, more than 100"):
        TableFile(path)


def test_a_long_text_that_is_repeated_often_stays_small_in_memory(path):
    text = "x" * 10_000
    write_table(pa.table({"text": pa.array([text] * 5_000).dictionary_encode()}), path=path)

    column = TableFile(path).read(["text"])["text"]

    assert column.nbytes < 10 * len(text)
    assert column[4_999].as_py() == text


def test_a_column_name_that_is_there_twice_is_refused(path):
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"]), path)

    with pytest.raises(ConfigError, match="two columns are called 'x'"):
        TableFile(path).read(["x"])


def test_batches_are_at_most_as_long_as_asked(path):
    write_table(pa.table({"x": range(25)}), path=path)

    batches = list(TableFile(path).batches(["x"], rows=10))

    assert [batch.num_rows for batch in batches] == [10, 10, 5]


def test_a_written_file_has_the_rights_that_the_user_gives_to_new_files(path):
    plain = path.with_name("plain")
    plain.touch()

    write_table(pa.table({"x": [1]}), path=path)

    assert path.stat().st_mode == plain.stat().st_mode
