import dataclasses
import random
import shutil
import sqlite3
import subprocess
import sys

import pytest

from transmeta.core.experience import MetaFeatures
from transmeta.core.trial import TrialStatus
from transmeta.errors import ConfigError, ConflictError, InputError, TransmetaError, UnavailableError, UnsafeFileError
from transmeta.stores import sqlite_file
from transmeta.stores.sql import SqlExperienceStore
from transmeta.testing.store_cases import example_experience, example_spec


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "experience.db"


@pytest.fixture
def filled(path):
    """A closed store with three trials, one round and the features of one target."""
    with SqlExperienceStore.open(str(path)) as store:
        store.append([example_experience(example_spec(seed=seed)) for seed in range(3)])
        store.save_proposals("run", 0, [example_spec(seed=seed) for seed in range(2)])
        store.save_features(MetaFeatures(target_id="t", target={"log_examples": 1.0}, pairs={"a": {"leep": -1.0}}))
    return path


def execute(path, statement, *values):
    with sqlite3.connect(path) as connection:
        connection.execute(statement, values)
    connection.close()


def test_reading_a_store_that_is_not_there_makes_no_file(path):
    with SqlExperienceStore.open(str(path)) as store:
        assert store.read() == ()
        assert store.verify() == ()

    assert not path.parent.exists()


def test_a_url_and_a_file_name_mean_the_same_store(filled):
    with SqlExperienceStore.open(f"sqlite:///{filled}") as store:
        assert store.count() == 3


def test_an_empty_file_is_an_empty_store(path):
    path.parent.mkdir()
    path.touch()

    with SqlExperienceStore.open(str(path)) as store:
        assert store.read() == ()
        assert store.append([example_experience()]) == 1


def test_commits_reach_the_disk_before_append_returns(path, monkeypatch):
    prepared = []
    prepare = sqlite_file.prepare

    def watch(connection, *, is_writer):
        prepare(connection, is_writer=is_writer)
        prepared.append(
            [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
        )

    monkeypatch.setattr(sqlite_file, "prepare", watch)
    with SqlExperienceStore.open(str(path)) as store:
        store.append([example_experience()])

    full = 2
    assert prepared[-1] == ["wal", full]


def test_a_row_is_seen_by_a_reader_while_its_writer_is_open(path):
    row = example_experience()
    with SqlExperienceStore.open(str(path)) as writer, SqlExperienceStore.open(str(path)) as reader:
        assert reader.count() == 0
        writer.append([row])
        assert list(reader.read()) == [row]


def test_two_stores_of_one_process_may_write_the_same_file(path):
    with SqlExperienceStore.open(str(path)) as first, SqlExperienceStore.open(str(path)) as second:
        assert first.append([example_experience(example_spec(seed=0))]) == 1
        assert second.append([example_experience(example_spec(seed=1))]) == 1
        first.close()
        assert second.append([example_experience(example_spec(seed=2))]) == 1
        assert second.count() == 3


def test_a_file_that_another_program_locks_is_a_conflict_once_patience_has_run_out(filled):
    blocker = sqlite3.connect(filled, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with SqlExperienceStore.open(str(filled), patience_s=0.2) as store:
        with pytest.raises(ConflictError, match="locked by another program"):
            store.append([example_experience(example_spec(seed=9))])
        assert store.count() == 3

        blocker.execute("ROLLBACK")

        assert store.append([example_experience(example_spec(seed=9))]) == 1
    blocker.close()


def test_a_closed_store_says_so(filled):
    store = SqlExperienceStore.open(str(filled))
    store.close()

    with pytest.raises(InputError, match="was closed; open it again"):
        store.count()


def test_rows_are_never_written_to_a_file_that_was_deleted_meanwhile(filled):
    with SqlExperienceStore.open(str(filled)) as store:
        store.append([example_experience(example_spec(seed=9))])
        filled.unlink()

        with pytest.raises(ConflictError, match="deleted or replaced"):
            store.append([example_experience(example_spec(seed=10))])


def test_a_newer_schema_is_refused_by_reading_and_writing(filled):
    execute(filled, "UPDATE meta SET value = '7'")
    message = r"written by a newer transmeta \(schema 7, this one knows 1\); upgrade transmeta"

    with SqlExperienceStore.open(str(filled)) as store:
        with pytest.raises(ConflictError, match=message) as caught:
            store.read()
        with pytest.raises(ConflictError, match=message):
            store.append([example_experience(example_spec(seed=9))])
    assert caught.value.exit_code == 6


def test_a_schema_that_was_upgraded_while_the_store_was_open_is_noticed(filled):
    with SqlExperienceStore.open(str(filled)) as store:
        assert store.append([example_experience(example_spec(seed=8))]) == 1
        execute(filled, "UPDATE meta SET value = '2'")

        with pytest.raises(ConflictError, match="schema 2"):
            store.append([example_experience(example_spec(seed=9))])


def test_a_row_of_a_newer_schema_is_refused(filled):
    execute(filled, "UPDATE trial SET schema = 2 WHERE id = ?", example_spec(seed=0).id)

    with SqlExperienceStore.open(str(filled)) as store, pytest.raises(ConflictError, match="upgrade transmeta"):
        store.read()


@pytest.mark.parametrize("content", [b"PAR1 not a database", b"x", b"SQLite format 3\0" + b"\xff" * 200])
def test_a_file_of_another_kind_is_refused_and_left_as_it_is(path, content):
    path.parent.mkdir()
    path.write_bytes(content)

    with SqlExperienceStore.open(str(path)) as store:
        with pytest.raises(UnsafeFileError, match="nothing was changed") as caught:
            store.append([example_experience()])
        with pytest.raises(UnsafeFileError, match="nothing was changed"):
            store.read()

    assert caught.value.exit_code == 5
    assert path.read_bytes() == content


def test_the_database_of_another_program_is_refused_and_left_as_it_is(path):
    path.parent.mkdir()
    execute(path, "CREATE TABLE recipe (name TEXT)")
    before = path.read_bytes()

    with (
        SqlExperienceStore.open(str(path)) as store,
        pytest.raises(UnsafeFileError, match=r"another program.*'recipe'"),
    ):
        store.append([example_experience()])

    assert path.read_bytes() == before


@pytest.mark.parametrize("statement", ["CREATE TABLE meta (key TEXT, value TEXT)", "CREATE TABLE meta (page BLOB)"])
def test_a_foreign_table_of_the_same_name_is_not_taken_for_ours(path, statement):
    path.parent.mkdir()
    execute(path, statement)

    with SqlExperienceStore.open(str(path)) as store, pytest.raises(UnsafeFileError, match="not a transmeta store"):
        store.append([example_experience()])


def test_a_folder_is_refused_with_advice(tmp_path):
    with (
        SqlExperienceStore.open(str(tmp_path)) as store,
        pytest.raises(ConfigError, match=r"is a folder.*experience\.db"),
    ):
        store.count()


def test_a_place_that_cannot_be_written_to_is_out_of_reach(tmp_path):
    (tmp_path / "file").touch()

    path = tmp_path / "file" / "experience.db"
    with SqlExperienceStore.open(str(path)) as store, pytest.raises(UnavailableError) as caught:
        store.append([example_experience()])

    assert caught.value.exit_code == 75


def test_a_truncated_file_is_refused_and_left_as_it_is(filled):
    whole = filled.read_bytes()
    filled.write_bytes(whole[: len(whole) // 2])

    with SqlExperienceStore.open(str(filled)) as store:
        with pytest.raises(UnsafeFileError, match="is damaged"):
            store.append([example_experience(example_spec(seed=9))])
        (fault,) = store.verify()

    assert "is damaged" in fault
    assert filled.read_bytes() == whole[: len(whole) // 2]


def test_a_flipped_byte_gives_a_named_error_or_the_true_rows(filled, tmp_path):
    chance = random.Random(0)
    whole = filled.read_bytes()
    with SqlExperienceStore.open(str(filled)) as store:
        truth = store.read()
    noticed = 0

    for turn in range(25):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        copy = tmp_path / f"copy{turn}.db"
        copy.write_bytes(damaged)
        with SqlExperienceStore.open(str(copy), patience_s=0) as store:
            try:
                rows = store.read()
                store.stats()
                noticed += bool(store.verify())
            except TransmetaError:
                noticed += 1
            else:
                assert rows == truth

    assert noticed > 2


def test_a_changed_payload_is_noticed_on_reading(filled):
    execute(filled, "UPDATE trial SET payload = replace(payload, '\"score\":0.6', '\"score\":0.9')")

    with SqlExperienceStore.open(str(filled)) as store:
        with pytest.raises(UnsafeFileError, match="is not what was written"):
            store.read()
        assert len(store.verify()) == 3


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE trial SET score = 0.99 WHERE seed = 1", "the column score holds 0.99 and the payload 0.6"),
        ("UPDATE trial SET dataset = 'x' WHERE seed = 1", "the column dataset holds 'x'"),
        ("UPDATE trial SET id = 'x' WHERE seed = 1", "trial x holds another trial"),
        ("UPDATE trial SET payload = x'00' WHERE seed = 1", "is not what was written"),
        ("UPDATE proposal SET trial_id = 'x' WHERE position = 1", "proposal x holds another trial"),
        ("UPDATE proposal SET payload = '[' WHERE position = 1", "cannot be read"),
        ("DELETE FROM proposal WHERE position = 0", "round 0: proposal 0 is missing"),
        ('UPDATE feature SET payload = \'{"values":{"leep":"x"}}\' WHERE source = \'a\'', "features of t"),
        ("UPDATE feature SET payload = x'07' WHERE source = 'a'", "features of t holds no text"),
    ],
)
def test_verify_names_what_was_changed(filled, statement, fault):
    execute(filled, statement)

    with SqlExperienceStore.open(str(filled)) as store:
        faults = store.verify()

    assert len(faults) == 1
    assert fault in faults[0]


def test_verify_finds_nothing_in_a_store_as_it_was_written(filled):
    with SqlExperienceStore.open(str(filled)) as store:
        assert store.verify() == ()


def test_damaged_proposals_and_features_are_refused(filled):
    execute(filled, "UPDATE proposal SET payload = '[' WHERE position = 1")
    execute(filled, "UPDATE feature SET payload = '[' WHERE source = 'a'")

    with SqlExperienceStore.open(str(filled)) as store:
        with pytest.raises(UnsafeFileError, match="cannot be read"):
            store.proposals("run", 0)
        with pytest.raises(UnsafeFileError, match="cannot be read"):
            store.features("t")


def test_a_store_in_a_folder_that_may_not_be_written_to_can_be_read(filled, monkeypatch):
    monkeypatch.setattr(sqlite_file.os, "access", lambda path, mode: False)
    beside = sorted(filled.parent.iterdir())

    with SqlExperienceStore.open(str(filled)) as store:
        assert store.count() == 3
        assert sorted(filled.parent.iterdir()) == beside


def test_odd_characters_in_a_path_are_only_characters(tmp_path):
    path = tmp_path / "a b?c#d%20.db"

    with SqlExperienceStore.open(str(path)) as store:
        store.append([example_experience()])

    assert path.exists()
    shutil.copy(path, tmp_path / "plain.db")
    with SqlExperienceStore.open(str(tmp_path / "plain.db")) as store:
        assert store.count() == 1


def test_a_seed_of_more_than_64_bits_is_refused(path):
    with SqlExperienceStore.open(str(path)) as store, pytest.raises(InputError, match="more than 64 bits"):
        store.append([example_experience(example_spec(seed=2**63))])


def test_a_replaced_row_changes_in_every_column(path):
    with SqlExperienceStore.open(str(path)) as store:
        stopped = example_experience(status=TrialStatus.STOPPED, epochs=1)
        store.append([dataclasses.replace(stopped, pair_features={})])
        store.append([example_experience()])

        assert store.verify() == ()


def test_importing_the_stores_loads_neither_torch_nor_ray():
    code = (
        "import sys, transmeta.stores.sql, transmeta.stores.memory, transmeta.stores.parquet;"
        "print(sorted({'torch', 'ray', 'pandas', 'pytest'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
