"""The experience store in a SQLite file or a PostgreSQL database."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, Self, TypeVar, final

from sqlalchemy import ColumnElement, Connection, case, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from transmeta.core.experience import Experience, MetaFeatures
from transmeta.core.trial import TrialId, TrialSpec, TrialStatus
from transmeta.errors import UnsafeFileError
from transmeta.stores.address import Address, parse_address
from transmeta.stores.checks import check_label, payload_of
from transmeta.stores.contract import Snapshot, StoreStats, digest_of, gives_way, precedence
from transmeta.stores.database import Database
from transmeta.stores.faults import faults_in
from transmeta.stores.schema import (
    EMPTY_ROUND,
    FEATURE,
    PROPOSAL,
    TRIAL,
    Cell,
    FeatureRow,
    experience_of,
    features_of,
    row_of,
    spec_of,
)

T = TypeVar("T")

PATIENCE_S: Final = 30.0
CHUNK: Final = 500
"""Keys in one query; SQLite allows 999 in its older versions."""

_StoredRow = tuple[str, int, str, str]
_STORED_COLUMNS: Final = (TRIAL.c.id, TRIAL.c.schema, TRIAL.c.payload, TRIAL.c.payload_sha256)


@final
class SqlExperienceStore:
    """Experience in SQL. Nothing is opened before it is needed; used from one thread.

    A SQLite file is made by the first write, which also makes this process its only writer until `close`; any number of
    processes read it meanwhile. A PostgreSQL database may have many writers.
    """

    def __init__(self, address: Address, *, patience_s: float = PATIENCE_S) -> None:
        self._database = Database(address, patience_s=patience_s)
        self._upsert = _upsert_statement(is_file=address.file is not None)

    @classmethod
    def open(cls, url: str, *, patience_s: float = PATIENCE_S) -> Self:
        """Returns the store at `url`; nothing is read or written yet.

        Args:
            url: a file name, `sqlite:///file`, or `postgresql+psycopg://user@host/database`.
            patience_s: how long a locked or restarting database is waited for.

        Raises:
            ConfigError: if the address is of no known kind.
        """
        return cls(parse_address(url), patience_s=patience_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection and lets another process write; harmless if repeated."""
        self._database.close()

    def append(self, experience: Sequence[Experience]) -> int:
        """Makes all of `experience` durable before it returns, and returns how many rows are new or replaced.

        All or nothing. A known id is a no-op, except that a stopped or crashed trial gives way to its completed or
        failed re-run, a crashed one to a stopped one, and a stopped one to one that was stopped later. If the
        connection breaks just as the server commits, the rows are found stored at the second attempt and count as
        known.

        Raises:
            ConflictError: if another process writes the file, or a newer transmeta wrote it.
            InputError: if a row cannot be stored, such as for a number that is not finite.
            UnavailableError: if the store is out of reach, or the disk is full.
            UnsafeFileError: if the store is damaged.
        """
        # In one order everywhere, so that two writers of the same rows wait for each other and never in a circle.
        rows = sorted(((item, row_of(item)) for item in experience), key=lambda pair: pair[0].id)
        if not rows:
            return 0
        return self._database.write(lambda connection: sum(self._put(connection, item, row) for item, row in rows))

    def read(self, *, targets: Sequence[str] | None = None) -> Sequence[Experience]:
        """Returns the rows of `targets` (task ids; None for all), ordered by trial id.

        Raises:
            UnsafeFileError: if a row is not what was written.
        """
        return tuple(experience for experience, _ in self._rows(TRIAL.c.target_id, targets))

    def get(self, ids: Iterable[TrialId]) -> Mapping[TrialId, Experience]:
        """Returns those of `ids` that are stored.

        Raises:
            UnsafeFileError: if a row is not what was written.
        """
        return {row.result.spec.id: row for row, _ in self._rows(TRIAL.c.id, tuple(ids))}

    def snapshot(self) -> Snapshot:
        """Returns all rows as they are now.

        Raises:
            UnsafeFileError: if a row is not what was written.
        """
        rows = self._rows(TRIAL.c.id, None)
        digest = digest_of({row.id: payload_hash for row, payload_hash in rows})
        return Snapshot(rows=tuple(row for row, _ in rows), digest=digest)

    def count(self) -> int:
        """Returns the number of stored trials."""
        query = select(func.count()).select_from(TRIAL)
        return self._database.read(lambda connection: connection.execute(query).scalar_one(), empty=0)

    def stats(self) -> StoreStats:
        """Returns how much is stored."""
        empty = StoreStats(trials={}, targets={}, sources={}, strategies={}, cost_s=0.0)
        return self._database.read(_stats, empty=empty)

    def save_proposals(self, run: str, round: int, specs: Sequence[TrialSpec]) -> Sequence[TrialSpec]:
        """Makes the proposals of one round durable, and returns those that count.

        A round that is already stored stays as it is and is returned, so a resumed run repeats its choices.

        Raises:
            ConflictError, InputError, UnavailableError, UnsafeFileError: as `append`.
        """
        check_label(run, what="the run's name")
        rows: list[dict[str, str | int]] = [
            {
                "run": run,
                "round": round,
                "position": position,
                "trial_id": spec.id,
                "payload": payload_of(spec, what=f"trial {spec.id}"),
            }
            for position, spec in enumerate(specs)
        ]
        if not rows:
            rows = [{"run": run, "round": round, "position": 0, "trial_id": EMPTY_ROUND, "payload": "null"}]

        def save(connection: Connection) -> Sequence[TrialSpec]:
            stored = _proposals(connection, run, round)
            if stored is None:
                connection.execute(insert(PROPOSAL), rows)
            return tuple(specs) if stored is None else stored

        return self._database.write(save)

    def proposals(self, run: str, round: int) -> Sequence[TrialSpec] | None:
        """Returns the proposals of one round in their order; None if it is not stored."""
        return self._database.read(lambda connection: _proposals(connection, run, round), empty=None)

    def save_features(self, features: MetaFeatures) -> None:
        """Makes `features` durable in place of what was stored for the same target.

        Raises:
            ConflictError, InputError, UnavailableError, UnsafeFileError: as `append`.
        """
        rows = []
        for source, values in {"": features.target, **features.pairs}.items():
            what = f"the features of {features.target_id}" + (f" and {source}" if source else "")
            payload = payload_of(FeatureRow(values=values), what=what)
            rows.append({"target_id": features.target_id, "source": source, "payload": payload})

        def save(connection: Connection) -> None:
            connection.execute(delete(FEATURE).where(FEATURE.c.target_id == features.target_id))
            connection.execute(insert(FEATURE), rows)

        self._database.write(save)

    def features(self, target_id: str) -> MetaFeatures | None:
        """Returns what was saved last for the target; None if nothing was."""
        query = select(FEATURE.c.source, FEATURE.c.payload).where(FEATURE.c.target_id == target_id)

        def fetch(connection: Connection) -> dict[str, Mapping[str, float]]:
            rows = connection.execute(query)
            return {source: features_of(payload, target=target_id) for source, payload in rows}

        nothing: dict[str, Mapping[str, float]] = {}
        values = self._database.read(fetch, empty=nothing)
        if "" not in values:
            return None
        target = values.pop("")
        return MetaFeatures(target_id=target_id, target=target, pairs=dict(sorted(values.items())))

    def verify(self) -> Sequence[str]:
        """Returns what is wrong with the stored data, one sentence for each fault; empty if nothing is.

        Reads everything. Duplicates need no search: the primary key excludes them.

        Raises:
            ConflictError: if a newer transmeta wrote it.
            UnavailableError: if it is out of reach.
        """
        is_file = self._database.address.file is not None
        try:
            return self._database.read(lambda connection: faults_in(connection, is_file=is_file), empty=())
        except UnsafeFileError as error:
            return (str(error),)

    def _put(self, connection: Connection, item: Experience, row: Mapping[str, Cell]) -> int:
        """Inserts a row, or replaces one that gives way to it; returns how many rows changed."""
        changed = connection.execute(self._upsert, row).rowcount
        if changed or item.result.status is not TrialStatus.STOPPED:
            return changed
        # The row is there, and how long its curve is stands in the payload alone. Locked, so that no other writer
        # puts a longer one in between.
        query = select(*_STORED_COLUMNS).where(TRIAL.c.id == item.id).with_for_update()
        trial, schema, payload, sha256 = connection.execute(query).one()
        known = experience_of(payload, trial=trial, schema=schema, sha256=sha256)
        if not gives_way(known.result, to=item.result):
            return 0
        return connection.execute(update(TRIAL).where(TRIAL.c.id == item.id).values(dict(row))).rowcount

    def _rows(self, column: ColumnElement[str], keys: Sequence[str] | None) -> Sequence[tuple[Experience, str]]:
        """Returns rows with the hashes of their payloads, ordered by trial id."""
        query = select(*_STORED_COLUMNS)

        def fetch(connection: Connection) -> list[_StoredRow]:
            chunks = () if keys is None else _chunks(sorted(set(keys)))
            queries = [query] if keys is None else [query.where(column.in_(chunk)) for chunk in chunks]
            found = (row for part in queries for row in connection.execute(part))
            return [(trial, schema, payload, sha256) for trial, schema, payload, sha256 in found]

        nothing: list[_StoredRow] = []
        rows = [
            (experience_of(payload, trial=trial, schema=schema, sha256=sha256), sha256)
            for trial, schema, payload, sha256 in self._database.read(fetch, empty=nothing)
        ]
        # Sorted here, because a server may order text by the rules of a language.
        return sorted(rows, key=lambda row: row[0].id)


def _upsert_statement(*, is_file: bool) -> postgresql.Insert | sqlite.Insert:
    """Returns the statement that inserts a row, or replaces one that is worth less."""
    statement = sqlite.insert(TRIAL) if is_file else postgresql.insert(TRIAL)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=[TRIAL.c.id],
        set_={column.name: new[column.name] for column in TRIAL.columns if not column.primary_key},
        where=_worth(TRIAL.c.status) < _worth(new.status),
    )
    # SQLAlchemy forgets the count of an INSERT unless it is asked to keep it.
    return statement.execution_options(preserve_rowcount=True)


def _worth(status: ColumnElement[str]) -> ColumnElement[int]:
    return case({member.value: precedence(member) for member in TrialStatus}, value=status)


def _stats(connection: Connection) -> StoreStats:
    def count_by(column: ColumnElement[str]) -> Mapping[str, int]:
        rows = connection.execute(select(column, func.count()).group_by(column))
        return dict(sorted(((str(name), count) for name, count in rows)))

    cost_s = connection.execute(select(func.sum(TRIAL.c.cost_s))).scalar_one()
    return StoreStats(
        trials=count_by(TRIAL.c.status),
        targets=count_by(TRIAL.c.target_id),
        sources=count_by(TRIAL.c.source),
        strategies=count_by(TRIAL.c.strategy),
        cost_s=cost_s or 0.0,
    )


def _proposals(connection: Connection, run: str, round: int) -> Sequence[TrialSpec] | None:
    query = (
        select(PROPOSAL.c.trial_id, PROPOSAL.c.payload)
        .where(PROPOSAL.c.run == run, PROPOSAL.c.round == round)
        .order_by(PROPOSAL.c.position)
    )
    rows = connection.execute(query).all()
    if not rows:
        return None
    return tuple(spec_of(payload, trial=trial) for trial, payload in rows if trial != EMPTY_ROUND)


def _chunks(keys: Sequence[T]) -> Iterator[Sequence[T]]:
    rest = iter(keys)
    while chunk := tuple(islice(rest, CHUNK)):
        yield chunk
