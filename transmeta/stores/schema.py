"""The tables of the SQL store, and how an experience becomes a row and comes back."""

import dataclasses
from collections.abc import Mapping
from typing import Final, TypeVar, final

from sqlalchemy import BigInteger, Column, Double, Integer, MetaData, PrimaryKeyConstraint, Table, Text

from transmeta.core import codec
from transmeta.core.experience import Experience
from transmeta.core.trial import TrialSpec
from transmeta.errors import ConflictError, InputError, UnsafeFileError
from transmeta.stores.checks import payload_hash, storable_payload

SCHEMA_VERSION: Final = 1
"""Of the tables."""
EXPERIENCE_SCHEMA: Final = 1
"""Of the payload: `Experience.schema`."""
VERSION_KEY: Final = "transmeta_schema"

TABLES: Final = MetaData()

META: Final = Table(
    "meta",
    TABLES,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

TRIAL: Final = Table(
    "trial",
    TABLES,
    Column("id", Text, primary_key=True),
    Column("schema", Integer, nullable=False),
    Column("target_id", Text, nullable=False, index=True),
    Column("target_name", Text, nullable=False),
    Column("dataset", Text, nullable=False, index=True),
    Column("domain", Text, nullable=False),
    Column("shots", Integer),
    Column("source", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("arm_key", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("utility", Double),
    Column("score", Double),
    Column("test_score", Double),
    Column("cost_s", Double, nullable=False),
    Column("wall_s", Double, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("payload_sha256", Text, nullable=False),
)
"""The payload is the truth; the other columns repeat parts of it for queries, and `verify` compares them."""

PROPOSAL: Final = Table(
    "proposal",
    TABLES,
    Column("run", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("trial_id", Text, nullable=False),
    Column("payload", Text, nullable=False),
    PrimaryKeyConstraint("run", "round", "position"),
)

FEATURE: Final = Table(
    "feature",
    TABLES,
    Column("target_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("payload", Text, nullable=False),
    PrimaryKeyConstraint("target_id", "source"),
)
"""The row with an empty source holds the features of the target alone."""

EMPTY_ROUND: Final = ""
"""The trial id in the single row of a round in which nothing was proposed."""

Cell = None | int | float | str


T = TypeVar("T")


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRow:
    """The payload of a row of the table `feature`."""

    values: Mapping[str, float]


def row_of(experience: Experience) -> Mapping[str, Cell]:
    """Returns the columns of `experience` in the table `trial`.

    Raises:
        InputError: if a database could not hold it.
    """
    payload = storable_payload(experience)
    result = experience.result
    spec = result.spec
    if not -(2**63) <= spec.seed < 2**63:
        raise InputError(f"trial {spec.id}: seed {spec.seed} has more than 64 bits; derive seeds with derive_seed")
    return {
        "id": spec.id,
        "schema": experience.schema,
        "target_id": spec.target.id,
        "target_name": spec.target.name,
        "dataset": spec.target.dataset,
        "domain": spec.target.domain,
        "shots": spec.target.shots,
        "source": spec.pair.source,
        "strategy": spec.strategy.name,
        "arm_key": spec.arm.key,
        "status": result.status.value,
        "utility": _float(result.utility),
        "score": _float(result.score),
        "test_score": _float(result.test_score),
        "cost_s": float(result.cost_s),
        "wall_s": float(result.wall_s),
        "seed": spec.seed,
        "created_at": experience.provenance.created_at,
        "payload": payload,
        "payload_sha256": payload_hash(payload),
    }


def experience_of(payload: object, *, trial: object, schema: object, sha256: object) -> Experience:
    """Returns the experience in a row of the table `trial`.

    The cells may be of any type: SQLite does not hold a damaged file to its declared types.

    Raises:
        ConflictError: if a newer transmeta wrote the row.
        UnsafeFileError: if the payload is not what was written.
    """
    if isinstance(schema, int) and schema > EXPERIENCE_SCHEMA:
        raise ConflictError(
            f"trial {trial} was written by a newer transmeta (schema {schema}, this one knows {EXPERIENCE_SCHEMA}); "
            "upgrade transmeta"
        )
    if not isinstance(payload, str) or payload_hash(payload) != sha256:
        raise UnsafeFileError(
            f"trial {trial} is not what was written (its checksum differs): the storage changed it; "
            "restore a backup or an export"
        )
    experience = _loaded(Experience, payload, what=f"trial {trial}")
    if experience.id != trial:
        raise UnsafeFileError(f"trial {trial} holds another trial, {experience.id}; restore a backup or an export")
    return experience


def spec_of(payload: object, *, trial: object) -> TrialSpec:
    """Returns the spec in a row of the table `proposal`.

    Raises:
        UnsafeFileError: if it is not what was written.
    """
    spec = _loaded(TrialSpec, payload, what=f"proposal {trial}")
    if spec.id != trial:
        raise UnsafeFileError(f"proposal {trial} holds another trial, {spec.id}; restore a backup")
    return spec


def features_of(payload: object, *, target: object) -> Mapping[str, float]:
    """Returns the features in a row of the table `feature`.

    Raises:
        UnsafeFileError: if it cannot be read.
    """
    return _loaded(FeatureRow, payload, what=f"features of {target}").values


def _loaded(kind: type[T], payload: object, *, what: str) -> T:
    if not isinstance(payload, str):
        raise UnsafeFileError(f"{what} holds no text: the row cannot be read; restore a backup or an export")
    try:
        return codec.loads(kind, payload, where=what)
    except (ValueError, RecursionError) as error:
        raise UnsafeFileError(f"{error}: the row cannot be read; restore a backup or an export") from error


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)
