"""The words of a command as they must be for a job, which runs in another directory on another machine."""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Final, final

from transmeta.errors import InputError

WRITTEN: Final = ("--out", "--workspace", "--store")
"""Options that name what the command writes: never moved into the folder that travels with the job."""
WORKSPACE: Final = "--workspace"
SQLITE: Final = "sqlite:///"
PLACED: Final = ("--workers", "--cpus-per-worker", "--gpus-per-worker")
_TASK_TAIL: Final = re.compile(r"(?:#[^#/]*)?(?:@\d+)?$")


class Kind(Enum):
    """What a word of a command is."""

    FLAG = auto()
    """An option without a value."""
    PLAIN = auto()
    """A value; a path only if it looks like one and exists."""
    PATH = auto()
    """A path, whether it exists or not."""
    DATA = auto()
    """A path if it exists, else the name of a task; may end in `#task` and `@shots`."""
    STORE = auto()
    """A file or a URL."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CommandShape:
    """What the words of one command are.

    Attributes:
        depth: of the words, how many name the command: 2 for `experience stats`.
        options: by name, such as `--out`.
        arguments: in their order; the last one also stands for all that follow.
    """

    depth: int
    options: Mapping[str, Kind]
    arguments: tuple[Kind, ...] = ()


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the words were written, and what goes along.

    Attributes:
        here: the directory that relative paths are meant from.
        working_dir: the folder that is uploaded and becomes the job's directory, if any.
        is_task: whether a task is called so; its name wins over a folder of the same name, as it does here.
    """

    here: Path
    working_dir: Path | None = None
    is_task: Callable[[str], bool] = lambda name: False

    def path(self, value: str) -> Path:
        """Returns `value` as an absolute path; links stay, since other nodes have them as well."""
        return Path(os.path.abspath(self.here / Path(value).expanduser()))

    def travels(self, path: Path) -> str | None:
        """Returns how the job finds `path`, if it travels with the job."""
        folder = None if self.working_dir is None else self.path(str(self.working_dir))
        return f"./{path.relative_to(folder)}" if folder is not None and path.is_relative_to(folder) else None


def remote_command(
    words: Sequence[str], *, shape: CommandShape, place: Place, resources: Mapping[str, float | None]
) -> tuple[str, ...]:
    """Returns `words` with their paths made absolute and with the options that say where trials run.

    A path that is read and travels with the job becomes relative to the job's directory. A command that has a
    workspace and is given none gets that of the directory the words were written in.

    Args:
        words: such as `adapt --data photos --out model`.
        resources: values of the options in `PLACED` that are passed on; None is left out.

    Raises:
        InputError: if one of these is among the words already.
    """
    moved = list(words[: shape.depth])
    given = set()
    arguments = list(shape.arguments)
    rest = list(words[shape.depth :])
    tail: list[str] = []
    while rest:
        word = rest.pop(0)
        if word == "--":
            tail = ["--", *(_moved(each, kind=_next(arguments), place=place) for each in rest)]
            break
        if not word.startswith("-") or word == "-":
            moved.append(_moved(word, kind=_next(arguments), place=place))
            continue
        name, equals, value = word.partition("=")
        given.add(name)
        kind = shape.options.get(name, Kind.FLAG)
        if equals:
            moved.append(f"{name}={_moved(value, kind=kind, place=place, option=name)}")
        elif kind is Kind.FLAG or not rest:
            moved.append(word)
        else:
            moved += [word, _moved(rest.pop(0), kind=kind, place=place, option=name)]
    return (*moved, *_added(given, shape=shape, place=place, resources=resources), *tail)


def _added(
    given: set[str], *, shape: CommandShape, place: Place, resources: Mapping[str, float | None]
) -> tuple[str, ...]:
    added: list[str] = []
    for name, value in resources.items():
        if value is not None and name in given:
            raise InputError(f"{name}: given before and after --; give it once")
        if value is not None:
            added += [name, f"{value:g}"]
    if WORKSPACE in shape.options and WORKSPACE not in given:
        added += [WORKSPACE, str(place.path(".transmeta"))]
    return tuple(added)


def _next(arguments: list[Kind]) -> Kind:
    return arguments.pop(0) if len(arguments) > 1 else (arguments[0] if arguments else Kind.PLAIN)


def _moved(value: str, *, kind: Kind, place: Place, option: str = "") -> str:
    if kind is Kind.STORE and value.startswith(SQLITE):
        return f"{SQLITE}{place.path(value.removeprefix(SQLITE))}"
    if not value or "://" in value:
        return value
    if kind in (Kind.PATH, Kind.STORE):
        path = place.path(value)
        inside = place.travels(path) if option not in WRITTEN and path.exists() else None
        return inside or str(path)
    return _moved_if_there(value, kind=kind, place=place)


def _moved_if_there(value: str, *, kind: Kind, place: Place) -> str:
    looks_like_path = "/" in value or value.startswith(("~", ".")) or Path(value).suffix != ""
    if kind is not Kind.DATA and not looks_like_path:
        return value
    tail = _TASK_TAIL.search(value)
    cut = tail.start() if tail is not None and not place.path(value).exists() else len(value)
    path = place.path(value[:cut])
    if not value[:cut] or not path.exists() or (not looks_like_path and place.is_task(value)):
        return value
    return f"{place.travels(path) or path}{value[cut:]}"
