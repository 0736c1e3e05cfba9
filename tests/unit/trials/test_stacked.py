"""A stacked unit gives its members the results of their runs alone."""

import dataclasses

import pytest
import torch

from transmeta.core.trial import TrialStatus
from transmeta.errors import ConfigError, UnknownNameError
from transmeta.training.checkpoint import read_checkpoint
from transmeta.trials.stacked import StackedUnit

from .cases import run_to_end, spec_for

LONGER = 12


def finish(unit):
    """Runs a unit to its end; returns (measurements by trial, results by trial)."""
    shown, ended = {}, {}
    while not unit.is_done:
        step = unit.advance()
        for member in step.measurements:
            shown.setdefault(member.trial, []).append(member.measurement)
        for result in step.results:
            ended[result.spec.id] = result
    return shown, ended


def probes(digits, count=3):
    return [
        spec_for("linear_probe", target=digits, seed=seed, epochs=LONGER + seed, learning_rate=0.01 * (1 + seed))
        for seed in range(count)
    ]


@pytest.mark.parametrize("name", ["linear_probe", "partial_freeze", "lora"])
def test_members_have_the_results_of_their_runs_alone(name, digits, environment):
    specs = [spec_for(name, target=digits, seed=seed) for seed in range(2)]

    shown, ended = finish(StackedUnit(specs, environment=environment))

    for spec in specs:
        curve, alone = run_to_end(spec, environment)
        result = ended[spec.id]
        assert (result.status, result.parameter_count) == (TrialStatus.COMPLETED, alone.parameter_count)
        assert [m.epoch for m in shown[spec.id]] == [m.epoch for m in curve]
        assert [m.value for m in result.curve] == pytest.approx([m.value for m in alone.curve], abs=0.02)
        assert [m.train_loss for m in result.curve] == pytest.approx([m.train_loss for m in alone.curve], rel=1e-3)
        assert list(result.curve) == shown[spec.id]
        assert result.score == result.curve[-1].value


def test_the_cost_of_a_unit_is_shared_by_its_members(digits, environment):
    _, ended = finish(StackedUnit(probes(digits), environment=environment))

    for result in ended.values():
        costs = [m.cost_s for m in result.curve]
        assert 0 < costs[0] <= costs[-1] <= result.cost_s
        assert result.wall_s > 0


def test_a_member_is_stopped_and_the_others_complete(digits, environment, tmp_path):
    keeping = dataclasses.replace(environment, checkpoint_folder=str(tmp_path))
    specs = probes(digits)
    unit = StackedUnit(specs, environment=keeping)
    unit.advance()

    stopped = unit.stop(specs[1].id, reason="enough")
    _, ended = finish(unit)

    assert (stopped.status, stopped.reason, stopped.test_score) == (TrialStatus.STOPPED, "enough", None)
    assert ended.keys() == {specs[0].id, specs[2].id}
    assert {path.name for path in tmp_path.iterdir()} == {spec.id for spec in specs}


def test_the_model_that_is_kept_is_that_of_the_run_alone(digits, environment, tmp_path):
    spec, other = probes(digits, 2)
    finish(
        StackedUnit([spec, other], environment=dataclasses.replace(environment, checkpoint_folder=str(tmp_path / "a")))
    )
    run_to_end(spec, dataclasses.replace(environment, checkpoint_folder=str(tmp_path / "b")))

    stacked, meta = read_checkpoint(tmp_path / "a" / spec.id)
    alone, meta_alone = read_checkpoint(tmp_path / "b" / spec.id)

    assert meta == meta_alone
    assert stacked.keys() == alone.keys()
    for name, value in alone.items():
        torch.testing.assert_close(stacked[name], value, rtol=1e-4, atol=1e-5)


def test_a_member_whose_plan_does_not_fit_fails_alone(digits, environment, monkeypatch):
    """Its strategy was changed under our feet: it now asks for a stage that is not there."""
    import transmeta.trials.stacked as stacked
    from transmeta.errors import TrialFailure

    specs = probes(digits, 2)
    real = stacked.sibling

    def sibling(planned, plan, *, seed):
        if plan.optimiser.epochs == LONGER + 1:
            raise TrialFailure("nothing to train")
        return real(planned, plan, seed=seed)

    monkeypatch.setattr(stacked, "sibling", sibling)

    _, ended = finish(StackedUnit(specs, environment=environment))

    assert (ended[specs[1].id].status, ended[specs[1].id].reason) == (TrialStatus.FAILED, "nothing to train")
    assert ended[specs[0].id].status is TrialStatus.COMPLETED


def test_what_cannot_be_run_is_said_before_anything_runs(digits, environment):
    with pytest.raises(UnknownNameError):
        StackedUnit([spec_for("linear_probe", target=digits, source="nowhere")], environment=environment)
    with pytest.raises(ConfigError):
        StackedUnit([spec_for("linear_probe", target=digits, rank=3)], environment=environment)
