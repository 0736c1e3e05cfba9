"""What travels with a job: a folder, and a wheel of ours, unpacked here so that no node installs anything."""

import dataclasses
import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, final

from transmeta.errors import InputError, UnsafeFileError
from transmeta.execution.ray import session  # noqa: F401  # sets Ray's environment before Ray is imported

# isort: split
from ray._private.ray_constants import RAY_RUNTIME_ENV_IGNORE_GITIGNORE, get_runtime_env_default_excludes
from ray._private.runtime_env.packaging import get_uri_for_directory

EXCLUDED: Final = (".transmeta",)
"""A workspace is written by the job itself, so it stays on the shared file system."""
LARGEST_WHEEL_BYTES: Final = 500 * 2**20


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """What travels with a job.

    Attributes:
        runtime_env: in Ray's form; holds local paths that exist as long as the shipment is open.
        digests: of the contents, by what they are; equal for equal contents, wherever they lie.
    """

    runtime_env: Mapping[str, str | list[str]]
    digests: Mapping[str, str]


@contextmanager
def shipment(*, working_dir: Path | None, wheel: Path | None) -> Iterator[Shipment]:
    """Opens what travels with a job.

    Args:
        working_dir: becomes the directory that the job runs in, on every node, without what .gitignore names.
        wheel: of pure Python; goes before what is installed on the nodes.

    Raises:
        InputError: if the folder is not there, or the wheel is not one of pure Python.
        UnsafeFileError: if the wheel names files outside of itself.
    """
    runtime_env: dict[str, str | list[str]] = {}
    digests: dict[str, str] = {}
    with TemporaryDirectory(prefix="transmeta-ship-") as folder:
        if working_dir is not None:
            if not working_dir.is_dir():
                raise InputError(f"working directory {working_dir}: there is no such folder; correct the path")
            runtime_env["working_dir"] = str(working_dir.resolve())
            runtime_env["excludes"] = list(EXCLUDED)
            digests["working_dir"] = _content(working_dir.resolve())
        if wheel is not None:
            runtime_env["py_modules"] = [str(part) for part in _unpack(wheel, to=Path(folder))]
            digests["wheel"] = hashlib.sha256(wheel.read_bytes()).hexdigest()
        yield Shipment(runtime_env=runtime_env, digests=digests)


def _content(folder: Path) -> str:
    """Returns the name that Ray gives the folder's package, which holds the hash of exactly what it uploads."""
    excludes = [*get_runtime_env_default_excludes(), *EXCLUDED]
    respects_gitignore = os.environ.get(RAY_RUNTIME_ENV_IGNORE_GITIGNORE, "0") != "1"
    uri: str = get_uri_for_directory(str(folder), include_gitignore=respects_gitignore, excludes=excludes)
    return uri


def _unpack(wheel: Path, *, to: Path) -> tuple[Path, ...]:
    """Unpacks the wheel; returns its top folders: the package, and the metadata that holds the entry points.

    Ray would run pip on each node for a wheel, which downloads everything that the wheel depends on.
    """
    if not wheel.is_file() or not wheel.name.endswith("-none-any.whl"):
        raise InputError(f"wheel {wheel}: not the file of a pure Python wheel (*-none-any.whl); build one")
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if sum(member.file_size for member in members) > LARGEST_WHEEL_BYTES:
                raise InputError(f"wheel {wheel}: more than {LARGEST_WHEEL_BYTES >> 20} MiB; leave data out of it")
            for member in members:
                target = (to / member.filename).resolve()
                if not target.is_relative_to(to.resolve()):
                    raise UnsafeFileError(f"wheel {wheel}: {member.filename!r} lies outside of it; do not use it")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(member))
    except zipfile.BadZipFile as error:
        raise UnsafeFileError(f"wheel {wheel}: not a wheel ({error}); build it again") from error
    return tuple(sorted(path for path in to.iterdir() if path.is_dir()))
