"""The plan of the meta-dataset: which cells, which arms, and no leaks."""

import dataclasses
import importlib.util
import sys
from collections import Counter
from pathlib import Path

import pytest

from transmeta.config import load_config
from transmeta.core.experience import MetaFeatures
from transmeta.core.model import TrainedOn
from transmeta.core.task import Modality, TaskPair
from transmeta.core.trial import StrategySpec, TrialResult, TrialSpec, TrialStatus
from transmeta.errors import ConfigError
from transmeta.models.library import ModelLibrary, scratch_card
from transmeta.tasks.catalogue import find_task, load_task

FOLDER = Path(__file__).parents[3] / "benchmarks" / "meta_dataset"


@pytest.fixture(scope="module")
def plan():
    spec = importlib.util.spec_from_file_location("meta_plan", FOLDER / "meta_plan.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["meta_plan"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["meta_plan"]


@pytest.fixture
def smoke(plan):
    return load_config(plan.MetaDatasetConfig, FOLDER / "smoke.toml")


@pytest.fixture(scope="module")
def target():
    return find_task("digits@3")


@pytest.fixture(scope="module")
def cards(target):
    return (*ModelLibrary().cards().values(), scratch_card(target))


def result_of(target, *, score, seed=0, status=TrialStatus.COMPLETED, name="ridge_probe"):
    spec = TrialSpec(
        pair=TaskPair(source="scripts", target=target),
        strategy=StrategySpec(name=name, params={"penalty": score or 1.0}),
        seed=seed,
    )
    return TrialResult(spec=spec, status=status, curve=(), score=score, test_score=score, cost_s=1.0, wall_s=1.0)


def test_the_configured_collection_is_as_large_as_was_asked_for(plan):
    config = load_config(plan.MetaDatasetConfig, FOLDER / "collect.toml")
    counts = Counter(name for domain in config.domains for name in [domain.name] * len(plan._in_turn(domain)))

    assert sum(counts.values()) >= 90
    assert len(counts) >= 8
    assert len(config.packaged) + len(config.imported) + len(config.sources) + 1 >= 7
    assert all(config.repeat_seeds)


def test_no_task_is_a_source_and_a_target_but_where_the_cards_bar_it(plan):
    config = load_config(plan.MetaDatasetConfig, FOLDER / "collect.toml")
    targets = {name for domain in config.domains for name in domain.tasks}

    assert targets & {name for source in config.sources for name in source.tasks} == {"#animals"}


def test_every_task_comes_once_before_any_comes_again(plan):
    domain = plan.DomainConfig(name="icons", tasks=("a", "b", "c"), shots=(3, 10), all_shots=("b",))

    chosen = plan._in_turn(domain)

    assert [cell for cell in chosen if cell[1]] == [("a", 3), ("b", 10), ("c", 3), ("a", 10), ("b", 3), ("c", 10)]
    assert ("b", 0) in chosen


def test_a_beginning_of_the_cells_is_balanced_over_the_domains(plan, smoke):
    icons = plan.DomainConfig(name="icons", tasks=("icons-arrows", "icons-nature"), shots=(3, 10))
    scripts = plan.DomainConfig(name="scripts", tasks=("glyphs-grek",), shots=(3, 10), classes=4)
    config = dataclasses.replace(smoke, domains=(icons, scripts))

    found = [task.domain for task in plan.cells(config, packs=None)]

    assert found == ["icons", "scripts", "icons", "icons", "scripts", "icons"]
    assert [task.domain for task in plan.cells(config, packs=None, domains=["scripts"])] == ["scripts", "scripts"]


def test_a_cell_in_the_wrong_domain_is_refused(plan, smoke):
    config = dataclasses.replace(smoke, domains=(plan.DomainConfig(name="icons", tasks=("digits",), shots=(3,)),))

    with pytest.raises(ConfigError, match="digits"):
        plan.cells(config, packs=None)


def test_a_task_in_a_pack_needs_the_folder_of_packs(plan):
    with pytest.raises(ConfigError, match="--packs"):
        plan.described("#mnist", packs=None)


def test_arms_keep_within_their_limits_and_are_the_same_every_time(plan, smoke, cards):
    arms = plan.arms_for(smoke.arms, cards=cards, modality=Modality.IMAGE, seed=0)

    assert arms == plan.arms_for(smoke.arms, cards=cards, modality=Modality.IMAGE, seed=0)
    assert Counter(arm.strategy.name for arm in arms) == {"linear_probe": 6, "full_finetune": 1, "from_scratch": 1}
    assert all(20 <= arm.strategy.params["epochs"] <= 30 for arm in arms if arm.strategy.name == "from_scratch")
    assert plan.arms_for(smoke.arms, cards=cards, modality=Modality.TABULAR, seed=0) == ()


def test_limits_that_leave_too_few_settings_are_refused(plan, cards):
    config = plan.ArmConfig(
        modality=Modality.IMAGE, sources=("scripts",), strategy="linear_probe", samples=3,
        limits={"learning_rate": (0.0, 1e-9)},
    )  # fmt: skip

    with pytest.raises(ConfigError, match="widen the limits"):
        plan.arms_for([config], cards=cards, modality=Modality.IMAGE, seed=0)


def test_a_source_that_has_seen_the_target_is_refused(plan, target, cards):
    seen = dataclasses.replace(cards[0], id="seen", trained_on=(TrainedOn(dataset="digits", domain="digits"),))
    spec = TrialSpec(
        pair=TaskPair(source="seen", target=target), strategy=StrategySpec(name="ridge_probe", params={}), seed=0
    )

    with pytest.raises(ConfigError, match="digits"):
        plan.check_leaks([spec], cards=[seen])


def test_sources_of_others_are_left_out(plan, cards):
    features = MetaFeatures(target_id="t", target={}, pairs={cards[0].id: {}, "somebody-elses": {}})

    assert set(plan.among(features, cards=cards).pairs) == {cards[0].id}


def test_the_best_completed_trials_of_each_target_are_run_again_with_other_seeds(plan, target):
    results = [
        result_of(target, score=0.5),
        result_of(target, score=0.9),
        result_of(target, score=0.7),
        result_of(target, score=None, status=TrialStatus.FAILED),
        result_of(target, score=0.95, seed=1),
    ]

    specs = plan.repeats(results, count=2, seeds=(1, 2))

    assert [(spec.strategy.params["penalty"], spec.seed) for spec in specs] == [(0.9, 1), (0.9, 2), (0.7, 1), (0.7, 2)]


@pytest.mark.parametrize("name", ["glyphs-arab", "glyphs-taml", "glyphs-hira"])
def test_packaged_targets_of_the_collection_can_be_loaded_though_classes_have_fewer_examples(plan, name):
    data = load_task(plan.described(name, packs=None, shots=30, classes=8))

    assert len(data.class_names) == 8
