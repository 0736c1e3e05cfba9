import dataclasses

import pytest
import torch
from torch import nn

from transmeta.core.plan import L2SP, Initialisation, Lora, ResidualAdapter, Scope, SideNetwork, TransferPlan
from transmeta.errors import TrialFailure
from transmeta.training.planned import NORMS, apply
from transmeta.training.staged import StagedModel

from .cases import FULL, NUMBERS, STEADY, TABLE_CARD, finish, fit_of, planned, planned_table, table_data, table_model

PLANS = {
    "probe": TransferPlan(trainable=(), optimiser=NUMBERS),
    "last": TransferPlan(trainable=(3,), optimiser=NUMBERS),
    "surgical": TransferPlan(trainable=(1,), optimiser=NUMBERS),
    "bias": dataclasses.replace(FULL, scope=Scope.BIAS),
    "lora": TransferPlan(trainable=(), optimiser=NUMBERS, additions=(Lora(rank=2, scale=4.0, cut=1),)),
    "adapter": TransferPlan(trainable=(), optimiser=NUMBERS, additions=(ResidualAdapter(cut=2),)),
    "side": TransferPlan(trainable=(), optimiser=NUMBERS, additions=(SideNetwork(width=4),)),
    "both": TransferPlan(trainable=(3,), optimiser=NUMBERS, additions=(SideNetwork(width=4),)),
}


def short(plan: TransferPlan) -> TransferPlan:
    """Three steps: in the first, what lies below a zero receives no gradient."""
    return dataclasses.replace(plan, optimiser=dataclasses.replace(plan.optimiser, epochs=1, batch_size=10))


@pytest.mark.parametrize("name", PLANS)
def test_what_is_frozen_stays_and_all_that_is_trainable_moves(name, models, greek, digits_data):
    made = planned(short(PLANS[name]), card=greek, models=models)
    before = {key: p.detach().clone() for key, p in made.model.named_parameters()}
    trainable = {id(p) for group in made.groups for p in group.parameters}

    finish(fit_of(made, digits_data))

    moved = {key for key, p in made.model.named_parameters() if not torch.equal(p, before[key])}
    expected = {key for key, p in made.model.named_parameters() if id(p) in trainable}
    assert moved == expected
    made.check_frozen()


@pytest.mark.parametrize("name", PLANS)
def test_the_count_of_trainable_weights_is_that_of_what_asks_for_a_gradient(name, models, greek):
    made = planned(PLANS[name], card=greek, models=models)

    expected = sum(p.numel() for p in made.model.parameters() if p.requires_grad)
    assert made.parameter_count == expected > 0


def test_every_trainable_weight_is_in_exactly_one_group(models, greek):
    made = planned(dataclasses.replace(FULL, additions=(SideNetwork(width=4),)), card=greek, models=models)

    grouped = [id(p) for group in made.groups for p in group.parameters]
    assert sorted(grouped) == sorted({id(p) for p in made.model.parameters()})


def test_bias_only_trains_biases_norms_and_the_head_alone(models, greek):
    made = planned(PLANS["bias"], card=greek, models=models)

    norms = {
        id(p)
        for module in made.model.stages.modules()
        if isinstance(module, NORMS)
        for p in module.parameters(recurse=False)
    }
    for name, parameter in made.model.named_parameters():
        wanted = name.startswith("head.") or name.endswith(".bias") or id(parameter) in norms
        assert parameter.requires_grad == wanted, name
    assert norms


def test_the_head_is_new_for_as_many_classes_and_depends_on_the_seed_alone(models, greek):
    first, again = (planned(PLANS["probe"], card=greek, models=models, seed=1).model.head for _ in range(2))
    torch.manual_seed(99)
    other = planned(PLANS["probe"], card=greek, models=models, seed=2).model.head

    assert first.out_features == 10
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)


def test_applying_a_plan_leaves_the_global_generator_alone():
    model = table_model()
    plan = TransferPlan(
        trainable=(0, 1),
        optimiser=NUMBERS,
        initialisation=Initialisation.RANDOM,
        additions=(Lora(rank=1, scale=1.0), SideNetwork(width=4)),
    )
    before = torch.get_rng_state()

    apply(plan, model=model, card=TABLE_CARD, class_count=2, seed=0)

    assert torch.equal(torch.get_rng_state(), before)


def test_random_initialisation_forgets_the_source(models, greek):
    source = planned(FULL, card=greek, models=models).model.stages[0][0].weight
    drawn = planned(dataclasses.replace(FULL, initialisation=Initialisation.RANDOM), card=greek, models=models)

    assert not torch.equal(drawn.model.stages[0][0].weight, source)


def test_rates_follow_the_layer_decay_and_the_heads_multiplier(models, greek):
    numbers = dataclasses.replace(NUMBERS, layer_decay=0.5, head_multiplier=3.0)
    made = planned(dataclasses.replace(FULL, optimiser=numbers), card=greek, models=models)

    rates = {id(p): group.rate for group in made.groups for p in group.parameters}
    for index, stage in enumerate(made.model.stages):
        assert {rates[id(p)] for p in stage.parameters()} == {0.5 ** (3 - index)}
    assert {rates[id(p)] for p in made.model.head.parameters()} == {3.0}
    assert [group.is_head for group in made.groups] == [group.rate == 3.0 for group in made.groups]


def test_the_decay_counts_from_the_last_stage_of_the_model_not_of_the_plan(models, greek):
    numbers = dataclasses.replace(NUMBERS, layer_decay=0.5)
    made = planned(TransferPlan(trainable=(1,), optimiser=numbers), card=greek, models=models)

    assert {group.rate for group in made.groups if not group.is_head} == {0.25}


def test_steps_are_as_long_as_the_rates_say(models, greek, digits_data):
    """AdamW's first step is the learning rate wherever the gradient is not tiny."""
    numbers = dataclasses.replace(
        STEADY, learning_rate=1e-3, layer_decay=0.5, head_multiplier=3.0, epochs=1, batch_size=30
    )
    made = planned(dataclasses.replace(FULL, optimiser=numbers), card=greek, models=models)
    before = {name: p.detach().clone() for name, p in made.model.named_parameters()}

    fit_of(made, digits_data).advance()

    for name, parameter in made.model.named_parameters():
        rate = 3e-3 if name.startswith("head.") else 1e-3 * 0.5 ** (3 - int(name.split(".")[1]))
        assert float((parameter - before[name]).detach().abs().max()) == pytest.approx(rate, rel=0.02), name


def test_matrices_decay_and_vectors_do_not():
    numbers = dataclasses.replace(NUMBERS, weight_decay=0.3)
    made = planned_table(TransferPlan(trainable=(0, 1), optimiser=numbers))

    for group in made.groups:
        for parameter in group.parameters:
            assert group.weight_decay == (0.3 if parameter.ndim > 1 else 0.0)


def test_a_stage_named_twice_is_trained_once():
    made = planned_table(TransferPlan(trainable=(1, 1), optimiser=NUMBERS))

    assert made.parameter_count == planned_table(TransferPlan(trainable=(1,), optimiser=NUMBERS)).parameter_count


@pytest.mark.parametrize(
    "plan",
    [
        TransferPlan(trainable=(2,), optimiser=NUMBERS),
        TransferPlan(trainable=(-1,), optimiser=NUMBERS),
        TransferPlan(trainable=(), optimiser=NUMBERS, additions=(Lora(rank=1, scale=1.0, cut=-1),)),
        TransferPlan(trainable=(), optimiser=NUMBERS, additions=(ResidualAdapter(cut=2),)),
    ],
    ids=["too high", "negative", "negative cut", "cut too high"],
)
def test_a_stage_that_the_model_does_not_have_fails_the_trial(plan):
    with pytest.raises(TrialFailure, match=r"the plan changes stage -?\d, but table-1 has stages 0 to 1"):
        planned_table(plan)


def test_a_stage_with_nothing_in_the_scope_fails_the_trial():
    plan = TransferPlan(trainable=(0, 1), scope=Scope.BIAS, optimiser=NUMBERS)

    with pytest.raises(TrialFailure, match="nothing to train in stage 0 of table-1; choose another stage"):
        apply(plan, model=table_model(bias=False), card=TABLE_CARD, class_count=2, seed=0)


def test_the_penalty_holds_on_to_the_sources_weights_of_trained_stages_only():
    plan = TransferPlan(trainable=(1,), penalty=L2SP(strength=1.0, head_strength=1.0), optimiser=NUMBERS)

    made = planned_table(plan)

    anchored = {id(p) for p, _ in made.anchors}
    assert anchored == {id(p) for p in made.model.stages[1].parameters()}
    assert all(torch.equal(p, anchor) and p is not anchor for p, anchor in made.anchors)


def test_a_frozen_weight_that_was_written_to_is_noticed():
    made = planned_table(TransferPlan(trainable=(1,), optimiser=NUMBERS))
    made.check_frozen()

    with torch.no_grad():
        made.model.stages[0].weight.add_(1.0)

    with pytest.raises(AssertionError, match=r"frozen parameters changed: \['stages\.0\.weight'\]"):
        made.check_frozen()


def test_an_addition_that_takes_no_part_fails_the_trial():
    dead = StagedModel([nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4)], feature_count=4, class_count=1)
    nn.init.constant_(dead.stages[0].bias, -1e6)
    plan = TransferPlan(trainable=(), optimiser=NUMBERS, additions=(Lora(rank=1, scale=1.0, cut=2),))
    made = apply(plan, model=dead, card=TABLE_CARD, class_count=2, seed=0)

    with pytest.raises(TrialFailure, match="the additions of the plan receive no gradient"):
        fit_of(made, table_data()).advance()
