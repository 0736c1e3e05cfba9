"""What training tiers were measured to cost on this machine, kept on disk for the next time."""

import dataclasses
import json
import logging
import platform
from pathlib import Path
from typing import Final, final

import torch

from transmeta.core import codec
from transmeta.training.files import write_atomically
from transmeta.training.structure import Structure

FILE: Final = "costs.json"
MARGIN: Final = 0.87
"""A stack has to be faster by more than the noise of a measurement; waiting for that loses 1.15 times at most."""

STEPS: Final = 4
"""Raised whenever a stack's step is made another way: what was measured before is measured again."""

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TierCosts:
    """Wall seconds of the first epochs of a kind of trial, for each trial.

    Attributes:
        single_s: by itself.
        stack_s: in a stack of a few.
        agrees: whether both showed the same numbers.
        parameter_count: trained weights of the largest of them.
    """

    single_s: float
    stack_s: float
    agrees: bool
    parameter_count: int
    schema: int = 1

    @property
    def is_stacked(self) -> bool:
        """Whether trials of this kind are to be trained as stacks."""
        return self.agrees and self.stack_s < MARGIN * self.single_s


@final
class CostBook:
    """Measured costs by kind of trial, in one file of the cache folder; a lost or damaged file is measured again.

    Args:
        folder: None to remember for the life of the process only.
    """

    def __init__(self, folder: str | None) -> None:
        self._path = None if folder is None else Path(folder) / FILE
        self._known: dict[str, TierCosts] = {}

    def read(self, kind: str) -> TierCosts | None:
        """Returns what is known of `kind`; None if it was never measured here."""
        if kind not in self._known:
            self._known |= self._load()
        return self._known.get(kind)

    def write(self, kind: str, costs: TierCosts) -> None:
        """Remembers `costs`; of several processes at once the last one's file stays."""
        self._known = {**self._load(), **self._known, kind: costs}
        if self._path is None:
            return
        text = json.dumps({name: codec.to_json(known) for name, known in sorted(self._known.items())}, indent=1)
        try:
            write_atomically(self._path, text.encode())
        except OSError as error:
            logger.warning("%s: cannot be written (%s); costs are measured again next time", self._path, error)

    def _load(self) -> dict[str, TierCosts]:
        if self._path is None or not self._path.is_file():
            return {}
        try:
            entries = json.loads(self._path.read_bytes())
            return {name: codec.from_json(TierCosts, entry, where=name) for name, entry in entries.items()}
        except (OSError, ValueError, AttributeError):
            return {}


def kind_of(shape: Structure) -> str:
    """Returns a name for what determines the cost of a trial on this machine, beside the size of its data."""
    added = "+".join(f"{type(addition).__name__}@{getattr(addition, 'cut', '')}" for addition in shape.additions)
    stages = ".".join(str(index) for index in shape.trainable) or "head"
    flags = [str(shape.scope), f"batch {shape.batch_size}"]
    flags += ["shifted"] if shape.augment_shift else []
    flags += ["penalised"] if shape.has_penalty else []
    machine = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} torch {torch.__version__}, steps {STEPS}"
    return f"{shape.model}: stages {stages}, {added or 'nothing'} added, {', '.join(flags)}; {machine}"
