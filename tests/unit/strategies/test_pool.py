import dataclasses

import pytest

from transmeta.core.trial import Arm
from transmeta.errors import InputError, UnknownNameError
from transmeta.models.library import scratch_card
from transmeta.strategies.catalogue import default_spec, find_strategy, strategy_names
from transmeta.strategies.pool import arm_pool
from transmeta.strategies.spaces import resolve
from transmeta.tasks.catalogue import find_task


@pytest.fixture(scope="module")
def cards(greek):
    """A checkpoint, the same under another name, and the architecture without weights."""
    return (greek, dataclasses.replace(greek, id="other"), scratch_card(find_task("digits@3")))


def test_without_samples_each_strategy_is_there_once_for_each_source_that_it_applies_to_with_its_defaults(cards):
    pool = arm_pool(cards, samples=0, seed=0)

    expected = {
        Arm(source=card.id, strategy=default_spec(name, card)).key
        for name in strategy_names()
        for card in cards
        if find_strategy(name).applies_to(card)
    }
    assert sorted(arm.key for arm in pool) == sorted(expected)


def test_scratch_is_paired_with_training_from_scratch_only(cards):
    pool = arm_pool(cards, samples=1, seed=0)

    assert {arm.strategy.name for arm in pool if arm.source == cards[-1].id} == {"from_scratch"}
    assert {arm.source for arm in pool if arm.strategy.name == "from_scratch"} == {cards[-1].id}


def test_samples_come_after_all_defaults_layer_by_layer(cards):
    defaults, pool = arm_pool(cards, samples=0, seed=0), arm_pool(cards, samples=2, seed=0)
    size = len(defaults)
    pairs = [(arm.source, arm.strategy.name) for arm in pool]

    assert pool[:size] == defaults
    assert len(pool) == len({arm.key for arm in pool}) == 3 * size
    assert pairs == 3 * pairs[:size], "every layer has every source and strategy once"


def test_every_arm_is_valid_in_the_space_of_its_strategy(cards):
    by_id = {card.id: card for card in cards}

    for arm in arm_pool(cards, samples=2, seed=3):
        strategy = find_strategy(arm.strategy.name)
        assert resolve(strategy, arm.strategy.params, model=by_id[arm.source]).params == arm.strategy.params


def test_the_same_seed_gives_the_same_pool_and_another_seed_another(cards):
    pool = arm_pool(cards, samples=1, seed=0)

    assert arm_pool(cards, samples=1, seed=0) == pool
    assert arm_pool(cards, samples=1, seed=1) != pool
    assert arm_pool(cards, samples=0, seed=1) == arm_pool(cards, samples=0, seed=0), "defaults are not drawn"


def test_what_is_drawn_for_a_source_does_not_depend_on_the_others(cards):
    alone, together = arm_pool(cards[:1], samples=2, seed=0), arm_pool(cards, samples=2, seed=0)

    assert [arm for arm in together if arm.source == cards[0].id] == [*alone]


def test_named_strategies_alone_are_used(cards):
    pool = arm_pool(cards, samples=1, seed=0, strategies=("lora", "linear_probe"))

    assert {arm.strategy.name for arm in pool} == {"lora", "linear_probe"}
    assert arm_pool(cards, samples=0, seed=0, strategies=()) == ()


def test_an_unknown_strategy_and_fewer_than_no_samples_are_refused(cards):
    with pytest.raises(UnknownNameError, match="did you mean 'lora'"):
        arm_pool(cards, samples=0, seed=0, strategies=("lorra",))
    with pytest.raises(InputError, match="samples: -1 random choices; give 0 or more"):
        arm_pool(cards, samples=-1, seed=0)


def test_without_sources_the_pool_is_empty():
    assert arm_pool((), samples=3, seed=0) == ()
