import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from transmeta.core import codec
from transmeta.core.model import TrainedOn
from transmeta.core.task import Direction, Metric
from transmeta.core.trial import Measurement, StrategySpec, TrialResult, TrialStatus
from transmeta.errors import ConfigError, UnknownNameError, UnsafeFileError
from transmeta.models.library import ModelLibrary, save_model
from transmeta.strategies.catalogue import strategy_names
from transmeta.training.checkpoint import WEIGHTS
from transmeta.training.fit import Fit, Replica
from transmeta.trials.environment import Environment
from transmeta.trials.predict import AdaptedModel
from transmeta.trials.run import TrialRun, cached_data, prefix_cache

from .cases import SHORT, run_to_end, spec_for


def without_times(curve: tuple[Measurement, ...]) -> list[Measurement]:
    return [dataclasses.replace(m, cost_s=0.0, wall_s=0.0) for m in curve]


def numbers(result: TrialResult) -> tuple[object, ...]:
    """What a trial showed, without how long it took."""
    return (result.status, result.score, result.test_score, result.parameter_count, without_times(result.curve))


def test_every_strategy_that_is_installed_is_tried_here():
    assert set(SHORT) == set(strategy_names())


@pytest.mark.parametrize("name", sorted(SHORT))
def test_a_trial_of_each_strategy_completes_and_its_model_predicts_what_was_measured(
    name, digits, digits_data, keeping
):
    spec = spec_for(name, target=digits)

    curve, result = run_to_end(spec, keeping)

    assert (result.status, result.spec, result.reason) == (TrialStatus.COMPLETED, spec, "")
    assert result.curve == tuple(curve)
    assert 1 <= len(curve) <= 9
    assert curve[-1].progress == 1.0
    assert result.score == curve[-1].value
    assert result.parameter_count > 0
    assert result.test_score is not None
    assert result.checkpoint is not None
    model = AdaptedModel.load(Path(result.checkpoint))
    hits = model.probabilities(digits_data.test.x).argmax(axis=1) == digits_data.test.y
    assert float(hits.mean()) == result.test_score


def test_a_trial_learns(digits, environment):
    _, result = run_to_end(spec_for("full_finetune", target=digits), environment)

    assert result.score is not None
    assert result.score > 0.2, "ten classes"
    assert result.curve[-1].train_loss < result.curve[0].train_loss


def test_measurements_follow_one_another_in_progress_and_time(digits, environment):
    _, result = run_to_end(spec_for("linear_probe", target=digits, epochs=20), environment)

    befores = [m.progress_before for m in result.curve]
    assert befores == [0.0, *[m.progress for m in result.curve[:-1]]]
    assert [m.progress for m in result.curve] == [m.epoch / 20 for m in result.curve]
    for values in ([m.wall_s for m in result.curve], [m.cost_s for m in result.curve]):
        assert values == sorted(values)
        assert values[0] >= 0
    assert result.wall_s >= result.curve[-1].wall_s
    assert result.cost_s >= result.curve[-1].cost_s


def test_the_same_spec_gives_the_same_numbers_and_another_seed_other_ones(digits, environment):
    spec = spec_for("linear_probe", target=digits)
    _, first = run_to_end(spec, environment)
    torch.manual_seed(123)
    _, again = run_to_end(spec, environment)
    _, other = run_to_end(dataclasses.replace(spec, seed=1), environment)

    assert numbers(first) == numbers(again)
    assert numbers(first) != numbers(other)


def test_two_trials_in_turns_do_not_disturb_one_another(digits, environment):
    specs = [spec_for("linear_probe", target=digits), spec_for("surgical", target=digits)]
    alone = [numbers(run_to_end(spec, environment)[1]) for spec in specs]
    runs = [TrialRun(spec, environment=environment) for spec in specs]
    results: dict[int, TrialResult] = {}

    while len(results) < 2:
        for index, run in enumerate(runs):
            if index not in results and isinstance(step := run.advance(), TrialResult):
                results[index] = step

    assert [numbers(results[index]) for index in range(2)] == alone


def test_a_trial_on_a_loss_reports_the_loss(digits, environment):
    loss = Metric(name="log_loss", direction=Direction.MINIMISE)
    spec = spec_for("linear_probe", target=dataclasses.replace(digits, metric=loss))

    _, result = run_to_end(spec, environment)

    assert result.score is not None
    assert result.utility == -result.score < 0


# Ending early


def test_a_trial_that_is_stopped_keeps_its_curve_and_has_no_test_score(digits, keeping, digits_data):
    run = TrialRun(spec_for("linear_probe", target=digits), environment=keeping)
    first, second = run.advance(), run.advance()

    result = run.stop(reason="stopped by the search")

    assert result.status is TrialStatus.STOPPED
    assert result.curve == (first, second)
    assert result.score == second.value
    assert (result.test_score, result.reason) == (None, "stopped by the search")
    assert result.checkpoint is not None
    model = AdaptedModel.load(Path(result.checkpoint))
    hits = model.probabilities(digits_data.validation.x).argmax(axis=1) == digits_data.validation.y
    assert float(hits.mean()) == result.score


def test_a_trial_that_is_stopped_before_its_first_measurement_leaves_no_model(digits, keeping):
    result = TrialRun(spec_for("linear_probe", target=digits), environment=keeping).stop(reason="r")

    assert (result.status, result.curve, result.score, result.checkpoint) == (TrialStatus.STOPPED, (), None, None)


@pytest.fixture
def wild(models, digits, greek, tmp_path) -> Environment:
    """A source whose last stage is so large that the first step on it overflows."""
    model = ModelLibrary([models]).load(greek)
    with torch.no_grad():
        for parameter in model.stages[3].parameters():
            parameter.mul_(1e30)
    card = dataclasses.replace(greek, id="wild-00000000", feature_mean=(), feature_std=())
    save_model(tmp_path / "wild" / card.id, card=card, model=model)
    return Environment(model_folders=(str(tmp_path / "wild"),), checkpoint_folder=str(tmp_path / "kept"))


def test_a_trial_that_diverges_is_a_result_and_not_an_error(wild, digits):
    curve, result = run_to_end(spec_for("full_finetune", target=digits, source="wild-00000000"), wild)

    assert (result.status, result.curve) == (TrialStatus.FAILED, tuple(curve))
    assert "lower learning_rate" in result.reason
    assert (result.score, result.test_score, result.checkpoint) == (None, None, None)
    assert codec.loads(TrialResult, codec.dumps(result)) == result


def test_a_trial_whose_test_examples_break_the_model_fails_too(digits, environment, monkeypatch):
    from transmeta.errors import Diverged
    from transmeta.training.fit import Fit

    score = Fit.score

    def fail_on_test(self, split, *, name):
        if name == "test":
            raise Diverged("logits on the test split are not finite")
        return score(self, split, name=name)

    monkeypatch.setattr(Fit, "score", fail_on_test)
    curve, result = run_to_end(spec_for("linear_probe", target=digits), environment)

    assert (result.status, result.reason) == (TrialStatus.FAILED, "logits on the test split are not finite")
    assert result.curve == tuple(curve)
    assert result.score is None


def test_a_trial_that_runs_out_of_memory_fails(digits, environment, monkeypatch):
    from transmeta.training.fit import Fit

    def fail(self):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Fit, "advance", fail)
    _, result = run_to_end(spec_for("linear_probe", target=digits), environment)

    assert (result.status, result.reason) == (TrialStatus.FAILED, "CUDA out of memory")


def test_a_plan_that_does_not_fit_the_model_fails_the_trial(digits, environment, monkeypatch):
    from transmeta.errors import TrialFailure
    from transmeta.trials import run as module

    def refuse(*_: object, **__: object) -> None:
        raise TrialFailure("nothing to train in stage 2")

    monkeypatch.setattr(module, "apply", refuse)
    run = TrialRun(spec_for("linear_probe", target=digits), environment=environment)
    result = run.advance()

    assert isinstance(result, TrialResult)
    assert (result.status, result.reason) == (TrialStatus.FAILED, "nothing to train in stage 2")
    assert (result.curve, result.parameter_count) == ((), 0)


# The fault of whoever asked


def test_a_source_that_has_seen_the_target_is_refused(models, digits, greek, tmp_path):
    card = dataclasses.replace(greek, id="cheat-1", trained_on=(TrainedOn(dataset=digits.dataset, domain="digits"),))
    save_model(tmp_path / card.id, card=card, model=ModelLibrary([models]).load(greek))

    with pytest.raises(ConfigError, match="source cheat-1 has seen digits or takes other inputs than digits"):
        TrialRun(
            spec_for("linear_probe", target=digits, source="cheat-1"),
            environment=Environment(model_folders=(str(tmp_path),)),
        )


def test_a_source_that_does_not_exist_is_refused_with_the_nearest_one(digits, environment):
    with pytest.raises(UnknownNameError, match=r"unknown model 'greek-b57db96'; did you mean 'greek-"):
        TrialRun(spec_for("linear_probe", target=digits, source="greek-b57db96"), environment=environment)


def test_a_strategy_that_does_not_exist_is_refused_with_the_nearest_one(digits, environment):
    spec = dataclasses.replace(spec_for("lora", target=digits), strategy=StrategySpec(name="linear_prob", params={}))

    with pytest.raises(UnknownNameError, match=r"unknown strategy 'linear_prob'; did you mean 'linear_probe'\?"):
        TrialRun(spec, environment=environment)


def test_a_hyperparameter_that_the_strategy_does_not_have_is_refused(digits, environment):
    with pytest.raises(ConfigError, match="rank"):
        TrialRun(spec_for("linear_probe", target=digits, rank=3), environment=environment)


def test_damaged_weights_are_refused_before_any_training(models, digits, greek, tmp_path):
    card = dataclasses.replace(greek, id="broken-1")
    save_model(tmp_path / card.id, card=card, model=ModelLibrary([models]).load(greek))
    path = tmp_path / card.id / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(UnsafeFileError, match="differs from its manifest"):
        TrialRun(
            spec_for("linear_probe", target=digits, source="broken-1"),
            environment=Environment(model_folders=(str(tmp_path),)),
        )


# What is kept


def test_a_model_is_kept_under_its_trials_id_as_numbers_and_json(digits, keeping):
    spec = spec_for("linear_probe", target=digits)
    _, result = run_to_end(spec, keeping)

    assert result.checkpoint == str(Path(keeping.checkpoint_folder) / spec.id)
    meta = json.loads((Path(result.checkpoint) / "meta.json").read_text())
    assert meta["classes"] == [str(digit) for digit in range(10)]
    assert meta["spec"] == codec.to_json(spec)


def test_nothing_is_kept_where_nothing_is_asked_for(digits, environment):
    assert run_to_end(spec_for("linear_probe", target=digits), environment)[1].checkpoint is None


def test_an_environment_is_told_as_json(keeping):
    assert codec.loads(Environment, codec.dumps(keeping)) == keeping


def test_the_data_of_a_task_is_read_once(digits):
    text = codec.dumps(digits)

    assert cached_data(text) is cached_data(text)
    assert np.array_equal(cached_data(text).train.y, cached_data(text).train.y)


@pytest.mark.parametrize("name", ["linear_probe", "partial_freeze", "full_finetune", "lp_ft", "side_tuning"])
def test_what_trials_share_of_frozen_stages_does_not_change_their_numbers(name, digits, environment, tmp_path):
    caching = dataclasses.replace(environment, cache_folder=str(tmp_path))
    spec = spec_for(name, target=digits)

    _, plain = run_to_end(spec, environment)
    _, first = run_to_end(spec, caching)
    prefix_cache.cache_clear()
    _, from_disk = run_to_end(spec, caching)

    assert numbers(first) == numbers(plain)
    assert numbers(from_disk) == numbers(plain)


@pytest.mark.parametrize("name", ["full_finetune", "lp_ft", "ridge_probe"])
def test_a_trial_goes_on_from_its_state_with_the_numbers_of_an_undisturbed_one(name, digits, environment):
    spec = spec_for(name, target=digits)
    curve, undisturbed = run_to_end(spec, environment)
    first = TrialRun(spec, environment=environment)
    for _ in range(max(1, len(curve) - 1)):
        first.advance()

    second = TrialRun(spec, environment=environment)
    second.restore(first.state())
    steps = []
    while not isinstance(steps[-1] if steps else None, TrialResult):
        steps.append(second.advance())

    assert numbers(steps[-1]) == numbers(undisturbed)
    assert steps[-1].cost_s >= first.state().curve[-1].cost_s


def test_memory_that_one_of_several_replicas_lacks_is_not_a_result(digits, environment, monkeypatch):
    def exhausted(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Fit, "advance", exhausted)
    spec = spec_for("full_finetune", target=digits)
    alone = TrialRun(spec, environment=environment)
    one_of_two = TrialRun(spec, environment=environment, replica=Replica(rank=1, count=2))

    assert alone.advance().status is TrialStatus.FAILED
    with pytest.raises(torch.OutOfMemoryError):
        one_of_two.advance()


def test_the_first_replica_alone_keeps_the_model(digits, keeping):
    spec = spec_for("ridge_probe", target=digits)
    run = TrialRun(spec, environment=keeping, replica=Replica(rank=1, count=2))
    while not isinstance(step := run.advance(), TrialResult):
        pass

    assert step.status is TrialStatus.COMPLETED
    assert step.checkpoint is None
