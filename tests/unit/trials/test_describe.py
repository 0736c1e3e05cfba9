import dataclasses
import math

import numpy as np
import pytest
import torch

from transmeta.models.library import ModelLibrary, save_model, scratch_card
from transmeta.training.staged import prepare
from transmeta.trials import describe as module
from transmeta.trials.describe import describe, source_outputs
from transmeta.trials.environment import Environment


@pytest.fixture
def several(models, greek, tmp_path) -> Environment:
    """The source model, the same one without a head of its own or statistics, and one that has seen digits."""
    library = ModelLibrary([models])
    bare = dataclasses.replace(greek, id="bare-1", class_count=0, feature_mean=(), feature_std=(), score=None)
    model = library.load(greek)
    save_model(tmp_path / "greek-2", card=dataclasses.replace(greek, id="greek-2"), model=model)
    seen = dataclasses.replace(greek.trained_on[0], dataset="digits")
    save_model(tmp_path / "seen-1", card=dataclasses.replace(greek, id="seen-1", trained_on=(seen,)), model=model)
    model.head = torch.nn.Linear(greek.feature_count, 1)
    save_model(tmp_path / "bare-1", card=bare, model=model)
    return Environment(model_folders=(str(models), str(tmp_path)))


def test_all_sources_that_may_be_offered_are_described(digits, several, greek):
    features = describe(digits, environment=several)

    assert features.target_id == digits.id
    allowed = {card.id for card in several.library().candidates(digits)}
    assert set(features.pairs) == allowed
    assert allowed >= {"bare-1", "greek-2", greek.id, scratch_card(digits).id}


def test_every_pair_has_the_same_names_and_finite_numbers(digits, several):
    features = describe(digits, environment=several)

    (names,) = {tuple(sorted(pair)) for pair in features.pairs.values()}
    assert "logme" in names
    for values in (features.target, *features.pairs.values()):
        assert values
        assert all(type(value) is float and math.isfinite(value) for value in values.values())


def test_other_targets_have_the_same_names(digits, environment):
    from transmeta.tasks.catalogue import find_task

    other = describe(find_task("glyphs-cyrl@3"), environment=environment)
    first = describe(digits, environment=environment)

    assert set(other.target) == set(first.target)
    assert {frozenset(pair) for pair in (*other.pairs.values(), *first.pairs.values())} == {
        frozenset(next(iter(first.pairs.values())))
    }


def test_only_the_sources_that_are_asked_for_are_described(digits, several, greek):
    assert set(describe(digits, environment=several, sources=[greek]).pairs) == {greek.id}
    assert describe(digits, environment=several, sources=[]).pairs == {}


def test_a_description_is_always_the_same(digits, environment):
    torch.manual_seed(1)
    first = describe(digits, environment=environment)
    torch.manual_seed(2)

    assert describe(digits, environment=environment) == first


def test_validation_and_test_examples_are_not_looked_at(digits, digits_data, environment, monkeypatch):
    empty = dataclasses.replace(digits_data.test, x=digits_data.test.x[:0], y=digits_data.test.y[:0])
    blind = dataclasses.replace(digits_data, validation=empty, test=empty)
    first = describe(digits, environment=environment)
    monkeypatch.setattr(module, "cached_data", lambda text: blind)

    assert describe(digits, environment=environment) == first


def test_of_a_large_target_a_sample_is_looked_at(digits, environment, monkeypatch, greek):
    seen = []

    def note(model, x, *, card):
        seen.append(x)
        return source_outputs(model, x, card=card)

    monkeypatch.setattr(module, "EXAMPLES", 20)
    monkeypatch.setattr(module, "source_outputs", note)
    describe(digits, environment=environment, sources=[greek])
    describe(digits, environment=environment, sources=[greek])

    assert [len(x) for x in seen] == [20, 20]
    assert np.array_equal(*seen)


def test_outputs_are_the_features_and_probabilities_of_the_frozen_source(models, greek, digits_data):
    model = ModelLibrary([models]).load(greek)
    x = np.concatenate([digits_data.test.x, digits_data.train.x])  # more than one chunk

    features, probabilities = source_outputs(model, x, card=greek)

    assert features.shape == (len(x), greek.feature_count)
    assert probabilities.shape == (len(x), greek.class_count)
    assert probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-6)
    with torch.no_grad():
        expected = model.features(prepare(torch.from_numpy(x[-3:]), card=greek))
    assert features[-3:] == pytest.approx(expected.double().numpy(), abs=1e-5)
