"""Fits whose head is solved for instead of optimised."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional

from transmeta.core.plan import OptimiserPlan, Ridge, TransferPlan
from transmeta.core.task import Direction, Metric
from transmeta.errors import Diverged
from transmeta.training.fit import Replica
from transmeta.training.inputs import Inputs
from transmeta.training.ridge import RidgePath
from transmeta.training.staged import prepare

from .cases import changed, finish, fit_of, planned, planned_table, table_data, weights

RIDGE = TransferPlan(trainable=(), optimiser=OptimiserPlan(learning_rate=1.0, epochs=1), ridge=Ridge(penalty=1e-3))


def test_the_head_is_that_of_the_path_made_logits(models, greek, digits_data):
    made = planned(RIDGE, card=greek, models=models)
    with torch.no_grad():
        z = made.model.features(prepare(torch.from_numpy(digits_data.train.x), card=greek))
    path = RidgePath(z, labels=torch.from_numpy(digits_data.train.y), class_count=10)
    weight, bias = path.head(1e-3)

    finish(fit_of(made, digits_data))

    assert made.model.head.weight.detach().numpy() == pytest.approx((path.scale(1e-3) * weight).numpy(), rel=1e-3)
    assert made.model.head.bias.detach().numpy() == pytest.approx((path.scale(1e-3) * bias).numpy(), rel=1e-3)


def test_one_report_tells_all_and_only_the_head_has_changed(models, greek, digits_data):
    made = planned(RIDGE, card=greek, models=models)
    fit = fit_of(made, digits_data)
    before = weights(fit)

    (report,) = finish(fit)

    assert (report.epoch_before, report.epoch, report.epochs) == (0, 1, 1)
    assert changed(before, weights(fit)) == {"head.weight", "head.bias"}
    with torch.no_grad():
        logits = made.model(prepare(torch.from_numpy(digits_data.train.x), card=greek))
        chosen = made.model(prepare(torch.from_numpy(digits_data.validation.x), card=greek)).argmax(dim=1).numpy()
    loss = functional.cross_entropy(logits, torch.from_numpy(digits_data.train.y))
    assert report.train_loss == pytest.approx(float(loss), rel=1e-3)
    assert report.value == float((chosen == digits_data.validation.y).mean()) > 0.2
    made.check_frozen()


def test_seeds_and_the_global_generator_change_nothing(models, greek, digits_data):
    first = fit_of(planned(RIDGE, card=greek, models=models), digits_data)
    finish(first)
    torch.manual_seed(123)
    state = torch.get_rng_state()
    second = fit_of(planned(RIDGE, card=greek, models=models, seed=1), digits_data, seed=1)
    finish(second)

    assert changed(weights(first), weights(second)) == set()
    assert torch.equal(torch.get_rng_state(), state)


def test_many_penalties_run_the_frozen_stages_once(models, greek, digits_data, monkeypatch):
    data = dataclasses.replace(digits_data, train=dataclasses.replace(digits_data.train))  # a split of its own
    read: list[int] = []
    fill = Inputs._fill
    monkeypatch.setattr(Inputs, "_fill", lambda self, **how: (read.append(len(self)), fill(self, **how))[1])
    for penalty in (1e-4, 1e-3, 1e-2):
        plan = dataclasses.replace(RIDGE, ridge=Ridge(penalty=penalty))
        finish(fit_of(planned(plan, card=greek, models=models), data))

    assert read.count(len(data.train)) == 1


def test_sharing_changes_no_number(models, greek, digits_data):
    unknown = dataclasses.replace(greek, weights_sha256=None)
    shared = [fit_of(planned(RIDGE, card=greek, models=models), digits_data) for _ in range(2)]
    alone = planned(RIDGE, card=greek, models=models)
    alone = fit_of(dataclasses.replace(alone, card=unknown), digits_data)

    reports = [finish(fit) for fit in (*shared, alone)]

    assert reports[0] == reports[1] == reports[2]
    assert changed(weights(shared[0]), weights(alone)) == set()


def test_a_log_loss_is_better_than_chance_and_than_outputs_without_a_scale(models, greek, digits_data):
    metric = Metric(name="log_loss", direction=Direction.MINIMISE)
    made = planned(RIDGE, card=greek, models=models)
    fit = fit_of(made, digits_data, metric=metric)
    (report,) = finish(fit)
    with torch.no_grad():
        scale = 2.0 / (made.model.head.weight.abs().max() + made.model.head.bias.abs().max())
        for parameter in made.model.head.parameters():
            parameter.mul_(scale)

    assert report.value < fit.score(digits_data.validation, name="validation")
    assert report.value < 2.3, "ten classes: log 10"


def test_a_fit_that_is_taken_back_is_solved_again_to_the_same_head():
    fit = fit_of(planned_table(RIDGE), table_data())
    start = fit.state()
    (first,) = finish(fit)
    head = weights(fit)

    fit.restore(start)

    assert not fit.is_done
    assert finish(fit) == [first]
    assert changed(head, weights(fit)) == set()


def test_each_replica_solves_for_the_same_head():
    alone = fit_of(planned_table(RIDGE), table_data())
    second = fit_of(planned_table(RIDGE), table_data(), replica=Replica(rank=1, count=2))

    assert finish(alone) == finish(second)
    assert changed(weights(alone), weights(second)) == set()


def test_features_that_overflow_fail_the_trial():
    made = planned_table(RIDGE)
    stage = made.model.stages[0]
    assert isinstance(stage, nn.Linear)
    with torch.no_grad():
        stage.weight.fill_(3e38)

    with pytest.raises(Diverged, match="features are not finite"):
        finish(fit_of(made, table_data()))


def test_logits_that_overflow_name_the_penalty():
    made = planned_table(RIDGE)
    fit = fit_of(made, table_data())
    finish(fit)
    with torch.no_grad():
        made.model.head.weight.fill_(torch.inf)

    with pytest.raises(Diverged, match=r"raise penalty \(now 0.001\)"):
        fit.score(table_data().test, name="test")
