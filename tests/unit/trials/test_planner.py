import dataclasses
import json
import logging

import pytest

from transmeta.core.trial import Measurement, TrialResult, TrialStatus
from transmeta.trials import planner as planning
from transmeta.trials.costs import FILE, CostBook, TierCosts, kind_of
from transmeta.trials.planner import UnitPlanner
from transmeta.trials.unit import Tier, UnitSpec

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


def paced(planner, spec, *, seconds, tier=Tier.SINGLE):
    """Lets the planner see a trial of ten epochs that took `seconds`."""
    curve = (
        Measurement(epoch=10, progress=1.0, progress_before=0.9, value=0.5, train_loss=1.0, cost_s=1.0, wall_s=1.0),
    )
    result = TrialResult(spec=spec, status=TrialStatus.COMPLETED, curve=curve, score=0.5)
    planner.observe(UnitSpec(members=(spec,), tier=tier), results=[result], busy_s=seconds)


@pytest.mark.parametrize(
    ("alone_s", "divided_s", "count", "workers", "tier"),
    [
        (200.0, None, 1, 2, Tier.DIVIDED),  # about 15 + 200 / 1.6
        (30.0, None, 1, 2, Tier.SINGLE),
        (200.0, 210.0, 1, 2, Tier.SINGLE),
        (200.0, None, 2, 2, Tier.SINGLE),
        (200.0, None, 2, 8, Tier.DIVIDED),
        (200.0, None, 7, 8, Tier.SINGLE),
        (None, None, 1, 8, Tier.SINGLE),
    ],
    ids=["long", "short", "measured to be slow", "none idle", "many idle", "few idle", "unknown"],
)
def test_long_trials_are_divided_where_that_takes_less_time(
    digits, environment, alone_s, divided_s, count, workers, tier
):
    planner = UnitPlanner(environment=environment)
    specs = many("full_finetune", digits, count)
    if alone_s is not None:
        paced(planner, specs[0], seconds=alone_s)
    if divided_s is not None:
        paced(planner, specs[0], seconds=divided_s, tier=Tier.DIVIDED)

    units = planner.divided([UnitSpec(members=(spec,)) for spec in specs], workers=workers)

    assert [unit.tier for unit in units] == [tier] * count
    assert members(units) == sorted(spec.id for spec in specs)


def test_what_cannot_be_divided_is_left_whole(digits, environment):
    planner = UnitPlanner(environment=environment)
    probing = spec_for("lp_ft", target=digits)
    paced(planner, probing, seconds=1000.0)

    (unit,) = planner.divided([UnitSpec(members=(probing,))], workers=8)

    assert unit.tier is Tier.SINGLE


def test_a_pace_is_that_of_the_same_kind_of_trial(digits, environment):
    planner = UnitPlanner(environment=environment)
    paced(planner, spec_for("full_finetune", target=digits), seconds=200.0)
    other = spec_for("partial_freeze", target=digits)
    longer = spec_for("full_finetune", target=digits, epochs=20, seed=3)

    tiers = [planner.divided([UnitSpec(members=(spec,))], workers=2)[0].tier for spec in (other, longer)]

    assert tiers == [Tier.SINGLE, Tier.DIVIDED]


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
