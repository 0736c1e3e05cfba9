"""Checkpoints: safetensors and JSON in a folder, with a manifest written last. Never a pickle."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from transmeta.core.codec import Json
from transmeta.core.task import IDENTIFIER
from transmeta.errors import UnsafeFileError
from transmeta.training.files import write_folder_atomically

WEIGHTS: Final = "weights.safetensors"
META: Final = "meta.json"
MANIFEST: Final = "MANIFEST.json"
HEADER_LIMIT_BYTES: Final = 64 * 2**20
PICKLES: Final = (b"\x80", b"PK\x03\x04", b"\x93NUMPY")
TYPES: Final = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")
"""What weights are made of; torch cannot check every other type for values that are not finite."""


def write_checkpoint(folder: Path, *, tensors: Mapping[str, Tensor], meta: Json) -> None:
    """Makes a checkpoint durable at `folder`, in place of what was there; a reader never sees half of it."""
    contents = {
        WEIGHTS: tensor_bytes(tensors),
        META: json.dumps(meta, indent=1, sort_keys=True, allow_nan=False).encode(),
    }
    manifest = {
        "schema": 1,
        "files": {name: {"sha256": sha256(data), "size": len(data)} for name, data in contents.items()},
    }

    def fill(staging: Path) -> None:
        for name, data in contents.items():
            (staging / name).write_bytes(data)
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=1))

    write_folder_atomically(folder, fill)


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], Json]:
    """Returns the tensors and the JSON of a checkpoint.

    Raises:
        UnsafeFileError: if the manifest is missing, a file differs from it, or the weights are not safe to read.
    """
    manifest_path = folder / MANIFEST
    if not manifest_path.is_file():
        raise UnsafeFileError(f"{folder}: no {MANIFEST}, so this is not a whole checkpoint; use another one")
    manifest = _read_manifest(manifest_path)
    contents = {}
    for name, digest in manifest.items():
        data = (folder / name).read_bytes() if (folder / name).is_file() else b""
        if sha256(data) != digest:
            raise UnsafeFileError(f"{folder / name}: differs from its manifest (damaged or changed); use another one")
        contents[name] = data
    try:
        meta: Json = json.loads(contents[META])
    except (ValueError, RecursionError) as error:
        raise UnsafeFileError(f"{folder / META}: not JSON ({error}); use another checkpoint") from error
    return parse_tensors(contents[WEIGHTS], where=str(folder / WEIGHTS)), meta


def read_tensors(path: Path, *, digest: str | None = None) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file.

    Args:
        digest: the SHA-256 that the file must have.

    Raises:
        UnsafeFileError: if the file is missing, of another format, damaged, or not what `digest` says.
    """
    if not path.is_file():
        raise UnsafeFileError(f"{path}: no such file; give the path of a .safetensors file")
    data = path.read_bytes()
    if digest is not None and sha256(data) != digest:
        raise UnsafeFileError(f"{path}: SHA-256 is {sha256(data)[:12]}..., expected {digest[:12]}...; fetch it again")
    return parse_tensors(data, where=str(path))


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Returns `tensors` in the safetensors format."""
    return save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def parse_tensors(data: bytes, *, where: str) -> dict[str, Tensor]:
    """Returns the tensors in `data`, after checking what the safetensors library accepts but we do not.

    Raises:
        UnsafeFileError: for a pickle, a damaged header, duplicate or path-like names, or values that are not finite.
    """
    size = int.from_bytes(data[:8], "little") if len(data) >= 8 else -1
    if not 2 <= size <= min(HEADER_LIMIT_BYTES, len(data) - 8) or data[8:9] != b"{":
        if data.startswith(PICKLES):  # asked only here: a header of 128 bytes makes a sound file begin with 0x80 too
            raise UnsafeFileError(
                f"{where}: a pickle or NumPy file, which could run code; save the weights as .safetensors instead"
            )
        raise UnsafeFileError(f"{where}: not a safetensors file (header of {size} bytes); give another file")
    _check_header(data[8 : 8 + size], where=where)
    try:
        tensors: dict[str, Tensor] = load_tensors(data)
    except Exception as error:
        raise UnsafeFileError(f"{where}: damaged safetensors file ({error}); give another file") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UnsafeFileError(f"{where}: {name} holds values that are not finite; give another file")
    return tensors


def sha256(data: bytes) -> str:
    """Returns the SHA-256 of `data` in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _check_header(header: bytes, *, where: str) -> None:
    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise UnsafeFileError(f"{where}: the header names a key twice; give another file")
        return dict(pairs)

    try:
        entries = json.loads(header, object_pairs_hook=unique)
    except UnsafeFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise UnsafeFileError(f"{where}: the header is not JSON; give another file") from error
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        if not IDENTIFIER.fullmatch(name) or name.startswith("."):
            raise UnsafeFileError(f"{where}: tensor name {name[:40]!r} is not allowed; give another file")
        if not isinstance(entry, dict) or entry.get("dtype") not in TYPES:
            raise UnsafeFileError(f"{where}: tensor {name} is not of type {', '.join(TYPES)}; give another file")
        shape = entry.get("shape")
        if (
            not isinstance(shape, list)
            or any(not isinstance(d, int) or d < 0 for d in shape)
            or math.prod(shape) > 2**40
        ):
            raise UnsafeFileError(f"{where}: tensor {name} has an impossible shape; give another file")
        if 0 in shape and math.prod(d for d in shape if d) > 2**32:
            raise UnsafeFileError(f"{where}: tensor {name} has an impossible shape; give another file")


def _read_manifest(path: Path) -> dict[str, str]:
    try:
        files = json.loads(path.read_text())["files"]
        manifest = {name: str(files[name]["sha256"]) for name in (WEIGHTS, META)}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnsafeFileError(f"{path}: not a manifest of ours; use another checkpoint") from error
    return manifest
