"""θ as safetensors bytes, and back, checked."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from transmeta.errors import UnsafeFileError
from transmeta.policies.network.ensemble import OUTPUTS, Ensemble

REMEDY = "restore the policy's folder or run meta-train again"


def to_bytes(ensemble: Ensemble) -> bytes:
    """Returns the weights in the safetensors format."""
    names = [field.name for field in dataclasses.fields(ensemble)]
    content: bytes = save({name: np.ascontiguousarray(getattr(ensemble, name)) for name in names})
    return content


def from_bytes(data: bytes, *, inputs: int) -> Ensemble:
    """Returns the ensemble in `data`.

    Args:
        inputs: F, what the policy's encoder makes.

    Raises:
        UnsafeFileError: for data that is not safetensors, or not finite weights of a network with F inputs.
    """
    try:
        arrays = load(data)
    except SafetensorError as error:
        raise UnsafeFileError(f"policy weights: not safetensors ({error}); {REMEDY}") from error
    return from_arrays(arrays, inputs=inputs)


def from_arrays(arrays: Mapping[str, npt.NDArray[np.float32]], *, inputs: int) -> Ensemble:
    """Returns the ensemble with the weights `arrays`, by the names of its attributes; the rest as in `from_bytes`.

    Raises:
        UnsafeFileError: if they are not finite weights of a network with F inputs.
    """
    names = {field.name for field in dataclasses.fields(Ensemble)}
    if set(arrays) != names:
        raise UnsafeFileError(f"policy weights: arrays {sorted(arrays)} where {sorted(names)} are expected; {REMEDY}")
    bias = arrays["input_bias"]
    members, hidden = (bias.shape[0], bias.shape[-1]) if bias.ndim == 3 else (0, 0)
    shapes = {
        "input_weights": (members, inputs, hidden),
        "input_bias": (members, 1, hidden),
        "hidden_weights": (members, hidden, hidden),
        "hidden_bias": (members, 1, hidden),
        "output_weights": (members, hidden, OUTPUTS),
        "output_bias": (members, 1, OUTPUTS),
    }
    for name, shape in shapes.items():
        array = arrays[name]
        if not members or not hidden or array.shape != shape or array.dtype != np.float32:
            raise UnsafeFileError(
                f"policy weights: {name} is {array.dtype} {array.shape} where float32 {shape} is expected; {REMEDY}"
            )
        if not np.isfinite(array).all():
            raise UnsafeFileError(f"policy weights: {name} holds numbers that are not finite; {REMEDY}")
    return Ensemble(**{name: arrays[name] for name in shapes})
