"""A suffix that is run as products has the numbers of its modules."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from transmeta.core.model import ModelCard
from transmeta.core.plan import L2SP, Lora, OptimiserPlan, ResidualAdapter, Scope, SideNetwork, TransferPlan
from transmeta.core.task import ACCURACY, Modality
from transmeta.models.norm import SafeGroupNorm
from transmeta.training import products
from transmeta.training.data import Split, TaskData
from transmeta.training.fit import Fit
from transmeta.training.inputs import Inputs
from transmeta.training.planned import apply
from transmeta.training.products import as_products
from transmeta.training.stack import Stack
from transmeta.training.stack_member import StackMember
from transmeta.training.staged import StagedModel

from .cases import finish, weights

RATE = OptimiserPlan(learning_rate=3e-3, epochs=3, batch_size=5)
IMAGES = ModelCard(
    id="images-1", architecture="cnn", modality=Modality.IMAGE, input_shape=(6, 6, 3), stages=(), feature_count=8
)
TABLES = dataclasses.replace(IMAGES, id="tables-1", modality=Modality.TABULAR, input_shape=(5,))
ON_IMAGES = {
    "last block": TransferPlan(trainable=(1,), optimiser=RATE),
    "last block, penalised": TransferPlan(
        trainable=(1,), optimiser=RATE, penalty=L2SP(strength=0.1, head_strength=0.01)
    ),
    "last block, probed first": TransferPlan(trainable=(1,), optimiser=RATE, probe_epochs=2),
    "last norm": TransferPlan(trainable=(1,), optimiser=RATE, scope=Scope.BIAS),
    "adapter": TransferPlan(trainable=(), optimiser=RATE, additions=(ResidualAdapter(cut=1),)),
    "low rank": TransferPlan(trainable=(), optimiser=RATE, additions=(Lora(rank=2, scale=3.0, cut=1),)),
    "shifted": TransferPlan(trainable=(1,), optimiser=RATE, augment_shift=1),
}
ON_TILES = {name: ON_IMAGES[name] for name in ("last block", "last block, penalised", "shifted")}
ON_TABLES = {
    "all": TransferPlan(trainable=(0, 1), optimiser=RATE),
    "second": TransferPlan(trainable=(1,), optimiser=RATE),
    "first": TransferPlan(trainable=(0,), optimiser=RATE),
    "biases": TransferPlan(trainable=(0, 1), optimiser=RATE, scope=Scope.BIAS),
    "adapters": TransferPlan(trainable=(), optimiser=RATE, additions=(ResidualAdapter(),)),
    "low rank": TransferPlan(trainable=(), optimiser=RATE, additions=(Lora(rank=2, scale=3.0),)),
}


def image_model(*, stride: int = 2) -> StagedModel:
    """Two convolutions of 4 and 8 channels, the second with that stride."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), SafeGroupNorm(2, 4), nn.ReLU())
        second = nn.Sequential(nn.Conv2d(4, 8, 3, stride=stride, padding=1, bias=False), SafeGroupNorm(2, 8), nn.ReLU())
        return StagedModel([first, second], feature_count=8, class_count=1)


def tile_model() -> StagedModel:
    """The same, the second read in tiles."""
    return image_model(stride=1)


def table_model() -> StagedModel:
    """Two linear layers of 8 features with layer norms."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        stages = [nn.Sequential(nn.Linear(width, 8), nn.LayerNorm(8), nn.ReLU()) for width in (5, 8)]
        return StagedModel(stages, feature_count=8, class_count=1)


def image_data(count: int = 12) -> TaskData:
    rng = np.random.default_rng(0)
    y = np.arange(count, dtype=np.int64) % 2
    splits = [Split(x=rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8), y=y) for _ in range(3)]
    return TaskData(train=splits[0], validation=splits[1], test=splits[2], class_names=("no", "yes"))


def table_data(count: int = 12) -> TaskData:
    rng = np.random.default_rng(0)
    y = np.arange(count, dtype=np.int64) % 2
    splits = [Split(x=rng.normal(size=(count, 5)).astype(np.float32), y=y) for _ in range(3)]
    return TaskData(train=splits[0], validation=splits[1], test=splits[2], class_names=("no", "yes"))


CASES = {
    **{f"images: {name}": (plan, IMAGES, image_model, image_data) for name, plan in ON_IMAGES.items()},
    **{f"tiles: {name}": (plan, IMAGES, tile_model, image_data) for name, plan in ON_TILES.items()},
    **{f"tables: {name}": (plan, TABLES, table_model, table_data) for name, plan in ON_TABLES.items()},
}


def planned_of(plan, card, make, *, seed, rate=1.0):
    numbers = dataclasses.replace(plan.optimiser, learning_rate=plan.optimiser.learning_rate * rate, weight_decay=0.01)
    plan = dataclasses.replace(plan, optimiser=numbers)
    made = apply(plan, model=make().to(torch.float64), card=card, class_count=2, seed=seed)
    made.model.to(torch.float64)
    return made


def member_of(planned, data, *, seed) -> StackMember:
    def open_inputs(name: str, start: int, waits: bool = True) -> Inputs:
        return Inputs(
            getattr(data, name),
            model=planned.model,
            card=planned.card,
            start=start,
            keep_prepared=False,
            shift=planned.plan.augment_shift if name == "train" else 0,
            device=torch.device("cpu"),
        )

    return StackMember(
        planned=planned,
        data=data,
        metric=ACCURACY,
        seed=seed,
        values=planned.trained_values(),
        reader="one",
        open_inputs=open_inputs,
    )


def end_of(stack: Stack) -> list[dict[str, torch.Tensor]]:
    """Runs a stack whose members end together to the end, and returns their weights."""
    while not stack.is_complete(0):
        stack.advance()
    return [dict(stack.state(index)) for index in stack.live]


@pytest.mark.parametrize("seeds", [(0, 0, 0), (0, 1, 2)], ids=["same order", "other orders"])
@pytest.mark.parametrize("name", CASES)
def test_members_end_with_the_weights_of_their_fits_alone(name, seeds):
    plan, card, make, examples = CASES[name]
    data = examples()
    expected = []
    for k, seed in enumerate(seeds):
        fit = Fit(planned_of(plan, card, make, seed=seed, rate=1.0 + k), data, metric=ACCURACY, seed=seed)
        finish(fit)
        expected.append(weights(fit))
    made = [planned_of(plan, card, make, seed=seed, rate=1.0 + k) for k, seed in enumerate(seeds)]
    trained = dict(made[0].trained_values())
    assert as_products(made[0], start=plan.cut, trained=trained) is not None

    stack = Stack([member_of(one, data, seed=seed) for one, seed in zip(made, seeds, strict=True)])
    states = end_of(stack)

    for state, alone in zip(states, expected, strict=True):
        for key, value in alone.items():
            torch.testing.assert_close(state[key], value, rtol=1e-9, atol=1e-9)


def test_patches_that_would_be_too_large_are_cut_out_at_every_access(monkeypatch):
    plan, card, make, examples = CASES["images: adapter"]
    data = examples()

    def state():
        return end_of(Stack([member_of(planned_of(plan, card, make, seed=0), data, seed=0)]))[0]

    kept = state()
    monkeypatch.setattr(products, "PATCH_BYTES", 0)
    cut_out = state()

    for key, value in kept.items():
        torch.testing.assert_close(cut_out[key], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("plan", "start"),
    [
        (TransferPlan(trainable=(0, 1), optimiser=RATE), 0),
        (TransferPlan(trainable=(), optimiser=RATE, additions=(SideNetwork(width=2),)), 2),
    ],
    ids=["a second convolution", "a side network"],
)
def test_what_is_not_all_products_is_none(plan, start):
    made = planned_of(plan, IMAGES, image_model, seed=0)

    assert as_products(made, start=start, trained=made.trained_values().keys()) is None


@pytest.mark.parametrize(("make", "width"), [(tile_model, 16 * 4), (image_model, 9 * 4)], ids=["tiles", "patches"])
def test_a_block_of_plain_convolutions_is_read_in_tiles(make, width):
    made = planned_of(ON_IMAGES["last block"], IMAGES, make, seed=0)

    found = as_products(made, start=1, trained=made.trained_values().keys())

    assert found is not None
    assert found.read(torch.zeros(2, 4, 6, 6, dtype=torch.float64))[0].shape[-1] == width
