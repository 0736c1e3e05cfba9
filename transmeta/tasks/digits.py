"""Handwritten digits from scikit-learn: 1,797 images of 8×8 by 13 writers, enlarged to 32×32."""

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

import numpy as np

from transmeta.core.task import Params, Task
from transmeta.errors import DataError
from transmeta.tasks.params import check_keys, existing
from transmeta.tasks.pool import Pool, describe_pool, load_pool, without_copies
from transmeta.training.data import TaskData

PROVIDER: Final = "digits"
SCALE: Final = 4


@final
class DigitsTasks:
    """The one task `digits`, without parameters. Writers are not told apart by the data, so they are not split."""

    def packaged(self) -> Sequence[Task]:
        """Returns the one task."""
        return (self.describe({}),)

    def describe(self, params: Params, *, shots: int | None = None, seed: int = 0) -> Task:
        """Returns the task; there is nothing to choose but shots and seed."""
        check_keys(params, known=(), provider=PROVIDER)
        return describe_pool(_pool(), provider=PROVIDER, params=params, shots=shots, seed=seed)

    def load(self, task: Task) -> TaskData:
        """Returns the arrays of `task`, within `pool.limits_for` its shots: at most 60 per class for training."""
        check_keys(task.params, known=(), provider=PROVIDER)
        return load_pool(_pool(), task=task)


@functools.cache
def _pool() -> Pool:
    table = np.loadtxt(_file(), delimiter=",")
    images, labels = table[:, :-1], table[:, -1]
    levels = images.reshape(-1, 8, 8) * (255 / 16)
    enlarged = np.repeat(np.repeat(np.round(levels), SCALE, axis=1), SCALE, axis=2)
    return without_copies(
        Pool(
            name="digits",
            dataset="digits",
            domain="digits",
            x=enlarged.astype(np.uint8),
            y=labels.astype(np.int64),
            class_names=tuple(str(digit) for digit in range(10)),
        )
    )


def _file() -> Path:
    """Returns where scikit-learn keeps the digits, without importing it, which takes a second."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise DataError("task digits: scikit-learn is not installed; install it")
    return existing(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz")
