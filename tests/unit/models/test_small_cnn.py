"""The small CNN has the size that its documentation states and no batch statistics."""

import torch
from torch import nn

from transmeta.models.small_cnn import SmallCnn
from transmeta.training.staged import prepare

from .cases import images, small_card, small_model


def test_it_has_four_stages_and_about_eighty_five_thousand_weights():
    card = SmallCnn().card(input_shape=(32, 32, 3))

    assert [stage.name for stage in card.stages] == ["conv1", "conv2", "conv3", "conv4"]
    assert card.parameter_count == 24 * 3 * 25 + 9 * (24 * 48 + 48 * 64 + 64 * 80) + 2 * (24 + 48 + 64 + 80)


def test_its_card_is_the_same_for_every_image_size():
    assert SmallCnn().card(input_shape=(8, 8, 1)) == SmallCnn().card(input_shape=())


def test_its_stages_shrink_the_image_to_four_by_four():
    x = prepare(images(2, side=32), card=small_card())

    shapes = [tuple(small_model().run(x, start=0, stop=stop).shape[1:]) for stop in range(1, 5)]

    assert shapes == [(24, 16, 16), (48, 8, 8), (64, 4, 4), (80, 4, 4)]


def test_an_example_does_not_depend_on_the_others_in_its_batch_even_in_training():
    model = small_model().train()
    x = prepare(images(4, side=32), card=small_card())

    assert torch.allclose(model(x)[:1], model(x[:1]), atol=1e-6)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
