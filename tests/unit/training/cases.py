"""Small models, data and fits for the tests of training."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from transmeta.core.model import ModelCard
from transmeta.core.plan import OptimiserPlan, Schedule, TransferPlan
from transmeta.core.task import ACCURACY, Metric, Modality
from transmeta.models.library import ModelLibrary
from transmeta.training.data import Split, TaskData
from transmeta.training.fit import ALONE, Fit, FitReport, Replica
from transmeta.training.planned import PlannedModel, apply
from transmeta.training.staged import StagedModel

NUMBERS = OptimiserPlan(learning_rate=3e-3, epochs=3)
STEADY = dataclasses.replace(NUMBERS, schedule=Schedule.CONSTANT, warmup=0.0)
FULL = TransferPlan(trainable=(0, 1, 2, 3), optimiser=NUMBERS)

TABLE_CARD = ModelCard(
    id="table-1",
    architecture="mlp",
    modality=Modality.TABULAR,
    input_shape=(3,),
    stages=(),
    feature_count=4,
)


def table_model(*, seed: int = 0, bias: bool = True) -> StagedModel:
    """Two linear stages of 4 features on 3 columns."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stages = [nn.Linear(3, 4, bias=bias), nn.Sequential(nn.ReLU(), nn.Linear(4, 4, bias=bias))]
        return StagedModel(stages, feature_count=4, class_count=1)


def table_data(*, count: int = 12, seed: int = 0) -> TaskData:
    """`count` examples of 3 columns and 2 classes in each split."""
    rng = np.random.default_rng(seed)

    def split() -> Split:
        y = np.arange(count, dtype=np.int64) % 2
        return Split(x=(rng.normal(size=(count, 3)) + y[:, None]).astype(np.float32), y=y)

    return TaskData(train=split(), validation=split(), test=split(), class_names=("no", "yes"))


def planned_table(plan: TransferPlan, *, seed: int = 0) -> PlannedModel:
    """The table model under `plan`."""
    return apply(plan, model=table_model(), card=TABLE_CARD, class_count=2, seed=seed)


def planned(plan: TransferPlan, *, card: ModelCard, models: Path, seed: int = 0) -> PlannedModel:
    """The model of `card` under `plan`, for digits."""
    model = ModelLibrary([models]).load(card)
    return apply(plan, model=model, card=card, class_count=10, seed=seed)


def fit_of(
    made: PlannedModel, data: TaskData, *, seed: int = 0, metric: Metric = ACCURACY, replica: Replica = ALONE
) -> Fit:
    """A fit of `made`, before its first epoch."""
    return Fit(made, data, metric=metric, seed=seed, replica=replica)


def finish(fit: Fit) -> list[FitReport]:
    """Runs the fit to its end and returns its reports."""
    reports = []
    while not fit.is_done:
        reports.append(fit.advance())
    return reports


def weights(fit: Fit) -> dict[str, Tensor]:
    """A copy of the model's weights, by name."""
    prefix = "model."
    return {key.removeprefix(prefix): t for key, t in fit.state().tensors.items() if key.startswith(prefix)}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Names of the tensors that differ in any bit."""
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}
