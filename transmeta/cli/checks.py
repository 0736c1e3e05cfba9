"""What the doctor looks at: the installation, the machine and the workspace."""

import dataclasses
import hashlib
import json
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from transmeta import __version__
from transmeta.errors import TransmetaError
from transmeta.workspace import Workspace

PACKAGES: Final = ("torch", "numpy", "scikit-learn", "pandas", "pyarrow", "safetensors", "SQLAlchemy", "ConfigSpace")
LEAST_PYTHON: Final = (3, 11)
LITTLE_DISK: Final = 5 * 2**30
LEAST_DISK: Final = 2**29
WAL_FIXED: Final = (3, 51, 3)
WAL_BACKPORTS: Final = ((3, 44, 6), (3, 50, 7))
"""The first SQLite, and earlier branches, without the WAL-reset bug (sqlite.org/wal.html#walresetbug)."""


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at; `remedy` is empty where all is well."""

    name: str
    state: State
    found: str
    remedy: str = ""


def examine(workspace: Workspace) -> Sequence[Check]:
    """Returns all checks; one that cannot be made has failed."""
    return [_guarded(name, check, workspace) for name, check in CHECKS]


Finding = tuple[State, str, str]


def _guarded(name: str, check: Callable[[Workspace], Finding], workspace: Workspace) -> Check:
    try:
        state, found, remedy = check(workspace)
    except (TransmetaError, OSError, ImportError) as error:
        what, _, remedy = " ".join(str(error).split()).partition("; ")
        state, found, remedy = State.FAIL, what, remedy or "install transmeta again"
    return Check(name=name, state=state, found=found, remedy=remedy)


def _python(workspace: Workspace) -> Finding:
    found = f"transmeta {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    if sys.version_info < LEAST_PYTHON:
        return State.FAIL, found, "install Python 3.11 or newer"
    return State.OK, found, ""


def _packages(workspace: Workspace) -> Finding:
    versions = {name: _version(name) for name in PACKAGES}
    missing = [name for name, found in versions.items() if found is None]
    if missing:
        return State.FAIL, f"{', '.join(missing)} not installed", f"pip install {' '.join(missing)}"
    return State.OK, ", ".join(f"{name} {found}" for name, found in versions.items()), ""


def _threads(workspace: Workspace) -> Finding:
    import torch

    found = f"{torch.get_num_threads()} torch thread(s); trials use one each"
    if os.environ.get("OMP_NUM_THREADS") != "1" and torch.get_num_threads() > 1:
        return State.WARN, found, "export OMP_NUM_THREADS=1: more threads slow small models down"
    return State.OK, found, ""


def _ray(workspace: Workspace) -> Finding:
    found = _version("ray")
    if found is None:
        return State.WARN, "not installed", "pip install 'ray[default,train,tune]', or use --executor local"
    return State.OK, f"ray {found}", ""


def _machine(workspace: Workspace) -> Finding:
    import torch

    return State.OK, f"{len(os.sched_getaffinity(0))} CPU(s), {torch.cuda.device_count()} GPU(s)", ""


def _disk(workspace: Workspace) -> Finding:
    folder = workspace.folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / 2**30:.1f} GiB free at {existing}"
    remedy = "free some space, or give another --workspace"
    if free < LITTLE_DISK:
        return (State.FAIL if free < LEAST_DISK else State.WARN), found, remedy
    return State.OK, found, ""


def _sqlite(workspace: Workspace) -> Finding:
    number = sqlite3.sqlite_version_info
    is_fixed = number >= WAL_FIXED or any(number[:2] == fix[:2] and number >= fix for fix in WAL_BACKPORTS)
    found = f"SQLite {sqlite3.sqlite_version}"
    if is_fixed:
        return State.OK, found, ""
    return (
        State.WARN,
        f"{found} has the WAL-reset bug, which needs two writers; a store has one at a time",
        "open the store with transmeta alone; for many writers use PostgreSQL, or SQLite 3.51.3",
    )


def _packs(workspace: Workspace) -> Finding:
    import numpy as np

    from transmeta import tasks
    from transmeta.tasks.npz import read_npz

    folder = Path(tasks.__file__).parent / "packs"
    expected = json.loads((folder / "packs.json").read_text())["packs"]
    for name, pack in expected.items():
        for array, found in read_npz(folder / f"{name}.npz", required=tuple(pack["sha256"])).items():
            head = f"{found.dtype.str} {found.shape} ".encode()
            if hashlib.sha256(head + np.ascontiguousarray(found).tobytes()).hexdigest() != pack["sha256"][array]:
                return State.FAIL, f"{name}.npz: array {array} differs from packs.json", "install transmeta again"
    images = sum(pack["images"] for pack in expected.values())
    return State.OK, f"{', '.join(expected)}: {images} images, as their checksums say", ""


def _models(workspace: Workspace) -> Finding:
    library = workspace.environment().library()
    cards = library.cards()
    if not cards:
        return State.WARN, "no source models", "transmeta train-source, or transmeta import-model efficientnet-lite0"
    for card in cards.values():
        library.load(card)
    return State.OK, f"{len(cards)} source model(s), weights as their cards say", ""


def _store(workspace: Workspace) -> Finding:
    with workspace.store() as store:
        faults = store.verify()
        if faults:
            more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
            return State.FAIL, f"{faults[0]}{more}", "transmeta experience verify; restore a backup or an export"
        return State.OK, f"{store.count()} trials, whole", ""


def _policy(workspace: Workspace) -> Finding:
    from transmeta.policies.files import load_policy

    folder = workspace.found_policy()
    if folder is None:
        return State.WARN, "none learned yet: choices are drawn evenly", "transmeta meta-train"
    policy = load_policy(folder, proposer=workspace.proposer(()))
    return State.OK, f"{policy.name} from {folder}", ""


def _postgres(workspace: Workspace) -> Finding:
    if find_spec("psycopg") is not None:
        return State.OK, f"psycopg {_version('psycopg')}", ""
    is_needed = (workspace.store_url or "").startswith("postgres")
    remedy = "pip install 'transmeta[postgres]'" + ("" if is_needed else ", if you want a PostgreSQL store")
    return (State.FAIL if is_needed else State.WARN), "no PostgreSQL driver", remedy


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


CHECKS: Final[Sequence[tuple[str, Callable[[Workspace], Finding]]]] = (
    ("python", _python),
    ("packages", _packages),
    ("torch threads", _threads),
    ("ray", _ray),
    ("machine", _machine),
    ("disk", _disk),
    ("sqlite", _sqlite),
    ("packaged data", _packs),
    ("source models", _models),
    ("store", _store),
    ("policy", _policy),
    ("postgresql", _postgres),
)
