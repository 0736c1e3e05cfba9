import dataclasses

import pytest
import torch
from torch import nn

from transmeta.core.plan import Lora, ResidualAdapter, SideNetwork, TransferPlan
from transmeta.errors import TrialFailure
from transmeta.training.additions import AdapterLayer, LoraLayer, add, initialise
from transmeta.training.staged import StagedModel, prepare

from .cases import STEADY, TABLE_CARD, fit_of, planned, planned_table, table_data, table_model

ADDITIONS = [
    Lora(rank=2, scale=4.0),
    Lora(rank=2, scale=4.0, cut=1),
    ResidualAdapter(),
    ResidualAdapter(cut=1),
    SideNetwork(width=4),
]
STEP = dataclasses.replace(STEADY, epochs=1)


@pytest.fixture
def x(digits_data, greek):
    return prepare(torch.from_numpy(digits_data.test.x[:20]), card=greek)


@pytest.mark.parametrize("addition", ADDITIONS, ids=str)
def test_an_addition_to_a_cnn_changes_nothing_at_first_and_something_after_a_step(
    addition, models, greek, digits_data, x
):
    plain = planned(TransferPlan(trainable=(), optimiser=STEP), card=greek, models=models).model
    made = planned(TransferPlan(trainable=(), additions=(addition,), optimiser=STEP), card=greek, models=models)

    assert torch.equal(made.model(x), plain(x))
    fit_of(made, digits_data).advance()
    assert not torch.equal(made.model.features(x), plain.features(x))


@pytest.mark.parametrize("addition", ADDITIONS, ids=str)
def test_an_addition_to_an_mlp_changes_nothing_at_first_and_something_after_a_step(addition):
    data = table_data()
    inputs = torch.from_numpy(data.test.x)
    made = planned_table(TransferPlan(trainable=(), additions=(addition,), optimiser=STEP))

    assert torch.equal(made.model.features(inputs), table_model().features(inputs))
    fit_of(made, data).advance()
    assert not torch.equal(made.model.features(inputs), table_model().features(inputs))


def test_an_addition_draws_the_same_weights_whatever_the_global_generator(models, greek):
    plan = TransferPlan(trainable=(), additions=(Lora(rank=2, scale=4.0),), optimiser=STEP)
    torch.manual_seed(1)
    first = planned(plan, card=greek, models=models).model.state_dict()
    torch.manual_seed(2)
    second = planned(plan, card=greek, models=models).model.state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_lora_of_a_linear_layer_is_a_low_rank_update_of_its_weight():
    base = nn.Linear(5, 4)
    layer = LoraLayer(base, rank=2, scale=3.0)
    nn.init.normal_(layer.up.weight)
    inputs = torch.randn(7, 5)

    merged = base.weight + 3.0 / 2 * layer.up.weight @ layer.down.weight

    assert torch.allclose(layer(inputs), nn.functional.linear(inputs, merged, base.bias), atol=1e-5)


def test_lora_of_a_convolution_is_a_low_rank_update_of_its_kernel():
    base = nn.Conv2d(3, 4, 3, stride=2, padding=2, dilation=2)
    layer = LoraLayer(base, rank=2, scale=3.0)
    nn.init.normal_(layer.up.weight)
    inputs = torch.randn(2, 3, 9, 9)

    merged = base.weight + 3.0 / 2 * torch.einsum("or,rikl->oikl", layer.up.weight[:, :, 0, 0], layer.down.weight)

    expected = nn.functional.conv2d(inputs, merged, base.bias, stride=2, padding=2, dilation=2)
    assert torch.allclose(layer(inputs), expected, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_an_adapter_of_a_convolution_is_an_update_of_its_kernels_centre(kernel):
    base = nn.Conv2d(3, 4, kernel, stride=2, padding=kernel // 2)
    layer = AdapterLayer(base)
    nn.init.normal_(layer.adapter.weight)
    inputs = torch.randn(2, 3, 9, 9)

    merged = base.weight.detach().clone()
    merged[:, :, kernel // 2, kernel // 2] += layer.adapter.weight[:, :, 0, 0]

    expected = nn.functional.conv2d(inputs, merged, base.bias, stride=2, padding=kernel // 2)
    assert torch.allclose(layer(inputs), expected, atol=1e-5)


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(3, 1, 0, 1), (3, 2, 0, 1), (3, 1, 2, 1), (4, 2, 1, 1), (2, 2, 0, 1), (1, 2, 1, 1), (3, 2, 1, 2)],
)
def test_an_adapter_meets_the_kernels_centre_whatever_the_padding(kernel, stride, padding, dilation, side):
    base = nn.Conv2d(3, 4, kernel, stride=stride, padding=padding, dilation=dilation)
    layer = AdapterLayer(base)
    nn.init.normal_(layer.adapter.weight)
    inputs = torch.randn(2, 3, side, side + 1)

    merged = base.weight.detach().clone()
    merged[:, :, (kernel - 1) // 2, (kernel - 1) // 2] += layer.adapter.weight[:, :, 0, 0]

    expected = nn.functional.conv2d(inputs, merged, base.bias, stride=stride, padding=padding, dilation=dilation)
    assert torch.allclose(layer(inputs), expected, atol=1e-5)


def test_an_adapter_of_a_layer_that_computes_another_size_than_its_numbers_say_fails_the_trial():
    class Cropped(nn.Conv2d):
        def forward(self, x):
            return super().forward(x)[:, :, 1:]

    layer = AdapterLayer(Cropped(3, 4, 3, padding=1))

    with pytest.raises(TrialFailure, match=r"a Cropped gives \(4, 7, 8\) and its adapter \(4, 8, 8\)"):
        layer(torch.zeros(2, 3, 8, 8))


def test_only_stages_from_the_cut_on_are_added_to():
    model = table_model()

    added = add(model, Lora(rank=1, scale=1.0, cut=1), card=TABLE_CARD)

    assert isinstance(model.stages[0], nn.Linear)
    assert isinstance(model.stages[1][1], LoraLayer)
    assert [tuple(p.shape) for p in added] == [(1, 4), (4, 1)]


def test_a_stage_that_is_itself_a_layer_is_added_to():
    model = table_model()

    add(model, ResidualAdapter(), card=TABLE_CARD)

    assert isinstance(model.stages[0], AdapterLayer)
    assert model.run(torch.zeros(2, 3), start=0, stop=1).shape == (2, 4)
    assert len(model.stages) == 2


def test_a_depthwise_convolution_is_left_alone():
    block = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 8, 1))
    model = StagedModel([block], feature_count=8, class_count=2)

    add(model, ResidualAdapter(), card=TABLE_CARD)

    assert isinstance(block[0], nn.Conv2d)
    assert isinstance(block[1], AdapterLayer)


def test_a_model_without_a_layer_that_can_be_added_to_fails_the_trial():
    model = StagedModel([nn.ReLU()], feature_count=3, class_count=2)

    with pytest.raises(TrialFailure, match="Lora: no layer from stage 0 on can take it"):
        add(model, Lora(rank=1, scale=1.0), card=TABLE_CARD)


def test_drawing_anew_depends_on_the_generator_alone_and_makes_norms_neutral():
    def drawn(seed: int) -> nn.Module:
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Linear(4, 2, bias=False), nn.LayerNorm(2))
        nn.init.constant_(module[1].weight, 5.0)
        initialise(module, generator=torch.Generator().manual_seed(seed))
        return module

    first, again, other = drawn(0), drawn(0), drawn(1)

    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first[0].weight, other[0].weight)
    assert first[1].weight.tolist() == [1.0] * 4
    assert first[0].bias.tolist() == [0.0] * 4


def test_weights_drawn_anew_keep_the_bound_of_their_fan_in():
    layer = nn.Linear(100, 50)

    initialise(layer, generator=torch.Generator().manual_seed(0))

    bound = 100**-0.5  # Kaiming-uniform with a = sqrt(5): sqrt(6 / ((1 + 5) * fan_in))
    assert layer.weight.abs().max() <= bound
    assert layer.weight.abs().max() > 0.95 * bound
