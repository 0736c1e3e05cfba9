import subprocess
import sys
from collections import Counter

import pytest

from transmeta import plugins
from transmeta.core import codec
from transmeta.core.space import Proposer
from transmeta.errors import ConfigError, UnknownNameError
from transmeta.strategies.catalogue import (
    SpaceProposer,
    default_spec,
    describe_space,
    find_strategy,
    neighbours,
    sample_specs,
    strategy_names,
)
from transmeta.testing.strategy_cases import example_card

LETTERS, SCRATCH = example_card(), example_card(is_pretrained=False)
CARDS = {card.id: card for card in (LETTERS, SCRATCH)}


def test_the_strategies_of_the_literature_are_installed():
    assert set(strategy_names()) >= {
        "bias_only",
        "from_scratch",
        "full_finetune",
        "l2_sp",
        "linear_probe",
        "lora",
        "lp_ft",
        "partial_freeze",
        "residual_adapter",
        "ridge_probe",
        "side_tuning",
        "surgical",
    }


def test_a_strategy_is_found_under_its_own_name():
    assert [find_strategy(name).name for name in strategy_names()] == list(strategy_names())


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown strategy 'loar'; did you mean 'lora'"):
        find_strategy("loar")


def test_a_plugin_that_is_no_strategy_is_refused(monkeypatch):
    monkeypatch.setattr(plugins, "load", lambda group, *, name: object())

    with pytest.raises(TypeError, match="not a Strategy"):
        find_strategy("lora")


def test_a_default_spec_writes_all_defaults_out():
    spec = default_spec("lora", LETTERS)

    assert spec.params == {
        "cut": 0,
        "epochs": 20,
        "head_multiplier": 3.0,
        "learning_rate": 8e-3,
        "rank": 4,
        "scale": 8.0,
        "schedule": "cosine",
        "warmup": 0.05,
        "weight_decay": 1e-2,
    }
    assert find_strategy("lora").plan(spec.params, LETTERS) == find_strategy("lora").plan({}, LETTERS)


def test_there_is_no_default_spec_where_the_strategy_does_not_apply():
    with pytest.raises(ConfigError, match="lora: does not apply to scratch-image-4, which has no weights"):
        default_spec("lora", SCRATCH)


def test_a_description_names_its_strategy():
    assert describe_space(find_strategy("lora"), LETTERS).strategy == "lora"


def test_specs_survive_json_so_that_trial_ids_are_stable():
    for spec in sample_specs(find_strategy("lp_ft"), LETTERS, count=20, seed=4):
        assert codec.dumps(codec.loads(type(spec), codec.dumps(spec))) == codec.dumps(spec)


def test_neighbours_are_valid_near_and_fixed_by_the_seed():
    spec = default_spec("full_finetune", LETTERS)

    near = neighbours(spec, LETTERS, count=10, seed=0)

    assert len(set(map(codec.dumps, near))) == 10
    assert spec not in near
    assert near == neighbours(spec, LETTERS, count=10, seed=0)
    for other in near:
        assert find_strategy("full_finetune").plan(other.params, LETTERS)


def test_neighbours_of_an_incomplete_spec_are_complete():
    spec = default_spec("lora", LETTERS)
    short = type(spec)(name="lora", params={})

    assert neighbours(short, LETTERS, count=3, seed=1) == neighbours(spec, LETTERS, count=3, seed=1)


def test_proposed_arms_are_distinct_and_plan():
    proposer: Proposer = SpaceProposer(cards=CARDS)

    arms = proposer.propose(sources=list(CARDS), count=100, seed=0)

    assert len({arm.key for arm in arms}) == 100
    for arm in arms:
        assert find_strategy(arm.strategy.name).plan(arm.strategy.params, CARDS[arm.source])


def test_every_pair_of_source_and_strategy_is_proposed_as_often_as_any_other():
    arms = SpaceProposer(cards=CARDS).propose(sources=list(CARDS), count=36, seed=0)

    pairs = Counter((arm.source, arm.strategy.name) for arm in arms)
    assert set(pairs.values()) == {3}
    assert (SCRATCH.id, "from_scratch") in pairs
    assert len(pairs) == 12


def test_a_proposal_depends_on_its_seed_alone():
    proposer = SpaceProposer(cards=CARDS)

    first = proposer.propose(sources=list(CARDS), count=12, seed=7)

    assert first == proposer.propose(sources=list(CARDS), count=12, seed=7)
    assert first != proposer.propose(sources=list(CARDS), count=12, seed=8)


def test_a_proposer_keeps_to_its_sources_and_strategies():
    proposer = SpaceProposer(cards=CARDS, strategies=("lora", "linear_probe"))

    arms = proposer.propose(sources=[LETTERS.id], count=10, seed=0)

    assert {arm.strategy.name for arm in arms} == {"lora", "linear_probe"}
    assert {arm.source for arm in arms} == {LETTERS.id}
    assert proposer.propose(sources=[SCRATCH.id], count=10, seed=0) == []
    assert proposer.propose(sources=[], count=10, seed=0) == []


def test_a_source_without_a_card_is_refused():
    with pytest.raises(UnknownNameError, match="unknown source 'image'"):
        SpaceProposer(cards=CARDS).propose(sources=["image"], count=1, seed=0)


def test_an_unknown_strategy_is_refused_when_the_proposer_is_made():
    with pytest.raises(UnknownNameError, match="did you mean 'lora'"):
        SpaceProposer(cards=CARDS, strategies=("loar",))


def test_strategies_need_neither_torch_nor_ray():
    code = (
        "import sys; from transmeta.strategies import catalogue; catalogue.find_strategy('lora'); print(*sys.modules)"
    )

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert "transmeta.strategies.lora" in loaded
    assert not {"torch", "ray"} & set(loaded)
