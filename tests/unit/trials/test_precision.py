"""Trials in bfloat16: near those in float32, and kept apart from them."""

import dataclasses

import pytest
import torch

from transmeta.core.plan import Precision
from transmeta.core.trial import TrialSpec, TrialStatus
from transmeta.errors import ConfigError
from transmeta.training.fit import Fit
from transmeta.trials.environment import Environment
from transmeta.trials.planner import UnitPlanner
from transmeta.trials.run import TrialRun
from transmeta.trials.unit import Tier

from .cases import SHORT, run_to_end, spec_for

CLOSED_FORM = "ridge_probe"


def mixed(spec: TrialSpec) -> TrialSpec:
    return dataclasses.replace(spec, precision=Precision.BFLOAT16)


@pytest.mark.parametrize("name", SHORT)
def test_every_strategy_trains_in_bfloat16_near_where_it_does_in_float32(name, digits, environment):
    spec = spec_for(name, target=digits)

    curve, result = run_to_end(mixed(spec), environment)
    expected, _ = run_to_end(spec, environment)

    assert result.status is TrialStatus.COMPLETED
    assert result.spec.precision is Precision.BFLOAT16
    assert curve[0].train_loss == pytest.approx(expected[0].train_loss, rel=0.02)
    is_rounded = [m.train_loss for m in curve] != [m.train_loss for m in expected]
    assert is_rounded == (name != CLOSED_FORM)


def test_weights_and_moments_stay_in_float32(digits, environment):
    run = TrialRun(mixed(spec_for("full_finetune", target=digits)), environment=environment)
    run.advance()

    tensors = run.state().fit.tensors

    assert any(key.endswith("exp_avg") for key in tensors)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_a_trial_in_bfloat16_goes_on_where_it_was(digits, environment):
    spec = mixed(spec_for("partial_freeze", target=digits))
    run = TrialRun(spec, environment=environment)
    run.advance()
    later = TrialRun(spec, environment=environment)
    later.restore(run.state())

    assert later.advance().train_loss == run.advance().train_loss


def test_trials_in_bfloat16_are_not_stacked(digits, environment):
    specs = [spec_for("linear_probe", target=digits, seed=seed) for seed in range(3)]

    units = UnitPlanner(environment=environment).units([mixed(spec) for spec in specs], workers=1)

    assert [unit.tier for unit in units] == [Tier.SINGLE] * 3


def test_a_device_without_bfloat16_is_refused_by_name(digits, environment: Environment, monkeypatch):
    run = TrialRun(spec_for("linear_probe", target=digits), environment=environment)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla K80")

    with pytest.raises(ConfigError, match="precision bfloat16: Tesla K80 has none; use float32"):
        Fit(
            run._planned,
            run._data,
            metric=digits.metric,
            seed=0,
            device=torch.device("cuda"),
            precision=Precision.BFLOAT16,
        )
