"""A stack gives each member the numbers of its fit alone."""

import dataclasses
import math

import pytest
import torch

from transmeta.core.plan import (
    L2SP,
    Initialisation,
    Lora,
    OptimiserPlan,
    ResidualAdapter,
    Schedule,
    Scope,
    SideNetwork,
    TransferPlan,
)
from transmeta.core.task import ACCURACY, Direction, Metric
from transmeta.errors import Diverged, TrialFailure
from transmeta.training.fit import Fit
from transmeta.training.inputs import Inputs
from transmeta.training.planned import NO_GRADIENT, PlannedModel, apply, sibling
from transmeta.training.stack import Stack
from transmeta.training.stack_member import StackMember
from transmeta.training.structure import structure

from .cases import TABLE_CARD, finish, table_data, table_model, weights

LOSS = Metric(name="log_loss", direction=Direction.MINIMISE)
RATE = OptimiserPlan(learning_rate=3e-3, epochs=3, batch_size=5)
PLANS = {
    "linear_probe": TransferPlan(trainable=(), optimiser=RATE),
    "full_finetune": TransferPlan(trainable=(0, 1), optimiser=RATE),
    "from_scratch": TransferPlan(trainable=(0, 1), optimiser=RATE, initialisation=Initialisation.RANDOM),
    "partial_freeze": TransferPlan(trainable=(1,), optimiser=RATE),
    "surgical": TransferPlan(trainable=(0,), optimiser=RATE),
    "bias_only": TransferPlan(trainable=(0, 1), optimiser=RATE, scope=Scope.BIAS),
    "lp_ft": TransferPlan(trainable=(0, 1), optimiser=RATE, probe_epochs=2, probe_learning_rate=1e-2),
    "l2_sp": TransferPlan(trainable=(0, 1), optimiser=RATE, penalty=L2SP(strength=0.1, head_strength=0.01)),
    "lora": TransferPlan(trainable=(), optimiser=RATE, additions=(Lora(rank=2, scale=2.0),)),
    "residual_adapter": TransferPlan(trainable=(), optimiser=RATE, additions=(ResidualAdapter(cut=1),)),
    "side_tuning": TransferPlan(trainable=(), optimiser=RATE, additions=(SideNetwork(width=4),)),
}


def variants(plan: TransferPlan, count: int = 3) -> list[TransferPlan]:
    """Plans of the same structure whose numbers all differ."""
    made = []
    for k in range(count):
        numbers = dataclasses.replace(
            plan.optimiser,
            learning_rate=plan.optimiser.learning_rate * (1 + k),
            epochs=plan.optimiser.epochs + 8 * k,
            weight_decay=0.02 * k,
            head_multiplier=1.0 + k,
            layer_decay=1.0 - 0.2 * k,
            schedule=(Schedule.COSINE, Schedule.CONSTANT)[k % 2],
            warmup=0.1 * k,
        )
        penalty = plan.penalty and L2SP(strength=plan.penalty.strength * (1 + k), head_strength=0.01 * k)
        made.append(dataclasses.replace(plan, optimiser=numbers, penalty=penalty))
    return made


def planned_of(plan, *, seed=0, source=0, classes=2, dtype=torch.float32) -> PlannedModel:
    made = apply(plan, model=table_model(seed=source).to(dtype), card=TABLE_CARD, class_count=classes, seed=seed)
    made.model.to(dtype)
    return made


def member_of(planned, data, *, seed=0, reader="one", metric=ACCURACY, values=None) -> StackMember:
    def open_inputs(name: str, start: int, waits: bool = True) -> Inputs:
        return Inputs(
            getattr(data, name),
            model=planned.model,
            card=TABLE_CARD,
            start=start,
            keep_prepared=planned.model.side is not None,
            device=torch.device("cpu"),
        )

    return StackMember(
        planned=planned,
        data=data,
        metric=metric,
        seed=seed,
        values=planned.trained_values() if values is None else values,
        reader=reader,
        open_inputs=open_inputs,
    )


def finish_stack(stack: Stack) -> tuple[dict, dict]:
    """Runs a stack to its end; returns what each member showed, and its (state, test score, work) at the end."""
    shown = {index: [] for index in stack.live}
    ends = {}
    while stack.live:
        for index, event in stack.advance().items():
            shown[index].append(event)
        complete = [index for index in stack.live if stack.is_complete(index)]
        for index, score in stack.score(complete, name="test").items():
            ends[index] = (stack.state(index), score, stack.work(index))
        stack.drop(complete)
    return shown, ends


def alone(planned, data, *, seed=0, metric=ACCURACY):
    fit = Fit(planned, data, metric=metric, seed=seed)
    return finish(fit), weights(fit), fit.score(data.test, name="test"), fit.work


def assert_same(shown, end, expected, *, tolerance):
    reports, state, test_score, work = expected
    assert [(r.epoch, r.epoch_before, r.epochs) for r in shown] == [
        (r.epoch, r.epoch_before, r.epochs) for r in reports
    ]
    assert [r.value for r in shown] == pytest.approx([r.value for r in reports], rel=tolerance, abs=tolerance)
    # A mean over batches is added up in float32, whatever the model's type.
    assert [r.train_loss for r in shown] == pytest.approx([r.train_loss for r in reports], rel=1e-5)
    assert end[1] == pytest.approx(test_score, rel=tolerance, abs=tolerance)
    assert end[2] == work, "a stack does the steps, sees the examples and makes the evaluations of its members"
    assert end[0].keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(end[0][name], value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", PLANS)
def test_members_have_the_numbers_of_their_fits_alone(name, dtype, tolerance):
    data = table_data(count=12)
    plans = variants(PLANS[name])
    expected = [alone(planned_of(plan, seed=k, dtype=dtype), data, seed=k, metric=LOSS) for k, plan in enumerate(plans)]

    members = [
        member_of(planned_of(plan, seed=k, dtype=dtype), data, seed=k, metric=LOSS) for k, plan in enumerate(plans)
    ]
    shown, ends = finish_stack(Stack(members))

    for k in range(len(plans)):
        assert_same(shown[k], ends[k], expected[k], tolerance=tolerance)


@pytest.mark.parametrize("name", ["linear_probe", "full_finetune"])
def test_sources_targets_and_numbers_of_classes_may_differ(name):
    """The second target is larger, has a third class, and so has other epochs; the third member has another source."""
    small, large = table_data(count=12), table_data(count=31, seed=1)
    large = dataclasses.replace(
        large,
        class_names=("a", "b", "c"),
        **{
            split: dataclasses.replace(getattr(large, split), y=(getattr(large, split).y + 1) % 3)
            for split in ("train", "validation", "test")
        },
    )
    cases = [(small, 2, 0, "small"), (large, 3, 0, "large"), (small, 2, 5, "other")]
    plans = variants(PLANS[name])

    def planned_for(k):
        _, classes, source, _ = cases[k]
        return planned_of(plans[k], seed=k, source=source, classes=classes, dtype=torch.float64)

    expected = [alone(planned_for(k), cases[k][0], seed=k) for k in range(3)]
    members = [member_of(planned_for(k), cases[k][0], seed=k, reader=cases[k][3]) for k in range(3)]
    shown, ends = finish_stack(Stack(members))

    for k in range(3):
        assert_same(shown[k], ends[k], expected[k], tolerance=1e-9)


@pytest.mark.parametrize("name", ["linear_probe", "full_finetune"])
@pytest.mark.parametrize("seeds", [(3,) * 8, (1, 1, 1, 1, 1, 2, 2, 2)])
def test_members_of_one_seed_share_what_they_read_and_have_their_own_numbers(name, seeds):
    data = table_data(count=12)
    plans = [
        dataclasses.replace(PLANS[name], optimiser=dataclasses.replace(PLANS[name].optimiser, learning_rate=rate))
        for rate in (1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2, 3e-2, 5e-2)
    ]

    def planned_for(k):
        return planned_of(plans[k], seed=seeds[k], dtype=torch.float64)

    stack = Stack([member_of(planned_for(k), data, seed=seeds[k]) for k in range(8)])
    dropped = (1, 6)
    stack.drop(dropped)
    shown, ends = finish_stack(stack)

    for k in range(8):
        if k not in dropped:
            assert_same(shown[k], ends[k], alone(planned_for(k), data, seed=seeds[k]), tolerance=1e-9)


def test_a_member_that_diverges_ends_alone_and_leaves_the_others_bit_identical():
    data = table_data()
    plan = PLANS["full_finetune"]
    wild = dataclasses.replace(plan, optimiser=dataclasses.replace(plan.optimiser, learning_rate=3e38))
    calm = [member_of(planned_of(plan, seed=k), data, seed=k) for k in range(2)]
    tame = dataclasses.replace(plan, optimiser=dataclasses.replace(plan.optimiser, learning_rate=1e-3))

    def states(third):
        stack = Stack([*calm, member_of(planned_of(third), data)])
        found = {}
        while not found or not all(index in found for index in (0, 1)):
            found |= stack.advance()
        return found, [stack.state(index) for index in (0, 1)], stack.live

    tame_found, expected, _ = states(tame)
    found, got, live = states(wild)

    assert isinstance(found[2], Diverged)
    assert "lower learning_rate (now 3e+38)" in str(found[2])
    assert live == (0, 1)
    assert found[0] == tame_found[0]
    for mine, theirs in zip(got, expected, strict=True):
        for name, value in theirs.items():
            assert torch.equal(mine[name], value), name


def test_what_is_dropped_costs_nothing_more_and_the_others_go_on_as_if_alone():
    data = table_data()
    plans = variants(PLANS["full_finetune"])
    expected = alone(planned_of(plans[2], seed=2), data, seed=2)
    stack = Stack([member_of(planned_of(plan, seed=k), data, seed=k) for k, plan in enumerate(plans)])

    first = stack.advance()
    stack.drop([0, 1])
    work = stack.work(0)
    shown, ends = finish_stack(stack)

    assert stack.work(0) == work
    assert_same([*([first[2]] if 2 in first else []), *shown[2]], ends[2], expected, tolerance=1e-5)


def test_additions_without_a_gradient_fail_by_themselves():
    """Features that are all zero give an adapter of the last stage nothing to learn from."""
    plan = PLANS["lora"]
    data = table_data()
    dead = planned_of(plan, seed=1)
    alive = planned_of(plan, seed=0)
    values = {name: torch.zeros_like(value) for name, value in dead.trained_values().items()}

    found = Stack([member_of(alive, data), member_of(dead, data, values=values)]).advance()

    assert isinstance(found[1], TrialFailure)
    assert str(found[1]) == NO_GRADIENT
    assert not isinstance(found.get(0), TrialFailure)


def test_a_sibling_is_what_apply_makes_of_the_other_plan():
    plan, other = variants(PLANS["partial_freeze"], 2)

    made, values = sibling(planned_of(plan, seed=0), other, seed=7)

    expected = planned_of(other, seed=7)
    assert [group.names for group in made.groups] == [group.names for group in expected.groups]
    assert [(g.rate, g.weight_decay, g.is_head) for g in made.groups] == [
        (g.rate, g.weight_decay, g.is_head) for g in expected.groups
    ]
    assert values.keys() == expected.trained_values().keys()
    for name, value in expected.trained_values().items():
        assert torch.equal(values[name], value), name


def test_structures_differ_where_steps_do():
    base = PLANS["partial_freeze"]
    card = dataclasses.replace(TABLE_CARD)
    others = [plan for name, plan in PLANS.items() if name != "partial_freeze"]

    def key(plan):
        return structure(plan, card=card, target_id="t")

    assert all(key(base) != key(other) for other in others)
    assert all(key(base) == key(variant) for variant in variants(base))
    assert math.isfinite(base.optimiser.learning_rate)
