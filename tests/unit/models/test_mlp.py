"""The multilayer perceptron takes tables of any width and ignores the scale of its hidden units."""

import dataclasses

import torch

from transmeta.core.task import Modality
from transmeta.models.mlp import Mlp


def test_its_card_names_the_number_of_columns():
    card = Mlp().card(input_shape=(7,))

    assert card.id == "scratch-mlp-7"
    assert card.modality is Modality.TABULAR
    assert card.input_shape == (7,)


def test_its_first_layer_alone_depends_on_the_columns():
    narrow, wide = (Mlp().card(input_shape=(columns,)) for columns in (7, 30))

    assert wide.parameter_count - narrow.parameter_count == (30 - 7) * 128
    assert wide.stages[1:] == narrow.stages[1:]


def test_its_weights_are_those_counted_by_hand():
    card = Mlp().card(input_shape=(7,))

    assert [stage.parameter_count for stage in card.stages] == [7 * 128 + 3 * 128, *[128 * 128 + 3 * 128] * 2]
    assert [stage.macs for stage in card.stages] == [7 * 128, 128 * 128, 128 * 128]


def test_a_row_becomes_one_logit_for_each_class():
    card = dataclasses.replace(Mlp().card(input_shape=(7,)), class_count=3)

    assert Mlp().build(card)(torch.zeros(5, 7)).shape == (5, 3)
