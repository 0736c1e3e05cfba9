"""What is wrong inside an SQL store: everything is read and compared."""

from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, RowMapping, select

from transmeta.errors import ConflictError, TransmetaError
from transmeta.stores.checks import fault_of
from transmeta.stores.schema import (
    EMPTY_ROUND,
    FEATURE,
    PROPOSAL,
    TRIAL,
    experience_of,
    features_of,
    row_of,
    spec_of,
)

BATCH: Final = 500
"""Rows in memory at a time."""


def faults_in(connection: Connection, *, is_file: bool) -> Sequence[str]:
    """Returns the faults, one sentence for each.

    Raises:
        ConflictError: if a newer transmeta wrote a row.
    """
    faults: list[str] = []
    if is_file:
        rows = connection.exec_driver_sql("PRAGMA integrity_check")
        faults += [f"SQLite: {fault}" for (fault,) in rows if fault != "ok"]
    faults += _trial_faults(connection)
    faults += _proposal_faults(connection)
    faults += _feature_faults(connection)
    return tuple(faults)


def _trial_faults(connection: Connection) -> Iterator[str]:
    result = connection.execution_options(yield_per=BATCH).execute(select(TRIAL).order_by(TRIAL.c.id))
    for row in result.mappings():
        try:
            yield from _row_faults(row)
        except ConflictError:
            raise
        except TransmetaError as error:
            yield str(error)


def _row_faults(row: RowMapping) -> Iterator[str]:
    trial = row["id"]
    experience = experience_of(row["payload"], trial=trial, schema=row["schema"], sha256=row["payload_sha256"])
    expected = row_of(experience)
    for column in TRIAL.columns:
        name = column.name
        if row[name] != expected[name]:
            yield f"trial {trial}: the column {name} holds {row[name]!r} and the payload {expected[name]!r}"
    fault = fault_of(experience)
    if fault is not None:
        yield f"trial {trial}: {fault}"


def _proposal_faults(connection: Connection) -> Iterator[str]:
    expected: dict[tuple[str, int], int] = {}
    query = select(PROPOSAL).order_by(PROPOSAL.c.run, PROPOSAL.c.round, PROPOSAL.c.position)
    for row in connection.execute(query).mappings():
        key = (row["run"], row["round"])
        position = expected.get(key, 0)
        expected[key] = position + 1
        if row["position"] != position:
            yield f"run {row['run']}, round {row['round']}: proposal {position} is missing"
        if row["trial_id"] == EMPTY_ROUND:
            continue
        try:
            spec_of(row["payload"], trial=row["trial_id"])
        except TransmetaError as error:
            yield f"run {row['run']}, round {row['round']}: {error}"


def _feature_faults(connection: Connection) -> Iterator[str]:
    for row in connection.execute(select(FEATURE)).mappings():
        try:
            features_of(row["payload"], target=row["target_id"])
        except TransmetaError as error:
            yield str(error)
