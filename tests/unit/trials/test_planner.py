import dataclasses
import json
import logging

import pytest

from transmeta.trials import planner as planning
from transmeta.trials.costs import FILE, CostBook, TierCosts, kind_of
from transmeta.trials.planner import UnitPlanner
from transmeta.trials.unit import Tier

from .cases import spec_for

FASTER = TierCosts(single_s=1.0, stack_s=0.1, agrees=True, parameter_count=100)
SLOWER = TierCosts(single_s=0.1, stack_s=1.0, agrees=True, parameter_count=100)
DIFFERENT = TierCosts(single_s=1.0, stack_s=0.1, agrees=False, parameter_count=100)


@pytest.fixture
def measured(monkeypatch):
    """Measurements in place of those of this machine: what was asked for, and what they say, by strategy."""
    asked = []
    answers = {"linear_probe": FASTER, "partial_freeze": SLOWER, "bias_only": DIFFERENT}

    def measure(spec, *, environment):
        asked.append(spec.strategy.name)
        return answers[spec.strategy.name]

    monkeypatch.setattr(planning, "measure", measure)
    return asked


def many(name, digits, count, **params):
    return [spec_for(name, target=digits, seed=seed, **params) for seed in range(count)]


def members(units):
    return sorted(spec.id for unit in units for spec in unit.members)


def test_every_trial_is_in_one_unit(digits, environment, measured):
    specs = [*many("linear_probe", digits, 5), *many("partial_freeze", digits, 3), *many("full_finetune", digits, 1)]

    units = UnitPlanner(environment=environment).units(specs, workers=2)

    assert members(units) == sorted(spec.id for spec in specs)


def test_trials_are_stacked_where_that_is_faster(digits, environment, measured):
    planner = UnitPlanner(environment=environment)

    (fast,) = planner.units(many("linear_probe", digits, 4), workers=1)
    slow = planner.units(many("partial_freeze", digits, 4), workers=1)

    assert (fast.tier, len(fast.members)) == (Tier.STACK, 4)
    assert [(unit.tier, len(unit.members)) for unit in slow] == [(Tier.SINGLE, 1)] * 4


def test_a_stack_is_shared_out_among_the_workers(digits, environment, measured):
    units = UnitPlanner(environment=environment).units(many("linear_probe", digits, 10), workers=2)

    assert [len(unit.members) for unit in units] == [5, 5]


@pytest.mark.parametrize(("of_first_seed", "sizes"), [(11, [11, 9]), (15, [10, 10])])
def test_a_stack_ends_where_a_seed_does_if_that_is_near(digits, environment, measured, of_first_seed, sizes):
    rates = [0.001 * (1 + index) for index in range(20)]
    specs = [
        spec_for("linear_probe", target=digits, seed=int(index >= of_first_seed), learning_rate=rate)
        for index, rate in enumerate(rates)
    ]

    units = UnitPlanner(environment=environment).units(specs[::-1], workers=2)

    assert [len(unit.members) for unit in units] == sizes


def test_numbers_that_differ_turn_stacking_off_loudly(digits, environment, measured, caplog):
    with caplog.at_level(logging.WARNING):
        units = UnitPlanner(environment=environment).units(many("bias_only", digits, 3), workers=1)

    assert {unit.tier for unit in units} == {Tier.SINGLE}
    assert "does not give the numbers of single trials" in caplog.text


def test_a_kind_is_measured_once_on_a_machine(digits, environment, measured, tmp_path):
    caching = dataclasses.replace(environment, cache_folder=str(tmp_path))

    UnitPlanner(environment=caching).units(many("linear_probe", digits, 8), workers=1)
    UnitPlanner(environment=caching).units(many("linear_probe", digits, 8), workers=1)

    assert measured == ["linear_probe"]
    assert len(json.loads((tmp_path / FILE).read_text())) == 1


def test_a_trial_that_cannot_be_run_is_left_to_say_so_itself(digits, environment, measured):
    lost = spec_for("linear_probe", target=digits, source="nowhere")

    (unit,) = UnitPlanner(environment=environment).units([lost], workers=1)

    assert unit.members == (lost,)
    assert measured == []


def test_what_is_measured_for_real_agrees_and_says_what_is_faster(digits, environment):
    costs = planning.measure(spec_for("linear_probe", target=digits), environment=environment)

    assert costs.agrees
    assert costs.single_s > 0
    assert costs.stack_s > 0
    assert costs.parameter_count > 0


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"kind": {"single_s": "fast"}}'])
def test_a_damaged_book_is_measured_again(tmp_path, damage):
    (tmp_path / FILE).write_bytes(damage)
    book = CostBook(str(tmp_path))

    assert book.read("kind") is None
    book.write("kind", FASTER)

    assert CostBook(str(tmp_path)).read("kind") == FASTER


def test_a_book_that_cannot_be_written_still_remembers(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    book = CostBook(str(tmp_path / "file"))

    book.write("kind", SLOWER)

    assert book.read("kind") == SLOWER
    assert "measured again next time" in caplog.text


def test_kinds_say_what_is_trained(digits, environment):
    planner = UnitPlanner(environment=environment)
    shapes = [planner._structure(spec_for(name, target=digits)) for name in ("linear_probe", "partial_freeze", "lora")]

    kinds = {kind_of(shape) for shape in shapes if shape is not None}

    assert len(kinds) == 3
