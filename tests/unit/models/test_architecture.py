"""Cards state the sizes and the cost that one can count by hand."""

import dataclasses
from typing import cast

import pytest
from torch import Tensor, nn

from transmeta import plugins
from transmeta.core.model import ModelCard, Stage
from transmeta.core.task import Modality
from transmeta.models.architecture import Architecture, measured_card
from transmeta.training.staged import prepare

from .cases import images

ARCHITECTURES = plugins.names(plugins.MODELS)


def measured(layer: nn.Module, *, input_shape: tuple[int, ...] = (32, 32, 3)) -> Stage:
    """Returns what is counted for a model of one stage with this layer."""
    card = measured_card(
        [("only", nn.Sequential(layer))],
        name="example",
        architecture="example",
        modality=Modality.IMAGE if len(input_shape) == 3 else Modality.TABULAR,
        input_shape=input_shape,
        feature_count=1,
    )
    return card.stages[0]


def test_a_convolution_costs_each_weight_once_for_each_place():
    stage = measured(nn.Conv2d(3, 24, 5, stride=2, padding=2))

    assert stage.macs == (24 * 3 * 5 * 5) * (16 * 16)
    assert stage.parameter_count == 24 * 3 * 5 * 5 + 24


def test_a_depthwise_convolution_costs_one_kernel_for_each_channel():
    stage = measured(nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False))

    assert stage.macs == (3 * 3 * 3) * (32 * 32)


def test_a_linear_layer_costs_each_weight_once():
    assert measured(nn.Linear(20, 128), input_shape=(20,)).macs == 20 * 128


def test_the_stages_are_in_order_and_run_one_after_the_other():
    card = measured_card(
        [("first", nn.Conv2d(3, 4, 1, stride=2, bias=False)), ("second", nn.Conv2d(4, 8, 1, bias=False))],
        name="example",
        architecture="example",
        modality=Modality.IMAGE,
        input_shape=(8, 8, 3),
        feature_count=8,
    )

    assert [(stage.name, stage.macs) for stage in card.stages] == [("first", 3 * 4 * 16), ("second", 4 * 8 * 16)]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_card_without_weights_says_so(name: str):
    card = card_of(name)

    assert card.id.startswith(f"scratch-{name}")
    assert card.architecture == name
    assert not card.is_pretrained
    assert card.trained_on == ()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_model_is_what_its_card_says(name: str):
    card = dataclasses.replace(card_of(name), class_count=7)

    model = architecture(name).build(card)

    assert [sum(p.numel() for p in stage.parameters()) for stage in model.stages] == [
        stage.parameter_count for stage in card.stages
    ]
    assert model.head.out_features == 7
    assert all(stage.macs > 0 for stage in card.stages)


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "mlp"])
def test_images_of_any_size_become_features_of_the_width_on_the_card(name: str):
    card = card_of(name)
    model = architecture(name).build(card).eval()

    for side, channels in ((8, 1), (32, 3), (70, 3)):
        prepared = prepare(images(2, side=side, channels=channels), card=card)
        assert model.features(prepared).shape == (2, card.feature_count)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_features_are_those_of_the_prefix_and_the_suffix_at_any_cut(name: str):
    card = card_of(name)
    model = architecture(name).build(card).eval()
    x = prepare(images(2, side=32), card=card) if card.modality is Modality.IMAGE else model_inputs(card)

    for cut in (0, 1, card.stage_count // 2, card.stage_count):
        hidden = model.run(x, start=0, stop=cut)
        assert model.features(hidden, start=cut).equal(model.features(x))


def architecture(name: str) -> Architecture:
    """Returns the installed architecture of this name."""
    return cast(Architecture, plugins.load(plugins.MODELS, name=name))


def card_of(name: str) -> ModelCard:
    """Returns the architecture's card without weights."""
    return architecture(name).card(input_shape=(20,) if name == "mlp" else ())


def model_inputs(card: ModelCard) -> Tensor:
    """Returns two rows of a table."""
    return images(2, side=1, channels=card.input_shape[0]).reshape(2, -1).float() / 255
