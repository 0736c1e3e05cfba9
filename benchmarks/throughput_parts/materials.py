"""What the workloads need beside the package: digits as a table, a source for tables, and EfficientNet-lite0."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from transmeta.core.plan import OptimiserPlan
from transmeta.core.task import Task
from transmeta.errors import InputError
from transmeta.models.importer import import_model
from transmeta.tasks.arrays import ArrayTasks
from transmeta.tasks.catalogue import find_task, load_task
from transmeta.trials.source import SourceSpec, open_source_training

LITE0: Final = "efficientnet-lite0"
TABLE_SOURCE: Final = "letters"
SIDE: Final = 8
TABLE: Final = "digits-table"


def make_models(folder: Path) -> str | None:
    """Fills `folder` with the source models that are not packaged; returns why EfficientNet-lite0 is missing, if so."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = SourceSpec(
        name=TABLE_SOURCE,
        architecture="mlp",
        tasks=(_table("glyphs-latn", name="latin-table", folder=folder.parent / "data"),),
        optimiser=OptimiserPlan(learning_rate=3e-3, epochs=12, weight_decay=1e-2),
    )
    training = open_source_training(spec)
    value = 0.0
    while not training.fit.is_done:
        value = training.fit.advance().value
    training.save(folder, score=value)
    try:
        import_model(LITE0, folder=folder)
    except InputError as error:
        return str(error)
    return None


def make_table(folder: Path) -> Path:
    """Writes scikit-learn's digits as a table of 64 columns to `folder` and returns the file."""
    return Path(str(_table("digits", name=TABLE, folder=folder).params["path"]))


def _table(task: str, *, name: str, folder: Path) -> Task:
    """Returns a packaged image task as a table: each image as the means of 8×8 blocks, 64 columns."""
    data = load_task(find_task(task))
    splits = (data.train, data.validation, data.test)
    x = np.concatenate([_blocks(split.x) for split in splits])
    y = np.concatenate([split.y for split in splits])
    folder.mkdir(parents=True, exist_ok=True)
    return ArrayTasks.save(x, np.array([data.class_names[label] for label in y]), folder=folder, name=name)


def _blocks(x: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    images = x[..., 0].astype(np.float32)
    step = images.shape[1] // SIDE
    return images.reshape(len(x), SIDE, step, SIDE, step).mean(axis=(2, 4)).reshape(len(x), SIDE * SIDE)
