import dataclasses
import math

import pytest

from transmeta.core import codec
from transmeta.core.plan import (
    L2SP,
    Initialisation,
    Lora,
    OptimiserPlan,
    ResidualAdapter,
    Ridge,
    SideNetwork,
    TransferPlan,
)
from transmeta.errors import ConfigError

NUMBERS = OptimiserPlan(learning_rate=1e-3, epochs=5)


@pytest.mark.parametrize(
    ("trainable", "additions", "cut"),
    [
        ((), (), None),
        ((3,), (), 3),
        ((3, 1), (), 1),
        ((), (Lora(rank=1, scale=1.0, cut=2),), 2),
        ((3,), (ResidualAdapter(cut=1),), 1),
        ((), (SideNetwork(width=4),), None),
        ((2,), (SideNetwork(width=4),), 2),
    ],
)
def test_the_cut_is_the_first_stage_that_changes(trainable, additions, cut):
    assert TransferPlan(trainable=trainable, additions=additions, optimiser=NUMBERS).cut == cut


@pytest.mark.parametrize("name", ["learning_rate", "epochs", "head_multiplier", "layer_decay", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_a_number_of_the_optimiser_that_must_be_positive_is(name, value):
    with pytest.raises(ConfigError, match=f"{name}: .* is not positive"):
        dataclasses.replace(NUMBERS, **{name: value})


def test_a_negative_weight_decay_is_refused():
    with pytest.raises(ConfigError, match=r"weight_decay: -0.1 is negative"):
        dataclasses.replace(NUMBERS, weight_decay=-0.1)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_a_warmup_that_is_no_share_is_refused(value):
    with pytest.raises(ConfigError, match=r"warmup: .* is not a share"):
        dataclasses.replace(NUMBERS, warmup=value)


@pytest.mark.parametrize("name", ["probe_epochs", "augment_shift"])
def test_negative_counts_of_a_plan_are_refused(name):
    with pytest.raises(ConfigError, match=f"{name}: -1 is negative"):
        TransferPlan(trainable=(), optimiser=NUMBERS, **{name: -1})


def test_a_probe_that_learns_nothing_is_refused():
    with pytest.raises(ConfigError, match="probe_learning_rate: 0 is not positive"):
        TransferPlan(trainable=(), optimiser=NUMBERS, probe_learning_rate=0)


@pytest.mark.parametrize(("kind", "values"), [(Lora, {"rank": 0, "scale": 1.0}), (SideNetwork, {"width": 0})])
def test_an_addition_of_no_size_is_refused(kind, values):
    with pytest.raises(ConfigError, match=": 0; give 1 or more"):
        kind(**values)


def test_plans_are_equal_by_value():
    plan = TransferPlan(trainable=(1,), optimiser=NUMBERS, penalty=L2SP(strength=0.1, head_strength=0.01))

    assert plan == dataclasses.replace(plan)
    assert hash(plan) == hash(dataclasses.replace(plan))


ONCE = dataclasses.replace(NUMBERS, epochs=1)
RIDGE = TransferPlan(trainable=(), optimiser=ONCE, ridge=Ridge(penalty=0.1))


@pytest.mark.parametrize("penalty", [0.0, -1.0, math.inf, math.nan])
def test_a_ridge_penalty_is_positive_and_finite(penalty):
    with pytest.raises(ConfigError, match=r"penalty: .* is not positive and finite"):
        Ridge(penalty=penalty)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trainable", (3,)),
        ("initialisation", Initialisation.RANDOM),
        ("additions", (SideNetwork(width=4),)),
        ("penalty", L2SP(strength=0.1, head_strength=0.1)),
        ("probe_epochs", 1),
        ("augment_shift", 2),
        ("optimiser", NUMBERS),
    ],
)
def test_a_head_in_closed_form_goes_with_frozen_features_alone(name, value):
    with pytest.raises(ConfigError, match=f"leave out {'epochs' if name == 'optimiser' else name}"):
        dataclasses.replace(RIDGE, **{name: value})


def test_a_plan_with_a_closed_form_head_survives_json():
    assert codec.loads(TransferPlan, codec.dumps(RIDGE)) == RIDGE
    assert RIDGE.cut is None
