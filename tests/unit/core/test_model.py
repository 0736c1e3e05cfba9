import dataclasses

import pytest

from transmeta.core.model import ModelCard, Stage, TrainedOn
from transmeta.core.task import Modality, Task
from transmeta.errors import InputError

CARD = ModelCard(
    id="latin-1a2b3c4d",
    architecture="small_cnn",
    modality=Modality.IMAGE,
    input_shape=(32, 32, 3),
    stages=(Stage(name="a", parameter_count=10, macs=100), Stage(name="b", parameter_count=30, macs=50)),
    feature_count=64,
    trained_on=(TrainedOn(dataset="glyphs-latn", domain="scripts"), TrainedOn(dataset="icons-media", domain="icons")),
    weights="weights.safetensors",
)
TABLE = dataclasses.replace(CARD, id="wine-1", modality=Modality.TABULAR, input_shape=(13,), trained_on=())


def target(dataset: str, *, modality: Modality = Modality.IMAGE, shape: tuple[int, ...] = (28, 28, 1)) -> Task:
    return Task(
        name=dataset,
        provider="pack",
        params={},
        dataset=dataset,
        domain="scripts",
        modality=modality,
        shape=shape,
        class_count=5,
        fingerprint="0" * 16,
    )


def test_a_checkpoint_is_offered_for_images_of_any_size():
    assert CARD.is_allowed_for(target("glyphs-grek"))
    assert CARD.is_allowed_for(target("glyphs-grek", shape=(64, 48, 3)))


@pytest.mark.parametrize("dataset", ["glyphs-latn", "icons-media"])
def test_a_checkpoint_is_never_offered_for_a_data_set_that_it_has_seen(dataset):
    few = dataclasses.replace(target(dataset), shots=3, seed=5, fingerprint="f" * 16)

    assert not CARD.is_allowed_for(few)


def test_a_checkpoint_of_the_same_domain_but_another_data_set_is_offered():
    assert CARD.is_allowed_for(target("glyphs-cyrl"))


def test_a_checkpoint_is_not_offered_for_another_modality():
    assert not CARD.is_allowed_for(target("wine", modality=Modality.TABULAR, shape=(13,)))
    assert not TABLE.is_allowed_for(target("glyphs-grek"))


def test_a_checkpoint_for_tables_is_offered_for_as_many_columns_only():
    assert TABLE.is_allowed_for(target("iris", modality=Modality.TABULAR, shape=(13,)))
    assert not TABLE.is_allowed_for(target("iris", modality=Modality.TABULAR, shape=(4,)))


def test_the_card_counts_its_stages_and_their_weights():
    assert (CARD.stage_count, CARD.parameter_count) == (2, 40)


def test_a_card_without_weights_is_not_pretrained():
    assert CARD.is_pretrained
    assert not dataclasses.replace(CARD, weights=None).is_pretrained


@pytest.mark.parametrize("name", ["", "../latin", "a b"])
def test_an_id_that_is_not_safe_in_a_path_is_refused(name):
    with pytest.raises(InputError, match="model id"):
        dataclasses.replace(CARD, id=name)
