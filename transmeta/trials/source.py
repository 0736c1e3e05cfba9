"""Training of source models: what is trained, by which plan, and the card that comes out."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import torch

from transmeta import plugins
from transmeta.core import codec
from transmeta.core.model import ModelCard, TrainedOn
from transmeta.core.plan import Initialisation, OptimiserPlan, Precision, TransferPlan
from transmeta.core.task import Modality, Task, check_identifier
from transmeta.errors import DataError
from transmeta.models.architecture import Architecture
from transmeta.models.library import save_model
from transmeta.tasks.catalogue import load_task
from transmeta.training.data import Split, TaskData
from transmeta.training.fit import ALONE, Fit, Replica
from transmeta.training.planned import PlannedModel, apply
from transmeta.training.seeding import derive_seed
from transmeta.trials.describe import source_outputs

FEATURE_EXAMPLES: Final = 600
"""Examples from which the statistics of a source's features are taken."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """All that determines a source model.

    Attributes:
        name: what people type; the model's id adds a digest, so that another training is another model.
        tasks: trained on together; the classes of all of them are told apart.
        augment_shift: random shifts by up to this many pixels.
    """

    name: str
    architecture: str
    tasks: tuple[Task, ...]
    optimiser: OptimiserPlan
    augment_shift: int = 2
    seed: int = 0
    schema: int = 1
    precision: Precision = dataclasses.field(default=Precision.FLOAT32, metadata=codec.UNSAID)

    def __post_init__(self) -> None:
        check_identifier(self.name, kind="model name")
        if not self.tasks:
            raise DataError(f"source {self.name}: no tasks; name at least one")
        sizes = {
            (task.modality, *(task.shape[:2] if task.modality is Modality.IMAGE else task.shape)) for task in self.tasks
        }
        if len(sizes) > 1:
            shown = ", ".join(f"{task.name} {task.shape}" for task in self.tasks)
            raise DataError(f"source {self.name}: tasks of different sizes ({shown}); train one model for each size")

    @property
    def model_id(self) -> str:
        """Name and digest, such as `latin-1f2e3d4c`."""
        return f"{self.name}-{self.digest[:8]}"

    @property
    def digest(self) -> str:
        """Hash of the spec; names its run, so that asking again resumes and never mixes."""
        return codec.digest(self)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SourceTraining:
    """A source model under training."""

    spec: SourceSpec
    card: ModelCard
    data: TaskData
    planned: PlannedModel
    fit: Fit

    def save(self, folder: Path, *, score: float) -> ModelCard:
        """Makes the model durable as `folder/<model id>` and returns its card; `score` is the validation score."""
        sample = self.data.train.x[:: max(1, len(self.data.train) // FEATURE_EXAMPLES)]
        features, _ = source_outputs(self.planned.model, sample, card=self.card)
        card = dataclasses.replace(
            self.card,
            score=round(score, 6),
            feature_mean=_rounded(features.mean(axis=0)),
            feature_std=_rounded(features.std(axis=0)),
        )
        return save_model(folder / card.id, card=card, model=self.planned.model)


def open_source_training(spec: SourceSpec, *, replica: Replica = ALONE, device: str = "cpu") -> SourceTraining:
    """Returns the training of a source model from random weights, before its first epoch."""
    data = merged([load_task(task) for task in spec.tasks])
    architecture = cast(Architecture, plugins.load(plugins.MODELS, name=spec.architecture))
    blank = architecture.card(input_shape=spec.tasks[0].shape)
    classes = len(data.class_names)
    card = dataclasses.replace(
        blank,
        id=spec.model_id,
        class_count=classes,
        trained_on=tuple(TrainedOn(dataset=task.dataset, domain=task.domain) for task in spec.tasks),
        note=f"{spec.optimiser.epochs} epochs on {', '.join(task.name for task in spec.tasks)}",
    )
    is_image = blank.modality is Modality.IMAGE
    plan = TransferPlan(
        trainable=tuple(range(card.stage_count)),
        optimiser=spec.optimiser,
        initialisation=Initialisation.RANDOM,
        augment_shift=spec.augment_shift if is_image else 0,
    )
    model = architecture.build(card)
    planned = apply(plan, model=model, card=card, class_count=classes, seed=derive_seed(spec.seed, "plan"))
    fit = Fit(
        planned,
        data,
        metric=spec.tasks[0].metric,
        seed=derive_seed(spec.seed, "fit"),
        replica=replica,
        device=torch.device(device),
        precision=spec.precision,
    )
    return SourceTraining(spec=spec, card=card, data=data, planned=planned, fit=fit)


def _rounded(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)


def merged(parts: Sequence[TaskData]) -> TaskData:
    """Returns all examples together, the classes of each part numbered after those of the parts before it.

    Grey images are repeated over three channels where another part has colour.
    """
    offsets = np.cumsum([0, *(len(part.class_names) for part in parts)])
    return TaskData(
        train=_joined([part.train for part in parts], offsets),
        validation=_joined([part.validation for part in parts], offsets),
        test=_joined([part.test for part in parts], offsets),
        class_names=tuple(name for part in parts for name in part.class_names),
    )


def _joined(splits: Sequence[Split], offsets: npt.NDArray[np.int64]) -> Split:
    channels = max(split.x.shape[-1] for split in splits) if splits[0].x.ndim == 4 else 0
    xs = [np.repeat(s.x, channels, axis=-1) if channels and s.x.shape[-1] < channels else s.x for s in splits]
    ys = [split.y + offset for split, offset in zip(splits, offsets, strict=False)]
    return Split(x=np.concatenate(xs), y=np.concatenate(ys).astype(np.int64))
