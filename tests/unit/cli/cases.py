"""What tests of commands share: the outcome of a command, and real images in files."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from transmeta.training.data import TaskData

CLASSES = ("four", "one", "seven", "two")
DIGIT_OF = {"four": 4, "one": 1, "seven": 7, "two": 2}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        """The one document on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """What it says on stderr."""
        return self.err.splitlines()


Run = Callable[..., Outcome]


def write_images(data: "TaskData", folder: Path, *, count: int, of_test: bool = False) -> None:
    """Writes `count` images of each of the four digits into `folder`, a sub-folder each."""
    split = data.test if of_test else data.train
    for name, digit in DIGIT_OF.items():
        (folder / name).mkdir(parents=True)
        for number, row in enumerate(np.flatnonzero(split.y == digit)[:count]):
            Image.fromarray(split.x[row, :, :, 0]).save(folder / name / f"{number:02d}.png")
