import dataclasses
import gc
import weakref

import pytest
import torch

from transmeta.core.plan import TransferPlan
from transmeta.training.data import Split
from transmeta.training.frozen import FeatureCache, FrozenFeatures, process_cache
from transmeta.training.inputs import Inputs
from transmeta.training.staged import prepare

from .cases import NUMBERS, TABLE_CARD, planned, table_data

CPU = torch.device("cpu")
CARD = dataclasses.replace(TABLE_CARD, weights="weights.safetensors", weights_sha256="ab")
PROBE = TransferPlan(trainable=(), optimiser=NUMBERS)


def some(count: int = 4) -> FrozenFeatures:
    """Features of 16 bytes an example."""
    return FrozenFeatures(torch.arange(4.0 * count).reshape(count, 4), labels=torch.arange(count) % 2)


def splits(count: int) -> list[Split]:
    """Different ones, although equal in content."""
    return [table_data().train for _ in range(count)]


def test_frozen_features_are_those_of_the_model(models, greek, digits_data):
    made = planned(PROBE, card=greek, models=models)
    split = digits_data.validation
    inputs = Inputs(split, model=made.model, card=greek, start=len(made.model.stages), keep_prepared=False, device=CPU)

    frozen = FrozenFeatures.of(inputs)

    with torch.no_grad():
        expected = made.model.features(prepare(torch.from_numpy(split.x), card=greek))
    hidden, side = frozen.get(torch.tensor([5, 2]))
    assert side is None
    assert hidden.numpy() == pytest.approx(expected[[5, 2]].numpy(), abs=1e-6)
    assert len(frozen) == len(split)
    assert torch.equal(frozen.labels, inputs.labels)


def test_features_are_decomposed_once_for_each_number_of_classes():
    features = some()

    assert features.path(class_count=2) is features.path(class_count=2)
    assert features.path(class_count=3) is not features.path(class_count=2)
    assert features.memory_bytes > some().memory_bytes == 4 * 16


def test_features_of_the_same_weights_and_split_are_made_once():
    cache, split = FeatureCache(limit_bytes=10**6), splits(1)[0]
    first = cache.get(split, card=CARD, device=CPU, make=some)

    renamed = dataclasses.replace(CARD, id="table-2")

    assert cache.get(split, card=renamed, device=CPU, make=some) is first


@pytest.mark.parametrize("other", ["split", "weights"])
def test_features_of_other_weights_or_another_split_are_others(other):
    cache, (split, same) = FeatureCache(limit_bytes=10**6), splits(2)
    first = cache.get(split, card=CARD, device=CPU, make=some)

    if other == "split":
        second = cache.get(same, card=CARD, device=CPU, make=some)
    else:
        second = cache.get(split, card=dataclasses.replace(CARD, weights_sha256="cd"), device=CPU, make=some)

    assert second is not first
    assert len(cache) == 2


def test_features_of_unknown_weights_are_not_kept():
    cache, split = FeatureCache(limit_bytes=10**6), splits(1)[0]

    first = cache.get(split, card=TABLE_CARD, device=CPU, make=some)

    assert cache.get(split, card=TABLE_CARD, device=CPU, make=some) is not first
    assert len(cache) == 0


def test_what_was_not_used_for_longest_goes_first():
    cache, (a, b, c) = FeatureCache(limit_bytes=150), splits(3)
    first = cache.get(a, card=CARD, device=CPU, make=some)
    second = cache.get(b, card=CARD, device=CPU, make=some)
    assert cache.get(a, card=CARD, device=CPU, make=some) is first

    cache.get(c, card=CARD, device=CPU, make=some)

    assert len(cache) == 2
    assert cache.get(a, card=CARD, device=CPU, make=some) is first
    assert cache.get(b, card=CARD, device=CPU, make=some) is not second


def test_features_that_are_larger_than_the_cache_replace_all_others():
    cache, (a, b) = FeatureCache(limit_bytes=100), splits(2)
    cache.get(a, card=CARD, device=CPU, make=some)
    large = cache.get(b, card=CARD, device=CPU, make=lambda: some(40))

    assert len(cache) == 1
    assert cache.get(b, card=CARD, device=CPU, make=some) is large


def test_decompositions_count_towards_the_limit():
    cache, (a, b) = FeatureCache(limit_bytes=200), splits(2)
    cache.get(a, card=CARD, device=CPU, make=some).path(class_count=2)

    cache.get(b, card=CARD, device=CPU, make=some)

    assert len(cache) == 1


def test_features_do_not_keep_the_model_in_memory(models, greek, digits_data):
    made = planned(PROBE, card=greek, models=models)
    inputs = Inputs(digits_data.train, model=made.model, card=greek, start=4, keep_prepared=False, device=CPU)
    frozen, model = FrozenFeatures.of(inputs), weakref.ref(made.model)

    del made, inputs
    gc.collect()

    assert len(frozen) == len(digits_data.train)
    assert model() is None


def test_a_process_has_one_cache():
    assert process_cache() is process_cache()
