"""The arrays of a task."""

import dataclasses

import numpy as np
import numpy.typing as npt

Examples = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Examples with their labels.

    Attributes:
        x: images uint8 (count, height, width, channels), 1 or 3 channels; or a table float32 (count, columns).
        y: int64 (count,), class indices from 0.
    """

    x: Examples
    y: Labels

    def __len__(self) -> int:
        return len(self.y)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskData:
    """Three disjoint splits; no group (font family, icon set, drawer, file content) is in two of them."""

    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
