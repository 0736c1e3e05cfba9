"""What the adaptive portfolio has learned, as JSON data and safetensors bytes, and back, checked. Without torch.

Letters: T known targets, C configurations, K rungs.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Final, final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from transmeta.core.trial import Arm
from transmeta.errors import UnsafeFileError
from transmeta.policies.adaptive.costs import CostModel
from transmeta.policies.adaptive.learned import AdaptiveLearned
from transmeta.policies.adaptive.policy import LeftOut
from transmeta.policies.adaptive.protocol import Array
from transmeta.policies.adaptive.rows import SHARES
from transmeta.policies.adaptive.session import Knobs
from transmeta.policies.network import weights as network_weights
from transmeta.policies.network.encoding import Encoder
from transmeta.policies.network.ensemble import Ensemble
from transmeta.policies.table import WORST, KnownTarget, RegretTable

REMEDY: Final = "restore the policy's folder or run meta-train again"
TABLES: Final = ("utility", "cost_s", "residuals")
NETWORK: Final = "network."


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KnobsRecord:
    """`Knobs` as JSON data; `tau` is of files written before known targets were all alike at first, and None."""

    blend: float
    tau: None
    sampled: float
    beta: float
    exponents: tuple[float, ...]
    is_partial: bool


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveRecord:
    """What of a policy is JSON data; its arrays are beside it."""

    targets: tuple[KnownTarget, ...]
    arms: tuple[Arm, ...]
    knobs: KnobsRecord
    encoder: Encoder | None
    width: float
    feature_names: tuple[str, ...]
    left_out: LeftOut | None


def assembled(
    *,
    targets: tuple[KnownTarget, ...],
    arms: tuple[Arm, ...],
    utility: Array,
    cost_s: Array,
    rungs: Array,
    residuals: Array,
    knobs: Knobs,
    encoder: Encoder | None,
    ensemble: Ensemble | None,
    width: float,
    feature_names: tuple[str, ...],
) -> AdaptiveLearned:
    """Returns what was learned, with all arrays at the precision of the file, so that a policy survives it unchanged.

    Args:
        utility, cost_s, residuals: (T, C), NaN where not tried; `rungs` (T, C, K).
    """
    utility, cost_s, rungs, residuals = (
        array.astype(np.float32).astype(np.float64) for array in (utility, cost_s, rungs, residuals)
    )
    regret = rungs[:, :, -1].copy()
    for array in (utility, cost_s, regret):
        array.setflags(write=False)
    table = RegretTable(targets=targets, arms=arms, utility=utility, regret=regret, cost_s=cost_s)
    return AdaptiveLearned(
        sources=tuple(arm.source for arm in arms),
        table=table,
        rungs=rungs,
        knobs=knobs,
        encoder=encoder,
        ensemble=ensemble,
        costs=CostModel.fit(table),
        parts=np.full(rungs.shape[1:], np.nan),
        residuals=residuals,
        width=width,
        feature_names=feature_names,
        has_pair_features=True,
    )


def to_record(learned: AdaptiveLearned, *, left_out: LeftOut | None) -> AdaptiveRecord:
    """Returns what of `learned` is JSON data."""
    knobs = learned.knobs
    return AdaptiveRecord(
        targets=learned.table.targets,
        arms=learned.table.arms,
        knobs=KnobsRecord(
            blend=knobs.blend,
            tau=None,
            sampled=knobs.sampled,
            beta=knobs.beta,
            exponents=knobs.exponents,
            is_partial=knobs.is_partial,
        ),
        encoder=learned.encoder,
        width=learned.width,
        feature_names=learned.feature_names,
        left_out=left_out,
    )


def to_bytes(learned: AdaptiveLearned) -> bytes:
    """Returns the arrays in the safetensors format."""
    arrays = {"rungs": learned.rungs, "utility": learned.table.utility, "cost_s": learned.table.cost_s}
    arrays["residuals"] = learned.residuals
    named = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}
    if learned.ensemble is not None:
        for field in dataclasses.fields(Ensemble):
            named[NETWORK + field.name] = np.ascontiguousarray(getattr(learned.ensemble, field.name))
    content: bytes = save(named)
    return content


def from_record(record: AdaptiveRecord, data: bytes) -> AdaptiveLearned:
    """Returns what was learned.

    Raises:
        UnsafeFileError: if the arrays are not those of the record, or hold what no policy can.
    """
    keys = [arm.key for arm in record.arms]
    if sorted(set(keys)) != keys:
        raise UnsafeFileError(f"adaptive policy: its arms are not in order or not distinct; {REMEDY}")
    if not (math.isfinite(record.width) and record.width > 0):
        raise UnsafeFileError(f"adaptive policy: {record.width} is no width of intervals; {REMEDY}")
    arrays, network = _arrays(data)
    shape = (len(record.targets), len(record.arms))
    _check(arrays, {"rungs": (*shape, len(SHARES)), **dict.fromkeys(TABLES, shape)})
    _check_range("rungs", arrays["rungs"], low=0.0, high=WORST)
    _check_range("cost_s", arrays["cost_s"], low=0.0, high=math.inf)
    if bool(network) != (record.encoder is not None):
        raise UnsafeFileError(f"adaptive policy: a network needs its encoder, and the other way round; {REMEDY}")
    ensemble = None
    if record.encoder is not None:
        ensemble = network_weights.from_arrays(network, inputs=record.encoder.width)
    return assembled(
        targets=record.targets,
        arms=record.arms,
        utility=arrays["utility"].astype(np.float64),
        cost_s=arrays["cost_s"].astype(np.float64),
        rungs=arrays["rungs"].astype(np.float64),
        residuals=arrays["residuals"].astype(np.float64),
        knobs=_knobs(record.knobs),
        encoder=record.encoder,
        ensemble=ensemble,
        width=record.width,
        feature_names=record.feature_names,
    )


Arrays = Mapping[str, npt.NDArray[np.float32]]


def _arrays(data: bytes) -> tuple[Arrays, Arrays]:
    """Returns the tables, and the weights of the network."""
    try:
        arrays = load(data)
    except SafetensorError as error:
        raise UnsafeFileError(f"adaptive policy: its arrays are not safetensors ({error}); {REMEDY}") from error
    network = {name.removeprefix(NETWORK): array for name, array in arrays.items() if name.startswith(NETWORK)}
    return {name: array for name, array in arrays.items() if not name.startswith(NETWORK)}, network


def _check(arrays: Arrays, shapes: Mapping[str, Sequence[int]]) -> None:
    if set(arrays) != set(shapes):
        raise UnsafeFileError(f"adaptive policy: arrays {sorted(arrays)} where {sorted(shapes)} are expected; {REMEDY}")
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != tuple(shape) or array.dtype != np.float32:
            raise UnsafeFileError(
                f"adaptive policy: {name} is {array.dtype} {array.shape} where float32 {tuple(shape)} is expected; "
                f"{REMEDY}"
            )
        if np.isinf(array).any():
            raise UnsafeFileError(f"adaptive policy: {name} holds numbers that are not finite; {REMEDY}")


def _check_range(name: str, array: npt.NDArray[np.float32], *, low: float, high: float) -> None:
    known = array[~np.isnan(array)]
    if known.size and not (known.min() >= low and known.max() <= high):
        raise UnsafeFileError(f"adaptive policy: {name} holds numbers outside {low:g} to {high:g}; {REMEDY}")


def _knobs(record: KnobsRecord) -> Knobs:
    return Knobs(
        blend=record.blend,
        sampled=record.sampled,
        beta=record.beta,
        exponents=record.exponents,
        is_partial=record.is_partial,
    )
