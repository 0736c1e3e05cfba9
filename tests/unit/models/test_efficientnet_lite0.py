"""Our EfficientNet-lite0 has the shape of the paper's, and additions fit beside each of its layers."""

import pytest
import torch

from transmeta.core.model import ModelCard
from transmeta.core.plan import Lora, OptimiserPlan, ResidualAdapter, TransferPlan
from transmeta.models.efficientnet_lite0 import EfficientNetLite0, SameConv2d
from transmeta.training.planned import apply
from transmeta.training.staged import StagedModel, prepare

from .cases import images


def test_it_has_a_stem_sixteen_blocks_and_a_last_convolution():
    stages = card().stages

    assert [stage.name for stage in stages] == ["stem", *(f"block{number}" for number in range(1, 17)), "last_conv"]
    assert stages[0].macs == 32 * 27 * 32 * 32
    assert stages[-1].parameter_count == 320 * 1280 + 2 * 1280


def test_with_a_head_for_imagenet_it_has_the_published_number_of_weights():
    head = 1280 * 1000 + 1000

    assert round((card().parameter_count + head) / 1e6, 1) == 4.7  # million, in the table of the official release


@pytest.mark.parametrize(
    ("image", "model"),
    [((), (64, 64)), ((32, 32, 1), (64, 64)), ((70, 100, 3), (96, 128)), ((1000, 800, 3), (224, 224))],
)
def test_its_input_is_the_images_size_in_steps_of_32_from_64_to_224(image: tuple[int, ...], model: tuple[int, int]):
    assert EfficientNetLite0().card(input_shape=image).input_shape == (*model, 3)


def test_same_padding_at_stride_two_leaves_out_the_row_before_the_image():
    conv = SameConv2d(1, 1, 3, stride=2)
    with torch.no_grad():
        conv.weight.fill_(1.0)

    sums = conv(torch.ones(1, 1, 4, 4))

    assert sums.flatten().tolist() == [9, 6, 6, 4]


def test_training_changes_no_statistics_and_no_other_example():
    model = built()
    model.train()
    x = prepare(images(3, side=64), card=card())

    assert torch.allclose(model(x)[:1], model(x[:1]), atol=1e-5)


@pytest.mark.parametrize("addition", [Lora(rank=2, scale=4.0), ResidualAdapter()])
def test_additions_fit_beside_every_dense_convolution_and_change_nothing_at_first(addition: Lora | ResidualAdapter):
    model = built()
    x = prepare(images(2, side=64), card=card())
    before = model.features(x)
    plan = TransferPlan(trainable=(), optimiser=OptimiserPlan(learning_rate=1e-3, epochs=1), additions=(addition,))

    planned = apply(plan, model=model, card=card(), class_count=4, seed=0)

    assert torch.allclose(model.features(x), before, atol=1e-5)
    dense = 1 + 15 + 16 + 1  # stem, expansions, projections, last convolution; depthwise ones are left out
    assert len(planned.added) == dense * (2 if isinstance(addition, Lora) else 1)


def card() -> ModelCard:
    """Returns the card for 64×64 images."""
    return EfficientNetLite0().card(input_shape=())


def built() -> StagedModel:
    """Returns a model whose activations neither vanish nor saturate."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return EfficientNetLite0().build(card()).eval()
