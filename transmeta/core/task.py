"""What is to be learned: a task, its metric, and the pair of a source checkpoint and a target task."""

import dataclasses
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from transmeta.core import codec
from transmeta.errors import InputError

ParamValue = bool | int | float | str
Params = Mapping[str, ParamValue]

IDENTIFIER: Final = re.compile(r"[A-Za-z0-9._-]{1,96}")
FEW_SHOTS: Final = (3, 10, 30)
"""The usual few-shot restrictions, in training examples per class; None means all."""


class Direction(StrEnum):
    """Whether a larger value of a metric is better."""

    MAXIMISE = "maximise"
    MINIMISE = "minimise"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A measure of quality that knows which way is better."""

    name: str
    direction: Direction

    def utility(self, value: float) -> float:
        """Returns `value` such that higher is better, whatever the direction."""
        return value if self.direction is Direction.MAXIMISE else -value


ACCURACY: Final = Metric(name="accuracy", direction=Direction.MAXIMISE)


class Modality(StrEnum):
    """What one example is."""

    IMAGE = "image"
    """uint8, (height, width, channels)."""
    TABULAR = "tabular"
    """float32, (columns,)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Data, its splits and a metric, as a small value: the arrays are loaded by the provider it names.

    Attributes:
        name: what people type, such as `glyphs-grek`; the id adds shots and seed.
        provider: the entry point (group `transmeta.tasks`) that loads it.
        params: what the provider needs, such as a path; JSON scalars.
        dataset: tasks of one data set leave a split together, and a checkpoint trained on it is never offered for it.
        domain: the kind of data (scripts, icons, photos, ...), the headline split of `meta_test`.
        shape: of one example: (height, width, channels) or (columns,).
        shots: training examples per class; None for all.
        seed: fixes the split and the choice of shots.
        fingerprint: digest of the raw data, so that changed data is a changed task.
    """

    name: str
    provider: str
    params: Params
    dataset: str
    domain: str
    modality: Modality
    shape: tuple[int, ...]
    class_count: int
    fingerprint: str
    metric: Metric = ACCURACY
    shots: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_identifier(self.name, kind="task name")
        if self.class_count < 2:
            raise InputError(f"task {self.name}: {self.class_count} class(es); at least 2 are needed to learn anything")
        if self.shots is not None and self.shots < 1:
            raise InputError(f"task {self.name}: {self.shots} shots; give 1 or more, or leave it out for all")

    @property
    def id(self) -> str:
        """Name, shots and seed, such as `glyphs-grek.k10.s0`, and the fingerprint's head."""
        shots = "all" if self.shots is None else f"k{self.shots}"
        return f"{self.name}.{shots}.s{self.seed}.{self.fingerprint[:8]}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaskPair:
    """A source checkpoint, by the id of its model card, and the target task that it may be transferred to."""

    source: str
    target: Task


def check_identifier(name: str, *, kind: str) -> str:
    """Returns `name` unchanged if it is safe in file names, tables and URLs.

    Raises:
        InputError: if it holds anything but letters, digits, dot, underscore and hyphen, or is too long.
    """
    if not IDENTIFIER.fullmatch(name) or name.startswith((".", "-")):
        shown = name if len(name) <= 40 else name[:40] + "..."
        raise InputError(
            f"{kind} {shown!r}: use 1 to 96 letters, digits, '.', '_' or '-', starting with a letter or digit"
        )
    return name


def params_key(params: Params) -> str:
    """Returns canonical text for `params`, equal for equal values."""
    return codec.dumps(params)
