"""Reads .npz files that may come from anybody: nothing is unpickled, and sizes are checked before memory is taken."""

import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from transmeta.errors import DataError, UnsafeFileError

Arrays = Mapping[str, npt.NDArray[np.generic]]

MAX_BYTES: Final = 16 * 2**30
_ZIP_MAGIC: Final = b"PK\x03\x04"


def read_npz(path: Path, *, required: Sequence[str], optional: Sequence[str] = ()) -> Arrays:
    """Returns the `required` arrays of `path`, and those of `optional` that it has.

    Raises:
        DataError: if there is no such file, or it lacks an array.
        UnsafeFileError: if it is not an .npz file, is corrupt, too large, or holds pickled objects.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(len(_ZIP_MAGIC))
            if magic != _ZIP_MAGIC:
                raise UnsafeFileError(f"{path}: not an .npz file (starts with {magic!r}); write it with numpy.savez")
            with zipfile.ZipFile(file) as archive:
                return _read(archive, path=path, required=required, optional=optional)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check the path") from error
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise UnsafeFileError(f"{path}: cannot be read ({error}); write the file again") from error


def _read(archive: zipfile.ZipFile, *, path: Path, required: Sequence[str], optional: Sequence[str]) -> Arrays:
    infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    missing = [name for name in required if name not in infos]
    if missing:
        raise DataError(f"{path}: no array {missing[0]!r}; it holds {', '.join(sorted(infos)) or 'none'}")
    wanted = [name for name in (*required, *optional) if name in infos]
    total = sum(infos[name].file_size for name in wanted)
    if total > MAX_BYTES:
        raise UnsafeFileError(f"{path}: {total} bytes when unpacked, more than {MAX_BYTES}; split the file")
    return {name: _read_array(archive, infos[name], where=f"{path}: array {name!r}") for name in wanted}


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, *, where: str) -> npt.NDArray[np.generic]:
    try:
        with archive.open(info) as file:
            _check_header(file, size=info.file_size, where=where)
        with archive.open(info) as file:
            array: npt.NDArray[np.generic] = npy.read_array(file, allow_pickle=False)
            return array
    except UnsafeFileError:
        raise
    except (ValueError, RuntimeError, SyntaxError, TypeError) as error:
        raise UnsafeFileError(f"{where} cannot be read ({error}); write the file again") from error


def _check_header(file: IO[bytes], *, size: int, where: str) -> None:
    version = npy.read_magic(file)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise UnsafeFileError(f"{where}: format {version}; write the file again with plain arrays")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise UnsafeFileError(f"{where} holds pickled objects, which could run code; save numbers or texts instead")
    if any(length < 0 for length in shape) or math.prod(shape) * dtype.itemsize > size:
        raise UnsafeFileError(f"{where}: shape {shape} does not fit into its {size} bytes; write the file again")
