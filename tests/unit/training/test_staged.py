import dataclasses

import pytest
import torch
from torch import nn

from transmeta.core.model import ModelCard
from transmeta.core.task import Modality
from transmeta.training.staged import StagedModel, pool, prepare

from .cases import TABLE_CARD, table_model

CARD = ModelCard(
    id="images", architecture="small_cnn", modality=Modality.IMAGE, input_shape=(4, 4, 3), stages=(), feature_count=8
)
GREY = dataclasses.replace(CARD, input_shape=(4, 4, 1))


def images(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_pixels_are_scaled_to_minus_one_to_one():
    x = torch.tensor([0, 127, 255], dtype=torch.uint8)[:, None, None, None].expand(3, 4, 4, 1)

    prepared = prepare(x, card=GREY)

    assert prepared.dtype is torch.float32
    assert prepared[:, 0, 0, 0].tolist() == [-127 / 128, 0.0, 1.0]


def test_channels_come_first_and_stay_in_their_places():
    x = images(2, 4, 4, 3)

    prepared = prepare(x, card=CARD)

    assert prepared.shape == (2, 3, 4, 4)
    assert torch.equal(prepared[1, 2] * 128 + 127, x[1, :, :, 2].float())
    assert prepared.is_contiguous(memory_format=torch.channels_last)


def test_grey_images_are_repeated_over_the_channels_of_a_colour_model():
    prepared = prepare(images(2, 4, 4, 1), card=CARD)

    assert prepared.shape == (2, 3, 4, 4)
    assert torch.equal(prepared[:, 0], prepared[:, 1])
    assert torch.equal(prepared[:, 0], prepared[:, 2])


def test_colour_images_are_averaged_for_a_grey_model():
    x = images(2, 4, 4, 3)

    assert torch.allclose(prepare(x, card=GREY)[:, 0] * 128 + 127, x.float().mean(dim=3), atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (8, 8), (3, 9), (1, 1)])
def test_images_of_another_size_are_resized(height, width):
    constant = torch.full((2, height, width, 3), 200, dtype=torch.uint8)

    prepared = prepare(constant, card=CARD)

    assert prepared.shape == (2, 3, 4, 4)
    assert torch.allclose(prepared, torch.tensor(73 / 128), atol=1e-6)


def test_shrinking_by_two_averages_over_more_than_one_pixel():
    stripes = torch.zeros((1, 8, 8, 1), dtype=torch.uint8)
    stripes[:, :, ::2] = 254

    inner = prepare(stripes, card=GREY)[0, 0, :, 1:-1]

    assert inner.abs().max() < 0.3, "without antialiasing, stripes would turn black or white"


def test_an_empty_batch_is_prepared():
    assert prepare(images(0, 4, 4, 1), card=CARD).shape == (0, 3, 4, 4)


def test_tables_are_left_as_they_are():
    x = torch.randn(5, 3)

    assert prepare(x, card=TABLE_CARD) is x


def test_images_are_pooled_over_space_and_features_are_not():
    x = torch.arange(8.0).reshape(1, 2, 2, 2)

    assert pool(x).tolist() == [[1.5, 5.5]]
    assert pool(torch.ones(3, 2)).shape == (3, 2)


@pytest.mark.parametrize("start", [0, 1, 2])
def test_a_model_goes_on_from_the_output_of_any_stage(start):
    model, x = table_model(), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))

    hidden = model.run(x, start=0, stop=start)

    assert torch.equal(model(hidden, start), model(x))


def test_the_side_network_reads_the_inputs_whatever_the_start():
    model, x = table_model(), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    model.side = nn.Linear(3, 4)
    hidden = model.run(x, start=0, stop=2)

    assert torch.equal(model(hidden, 2, x), model(x))
    assert torch.allclose(model.features(x) - hidden, model.side(x), atol=1e-6)


def test_logits_are_the_heads_of_the_features():
    model, x = StagedModel([nn.Conv2d(3, 4, 1)], feature_count=4, class_count=7), torch.randn(2, 3, 4, 4)

    assert model.features(x).shape == (2, 4)
    assert torch.equal(model(x), model.head(model.features(x)))
    assert model(x).shape == (2, 7)
