"""Whatever is killed, and whenever: what was acknowledged is there, once (promise P1, faults 21 to 23)."""

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

from transmeta.core.trial import TrialStatus
from transmeta.errors import ConflictError, UnavailableError
from transmeta.stores.sql import SqlExperienceStore
from transmeta.testing.store_cases import example_experience, example_spec

APPENDING = Path(__file__).with_name("appending.py")


def start_appending(address, *, first_seed):
    command = [sys.executable, str(APPENDING), str(address), str(first_seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_writer_killed_at_any_moment_loses_nothing_that_it_acknowledged(tmp_path):
    path = tmp_path / "experience.db"
    chance = random.Random(0)
    acknowledged = []

    for turn in range(4):
        process = start_appending(path, first_seed=1000 * turn)
        # In the first turn, the kill falls into the making of the tables.
        seen = [process.stdout.readline() for _ in range(chance.randrange(30) if turn else 0)]
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        seen += process.stdout.read().splitlines(keepends=True)
        process.wait()
        acknowledged += [line.strip() for line in seen if line.endswith("\n")]

    with SqlExperienceStore.open(str(path)) as store:
        stored = [row.id for row in store.read()]
        assert len(acknowledged) > 20
        assert set(acknowledged) <= set(stored)
        assert len(stored) == len(set(stored))
        # A row may be durable although its writer died before saying so: one for each kill at most.
        assert len(stored) <= len(acknowledged) + 4
        assert store.verify() == ()
        assert store.append([example_experience(example_spec(seed=-1))]) == 1


def test_one_process_writes_a_file_and_any_number_read_it(tmp_path):
    path = tmp_path / "experience.db"
    writer = start_appending(path, first_seed=0)
    trial = writer.stdout.readline().strip()

    with SqlExperienceStore.open(str(path)) as store:
        assert trial in store.get([trial])
        with pytest.raises(ConflictError, match=rf"pid {writer.pid} on .*give another store") as caught:
            store.append([example_experience(example_spec(seed=-1))])
        assert caught.value.exit_code == 6

        writer.kill()
        writer.communicate()

        assert store.append([example_experience(example_spec(seed=-1))]) == 1


@pytest.fixture
def address(postgres_server, request):
    return postgres_server.create_schema(request.node.name.removeprefix("test_")[:60])


@pytest.mark.postgres
def test_a_server_killed_between_two_appends_loses_nothing_that_was_acknowledged(postgres_server, address):
    first, second = (example_experience(example_spec(seed=seed)) for seed in (1, 2))
    store = SqlExperienceStore.open(address)
    assert store.append([first]) == 1

    postgres_server.kill()
    starting = threading.Timer(0.5, postgres_server.start)
    starting.start()
    appended = store.append([first, second])
    starting.join()

    assert appended == 1
    assert {row.id for row in store.read()} == {first.id, second.id}
    assert store.verify() == ()
    store.close()


@pytest.mark.postgres
def test_a_server_killed_while_rows_stream_in_loses_and_doubles_nothing(postgres_server, address):
    rows = [example_experience(example_spec(seed=seed)) for seed in range(60)]
    store = SqlExperienceStore.open(address)
    killing = threading.Timer(0.1, lambda: (postgres_server.kill(), postgres_server.start()))
    killing.start()

    for row in rows:
        store.append([row])
        time.sleep(0.005)
    killing.join()

    assert [row.id for row in store.read()] == sorted(row.id for row in rows)
    assert store.verify() == ()
    store.close()


@pytest.mark.postgres
def test_a_server_that_stays_away_is_out_of_reach_once_patience_has_run_out(postgres_server, address):
    store = SqlExperienceStore.open(address.replace("postgres@", "postgres:geheim@"), patience_s=0.3)
    store.append([example_experience()])
    postgres_server.kill()

    try:
        with pytest.raises(UnavailableError, match="run the same command again") as caught:
            store.append([example_experience(example_spec(seed=1))])
    finally:
        postgres_server.start()

    assert caught.value.exit_code == 75
    assert "geheim" not in str(caught.value)
    assert store.append([example_experience(example_spec(seed=1))]) == 1
    store.close()


@pytest.mark.postgres
def test_a_transaction_cut_by_the_server_is_run_again_whole(postgres_server, address):
    stopped, completed = example_experience(status=TrialStatus.STOPPED), example_experience()
    store = SqlExperienceStore.open(address)
    store.append([stopped])

    postgres_server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'postgres'"
    )

    assert store.append([completed]) == 1
    assert list(store.read()) == [completed]
    store.close()


@pytest.mark.postgres
def test_of_several_writers_that_stopped_a_trial_the_one_that_stopped_it_last_is_kept(address):
    rows = [example_experience(status=TrialStatus.STOPPED, epochs=epochs) for epochs in (1, 2, 3)]

    def write(row):
        with SqlExperienceStore.open(address) as store:
            store.append([row])

    write(rows[0])
    threads = [threading.Thread(target=write, args=(row,)) for row in (*rows, *rows[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with SqlExperienceStore.open(address) as store:
        assert list(store.read()) == rows[2:]
        assert store.verify() == ()


@pytest.mark.postgres
def test_several_writers_of_the_same_rows_store_each_once(postgres_server, address):
    rows = [example_experience(example_spec(seed=seed), epochs=1) for seed in range(40)]
    counts = []

    def write(order):
        with SqlExperienceStore.open(address) as store:
            counts.append(sum(store.append(order[i : i + 10]) for i in range(0, 40, 10)))
            store.save_proposals("run", 0, [row.result.spec for row in order])

    threads = [threading.Thread(target=write, args=(order,)) for order in (rows, rows[::-1], rows[20:] + rows[:20])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with SqlExperienceStore.open(address) as store:
        assert sum(counts) == store.count() == len(rows)
        assert len(store.proposals("run", 0)) == len(rows)
        assert store.verify() == ()


@pytest.mark.postgres
def test_tables_of_another_program_are_left_alone(postgres_server, address):
    with psycopg.connect(address.replace("postgresql+psycopg", "postgresql"), autocommit=True) as connection:
        connection.execute("CREATE TABLE trial (case_number integer)")

    with (
        SqlExperienceStore.open(address) as store,
        pytest.raises(ValueError, match=r"belongs to another program .*'trial'"),
    ):
        store.append([example_experience()])


@pytest.mark.postgres
def test_an_unknown_database_is_refused_without_waiting(postgres_server):
    address = postgres_server.url().replace("/postgres?", "/nowhere?")
    started = time.monotonic()

    with SqlExperienceStore.open(address) as store, pytest.raises(UnavailableError, match='"nowhere" does not exist'):
        store.count()

    assert time.monotonic() - started < 10
