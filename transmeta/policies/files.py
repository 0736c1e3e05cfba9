"""Policies as folders: `policy.json`, and for networks and large tables their arrays as safetensors. Never a pickle.

The weights' file is named by its SHA-256 and written first; `policy.json` is then swapped in by one rename, so that a
reader sees the old policy or the new one, whenever the writer dies.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, final

from transmeta.core import codec
from transmeta.core.codec import Json
from transmeta.core.protocols import Policy
from transmeta.core.space import Proposer
from transmeta.errors import ConfigError, ConflictError, InputError, UnknownNameError, UnsafeFileError
from transmeta.policies.adaptive import files as adaptive_files
from transmeta.policies.adaptive.policy import AdaptivePolicy
from transmeta.policies.fixed import FixedPolicy
from transmeta.policies.mean_rank import MeanRankPolicy
from transmeta.policies.nearest_task import NearestTaskPolicy
from transmeta.policies.network import weights as network_weights
from transmeta.policies.network.encoding import Encoder
from transmeta.policies.network.policy import NetworkPolicy, Progress
from transmeta.policies.network.rows import Knobs
from transmeta.policies.portfolio import PortfolioPolicy
from transmeta.policies.random import RandomPolicy
from transmeta.policies.table import RegretTable, TableRecord
from transmeta.training.files import write_atomically

REMEDY: Final = "put an older version in force (transmeta policy rollback --to N), or run meta-train again"
SCHEMA: Final = 1
POLICY_FILE: Final = "policy.json"


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Random:
    pass


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Fixed:
    strategy: str
    table: TableRecord


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Tabular:
    table: TableRecord


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Nearest:
    table: TableRecord
    tau: float | None
    """None for ∞, which JSON cannot hold."""
    beta: float


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Network:
    table: TableRecord
    encoder: Encoder
    blend: float
    tau: float | None
    """None for ∞, which JSON cannot hold."""
    beta: float
    progress: Progress | None


Weights = bytes | None
Encoded = tuple[str, object, Weights]


def save_policy(policy: Policy, folder: Path) -> None:
    """Writes `policy` into `folder`, made if needed; a policy that is already there is replaced in one step.

    Raises:
        InputError: if it is not one of transmeta's own policies.
    """
    kind, body, weights = _encode(policy)
    folder.mkdir(parents=True, exist_ok=True)
    sha256 = None if weights is None else hashlib.sha256(weights).hexdigest()
    if weights is not None and sha256 is not None:
        write_atomically(folder / _weights_name(sha256), weights)
    record = {"schema": SCHEMA, "kind": kind, "weights_sha256": sha256, "body": codec.to_json(body)}
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)
    write_atomically(folder / POLICY_FILE, text.encode())
    for stale in folder.glob("weights-*.safetensors"):
        if sha256 is None or stale.name != _weights_name(sha256):
            stale.unlink()


def load_policy(folder: Path, *, proposer: Proposer) -> Policy:
    """Returns the policy in `folder`; it draws fresh arms from `proposer`. Does not import torch.

    Raises:
        InputError: if there is no policy in `folder`.
        UnknownNameError: for a kind of policy that this version does not know.
        ConflictError: if a newer version of transmeta wrote it.
        UnsafeFileError: if it is corrupt, or its weights are not those that it was saved with.
    """
    path = folder / POLICY_FILE
    try:
        header = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{folder}: no {POLICY_FILE} there; give a folder that meta-train wrote") from error
    except ValueError as error:
        raise UnsafeFileError(f"{path}: not JSON ({error}); {REMEDY}") from error
    schema = header.get("schema") if isinstance(header, dict) else None
    if not isinstance(schema, int) or not {"kind", "body"} <= header.keys():
        raise UnsafeFileError(f"{path}: not a policy file; {REMEDY}")
    if schema > SCHEMA:
        raise ConflictError(f"{path}: schema {schema} is newer than {SCHEMA}; update transmeta to read it")
    kind = str(header["kind"])
    if kind not in _DECODERS:
        raise UnknownNameError("policy", name=kind, known=_DECODERS)
    weights = _read_weights(folder, header.get("weights_sha256"))
    try:
        return _DECODERS[kind](header["body"], weights, proposer)
    except (ConfigError, InputError) as error:
        raise UnsafeFileError(f"{path}: {error}") from error


def _encode(policy: Policy) -> Encoded:
    if isinstance(policy, RandomPolicy):
        return "random", _Random(), None
    if isinstance(policy, FixedPolicy):
        return "fixed", _Fixed(strategy=policy.strategy, table=policy.table.record), None
    if isinstance(policy, MeanRankPolicy):
        return "mean_rank", _Tabular(table=policy.table.record), None
    if isinstance(policy, PortfolioPolicy):
        return "portfolio", _Tabular(table=policy.table.record), None
    if isinstance(policy, NearestTaskPolicy):
        nearest = _Nearest(table=policy.table.record, tau=_finite(policy.tau), beta=policy.beta)
        return "nearest_task", nearest, None
    if isinstance(policy, NetworkPolicy):
        network = _Network(
            table=policy.table.record,
            encoder=policy.encoder,
            blend=policy.knobs.blend,
            tau=_finite(policy.knobs.tau),
            beta=policy.knobs.beta,
            progress=policy.progress,
        )
        return "network", network, network_weights.to_bytes(policy.ensemble)
    if isinstance(policy, AdaptivePolicy):
        record = adaptive_files.to_record(policy.learned, left_out=policy.left_out)
        return "adaptive", record, adaptive_files.to_bytes(policy.learned)
    raise InputError(
        f"policy {policy.name!r}: a {type(policy).__name__} cannot be saved; known: {', '.join(_DECODERS)}"
    )


def _random(body: Json, _weights: Weights, proposer: Proposer) -> Policy:
    codec.from_json(_Random, body)
    return RandomPolicy(proposer=proposer)


def _fixed(body: Json, _weights: Weights, proposer: Proposer) -> Policy:
    read = codec.from_json(_Fixed, body)
    return FixedPolicy(strategy=read.strategy, table=RegretTable.from_record(read.table), proposer=proposer)


def _mean_rank(body: Json, _weights: Weights, proposer: Proposer) -> Policy:
    read = codec.from_json(_Tabular, body)
    return MeanRankPolicy(table=RegretTable.from_record(read.table), proposer=proposer)


def _portfolio(body: Json, _weights: Weights, proposer: Proposer) -> Policy:
    read = codec.from_json(_Tabular, body)
    return PortfolioPolicy(table=RegretTable.from_record(read.table), proposer=proposer)


def _nearest_task(body: Json, _weights: Weights, proposer: Proposer) -> Policy:
    read = codec.from_json(_Nearest, body)
    table = RegretTable.from_record(read.table)
    return NearestTaskPolicy(table=table, proposer=proposer, tau=_or_infinite(read.tau), beta=read.beta)


def _network(body: Json, weights: Weights, proposer: Proposer) -> Policy:
    read = codec.from_json(_Network, body)
    if weights is None:
        raise UnsafeFileError("a network without weights; restore the policy's folder or run meta-train again")
    return NetworkPolicy(
        table=RegretTable.from_record(read.table),
        proposer=proposer,
        encoder=read.encoder,
        ensemble=network_weights.from_bytes(weights, inputs=read.encoder.width),
        knobs=Knobs(blend=read.blend, tau=_or_infinite(read.tau), beta=read.beta),
        progress=read.progress,
    )


def _adaptive(body: Json, weights: Weights, proposer: Proposer) -> Policy:
    record = codec.from_json(adaptive_files.AdaptiveRecord, body)
    if weights is None:
        raise UnsafeFileError("an adaptive policy without arrays; restore its folder or run meta-train again")
    learned = adaptive_files.from_record(record, weights)
    return AdaptivePolicy(learned=learned, proposer=proposer, left_out=record.left_out)


def _finite(tau: float) -> float | None:
    return tau if math.isfinite(tau) else None


def _or_infinite(tau: float | None) -> float:
    return math.inf if tau is None else tau


_DECODERS: Final[Mapping[str, Callable[[Json, Weights, Proposer], Policy]]] = {
    "random": _random,
    "fixed": _fixed,
    "mean_rank": _mean_rank,
    "portfolio": _portfolio,
    "nearest_task": _nearest_task,
    "network": _network,
    "adaptive": _adaptive,
}


def _weights_name(sha256: str) -> str:
    return f"weights-{sha256[:20]}.safetensors"


def _read_weights(folder: Path, sha256: object) -> Weights:
    if sha256 is None:
        return None
    if not isinstance(sha256, str) or len(sha256) != 64 or not sha256.isalnum():
        raise UnsafeFileError(f"{folder / POLICY_FILE}: {sha256!r} is not a SHA-256; run meta-train again")
    path = folder / _weights_name(sha256)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UnsafeFileError(f"{path}: the weights are missing; {REMEDY}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UnsafeFileError(f"{path}: its SHA-256 is not {sha256[:12]}...; {REMEDY}")
    return data
