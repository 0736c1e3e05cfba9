import dataclasses
import math
import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from transmeta.core.plan import L2SP, OptimiserPlan, Schedule, SideNetwork, TransferPlan
from transmeta.core.task import Direction, Metric
from transmeta.errors import ConfigError, Diverged
from transmeta.training.checkpoint import parse_tensors, tensor_bytes
from transmeta.training.fit import EVALUATIONS, Fit, FitState, Replica, rates_of
from transmeta.training.planned import PlannedModel, apply
from transmeta.training.staged import prepare

from .cases import (
    FULL,
    NUMBERS,
    STEADY,
    TABLE_CARD,
    changed,
    finish,
    fit_of,
    planned,
    planned_table,
    table_data,
    table_model,
    weights,
)

SHIFTING = dataclasses.replace(FULL, augment_shift=2)
PROBING = dataclasses.replace(FULL, probe_epochs=2, probe_learning_rate=2e-2)
SIDE = TransferPlan(trainable=(), optimiser=NUMBERS, additions=(SideNetwork(width=4),))
PULLED = dataclasses.replace(FULL, penalty=L2SP(strength=0.1, head_strength=0.01))
LOSS = Metric(name="log_loss", direction=Direction.MINIMISE)


def table_plan(**numbers: object) -> TransferPlan:
    return TransferPlan(trainable=(0, 1), optimiser=dataclasses.replace(STEADY, **numbers))


# Measurements


@pytest.mark.parametrize("epochs", [1, 2, 8, 9, 10, 17, 18, 40])
def test_a_fit_is_measured_at_most_nine_times_the_last_time_at_its_end(epochs):
    fit = fit_of(planned_table(table_plan(epochs=epochs)), table_data())

    reports = finish(fit)

    ends = [report.epoch for report in reports]
    assert len(reports) == min(epochs, EVALUATIONS)
    assert ends[-1] == epochs == fit.epochs
    assert [report.epoch_before for report in reports] == [0, *ends[:-1]]
    assert {report.epochs for report in reports} == {epochs}
    assert ends == [math.ceil(epochs * k / len(ends)) for k in range(1, len(ends) + 1)]


def test_probing_epochs_count_as_epochs():
    plan = dataclasses.replace(table_plan(epochs=3), probe_epochs=4)

    assert [report.epoch for report in finish(fit_of(planned_table(plan), table_data()))] == [1, 2, 3, 4, 5, 6, 7]


def test_a_report_holds_the_mean_loss_of_its_epochs_and_the_score_after_the_last():
    often = fit_of(planned_table(table_plan(epochs=9)), table_data(), metric=LOSS)
    losses = [report.train_loss for report in finish(often)]
    rarely = fit_of(planned_table(table_plan(epochs=18)), table_data(), metric=LOSS)

    first = rarely.advance()

    assert first.epoch == 2
    assert first.train_loss == pytest.approx(sum(losses[:2]) / 2, rel=1e-6)
    assert first.value == rarely.score(table_data().validation, name="validation")


def test_the_training_loss_is_the_mean_over_examples_not_over_batches():
    made = planned_table(table_plan(learning_rate=1e-12, epochs=1, batch_size=5))  # batches of 5, 5 and 2
    data = table_data()
    with torch.no_grad():
        logits = made.model(torch.from_numpy(data.train.x))
    expected = float(functional.cross_entropy(logits, torch.from_numpy(data.train.y)))

    assert fit_of(made, data).advance().train_loss == pytest.approx(expected, rel=1e-6)


def test_a_fit_that_is_done_does_not_go_on():
    fit = fit_of(planned_table(table_plan(epochs=1)), table_data())
    finish(fit)

    with pytest.raises(AssertionError, match="all epochs have been run"):
        fit.advance()


def test_the_score_is_that_of_the_model_in_evaluation(models, greek, digits_data):
    made = planned(FULL, card=greek, models=models)
    fit = fit_of(made, digits_data)
    finish(fit)

    with torch.no_grad():
        logits = made.model(prepare(torch.from_numpy(digits_data.test.x), card=greek))

    accuracy = (logits.argmax(dim=1).numpy() == digits_data.test.y).mean()
    assert fit.score(digits_data.test, name="test") == accuracy


# The optimiser


def test_the_penalty_of_l2_sp_has_the_gradient_of_its_formula():
    """Full batches and a by-hand loop: gradient = cross-entropy's + strength·(w − w_source) + head_strength·w_head."""
    strength, head_strength = 0.7, 0.3
    plan = dataclasses.replace(
        table_plan(learning_rate=0.05, epochs=4, batch_size=12),
        penalty=L2SP(strength=strength, head_strength=head_strength),
    )
    data = table_data()
    made, by_hand = planned_table(plan), planned_table(plan).model
    source = {name: p.detach().clone() for name, p in by_hand.named_parameters()}
    optimiser = torch.optim.AdamW(by_hand.parameters(), lr=0.05, weight_decay=0.0)

    for _ in range(4):
        optimiser.zero_grad()
        logits = by_hand(torch.from_numpy(data.train.x))
        functional.cross_entropy(logits, torch.from_numpy(data.train.y)).backward()
        for name, parameter in by_hand.named_parameters():
            assert parameter.grad is not None
            is_head = name.startswith("head.")
            pull = head_strength * parameter if is_head else strength * (parameter - source[name])
            parameter.grad += pull.detach()
        optimiser.step()
    finish(fit_of(made, data))

    for (name, fitted), expected in zip(made.model.named_parameters(), by_hand.parameters(), strict=True):
        assert torch.allclose(fitted, expected, atol=1e-5), name
    assert changed(source, dict(by_hand.named_parameters())) == set(source)


def test_a_strong_pull_keeps_the_source_closer(models, greek, digits_data):
    def drift(strength: float) -> float:
        plan = dataclasses.replace(FULL, penalty=L2SP(strength=strength, head_strength=0.0))
        made = planned(plan, card=greek, models=models)
        finish(fit_of(made, digits_data))
        return sum(float((p - anchor).detach().square().sum()) for p, anchor in made.anchors)

    assert drift(10.0) < 0.5 * drift(0.0)


def test_weight_decay_shrinks_matrices_by_rate_times_decay():
    """With a gradient of zero for a matrix, AdamW multiplies it by 1 − rate·decay, here three times."""
    plan = TransferPlan(trainable=(0,), optimiser=dataclasses.replace(STEADY, learning_rate=0.1, weight_decay=0.5))
    model = table_model()
    nn.init.zeros_(model.stages[1][1].weight)  # nothing flows back to stage 0
    made = apply(plan, model=model, card=TABLE_CARD, class_count=2, seed=0)
    before = made.model.stages[0].weight.detach().clone()

    finish(fit_of(made, table_data()))

    assert torch.allclose(made.model.stages[0].weight, before * (1 - 0.1 * 0.5) ** 3, atol=1e-6)


def test_probing_first_trains_the_head_alone_and_then_everything(models, greek, digits_data):
    fit = fit_of(planned(PROBING, card=greek, models=models), digits_data)
    before = weights(fit)
    heads = {"head.weight", "head.bias"}

    for _ in range(2):
        fit.advance()
        assert changed(before, weights(fit)) == heads
    fit.advance()

    assert changed(before, weights(fit)) == set(before)


def test_probing_takes_its_own_learning_rate(models, greek, digits_data):
    numbers = dataclasses.replace(STEADY, batch_size=30, learning_rate=1e-6, head_multiplier=7.0)
    plan = dataclasses.replace(PROBING, optimiser=numbers)
    fit = fit_of(planned(plan, card=greek, models=models), digits_data)
    before = weights(fit)["head.weight"]

    fit.advance()

    assert float((weights(fit)["head.weight"] - before).abs().max()) == pytest.approx(2e-2, rel=0.01)


def test_a_penalty_does_not_move_the_stages_while_probing(models, greek, digits_data):
    plan = dataclasses.replace(PROBING, penalty=L2SP(strength=1.0, head_strength=0.1))
    fit = fit_of(planned(plan, card=greek, models=models), digits_data)
    before = weights(fit)

    fit.advance()

    assert changed(before, weights(fit)) == {"head.weight", "head.bias"}


@pytest.mark.parametrize(
    ("schedule", "warmup", "done", "expected"),
    [
        (Schedule.CONSTANT, 0.0, 0, 1.0),
        (Schedule.CONSTANT, 0.0, 99, 1.0),
        (Schedule.COSINE, 0.0, 0, 1.0),
        (Schedule.COSINE, 0.0, 25, 0.5 * (1 + math.sqrt(0.5))),
        (Schedule.COSINE, 0.0, 50, 0.5),
        (Schedule.COSINE, 0.0, 75, 0.5 * (1 - math.sqrt(0.5))),
        (Schedule.CONSTANT, 0.1, 0, 1 / 11),
        (Schedule.CONSTANT, 0.1, 9, 10 / 11),
        (Schedule.CONSTANT, 0.1, 10, 1.0),
        (Schedule.COSINE, 0.1, 9, 10 / 11),
        (Schedule.COSINE, 0.1, 10, 1.0),
        (Schedule.COSINE, 0.1, 55, 0.5),
        (Schedule.COSINE, 1.0, 0, 1 / 101),
        (Schedule.COSINE, 1.0, 99, 100 / 101),
    ],
)
def test_the_rate_warms_up_linearly_and_follows_its_schedule(schedule, warmup, done, expected):
    plan = OptimiserPlan(learning_rate=0.1, epochs=10, schedule=schedule, warmup=warmup)

    assert rates_of(plan, steps=10)[done] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.33, 1.0])
def test_the_rate_rises_then_falls_and_is_never_zero(warmup):
    plan = OptimiserPlan(learning_rate=0.1, epochs=7, warmup=warmup)

    rates = rates_of(plan, steps=3).tolist()

    top = rates.index(max(rates))
    assert 0 < min(rates) <= max(rates) <= 1
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


# Failing


def test_a_huge_learning_rate_diverges_with_its_reason(models, greek, digits_data):
    plan = dataclasses.replace(FULL, optimiser=dataclasses.replace(NUMBERS, learning_rate=1e30, batch_size=10))

    with pytest.raises(Diverged, match=r"loss is (nan|inf) in epoch \d; lower learning_rate \(now 1e\+30\)"):
        finish(fit_of(planned(plan, card=greek, models=models), digits_data))


@pytest.mark.parametrize("metric", [LOSS, Metric(name="accuracy", direction=Direction.MAXIMISE)], ids=lambda m: m.name)
def test_a_last_step_that_destroys_the_weights_diverges_too(metric, models, greek, digits_data):
    """The loss of a step is finite if only that step makes the weights useless."""
    numbers = dataclasses.replace(STEADY, learning_rate=1e38, epochs=1, batch_size=30)
    fit = fit_of(
        planned(dataclasses.replace(FULL, optimiser=numbers), card=greek, models=models), digits_data, metric=metric
    )

    with pytest.raises(Diverged, match="logits on the validation split are not finite in epoch 1"):
        fit.advance()


# Determinism


@pytest.mark.parametrize(
    "plan", [FULL, SHIFTING, PROBING, SIDE, PULLED], ids=["full", "shift", "probe", "side", "l2sp"]
)
def test_the_same_seed_gives_the_same_weights_to_the_last_bit(plan, models, greek, digits_data):
    def run(seed: int, noise: int) -> dict[str, Tensor]:
        torch.manual_seed(noise)
        np.random.seed(noise)
        fit = fit_of(planned(plan, card=greek, models=models), digits_data, seed=seed)
        finish(fit)
        return weights(fit)

    first = run(seed=0, noise=1)

    assert changed(first, run(seed=0, noise=2)) == set()
    assert changed(first, run(seed=1, noise=1))


def test_a_fit_leaves_the_global_generators_alone(models, greek, digits_data):
    made = planned(SHIFTING, card=greek, models=models)
    before = torch.get_rng_state()

    finish(fit_of(made, digits_data))

    assert torch.equal(torch.get_rng_state(), before)


def test_scoring_in_between_changes_nothing():
    quiet, curious = (fit_of(planned_table(table_plan(epochs=3)), table_data()) for _ in range(2))

    while not quiet.is_done:
        quiet.advance()
        curious.advance()
        curious.score(table_data().test, name="test")

    assert changed(weights(quiet), weights(curious)) == set()


# Going on


def through_a_file(state: FitState) -> FitState:
    return FitState(tensors=parse_tensors(tensor_bytes(state.tensors), where="state"), epoch=state.epoch)


@pytest.mark.parametrize("carry", [lambda state: state, through_a_file], ids=["in memory", "through a file"])
@pytest.mark.parametrize("plan", [SHIFTING, PROBING, SIDE, PULLED], ids=["full", "probe", "side", "l2sp"])
def test_a_fit_that_is_restored_at_any_measurement_ends_the_same_to_the_last_bit(
    plan, carry, models, greek, digits_data
):
    whole = fit_of(planned(plan, card=greek, models=models), digits_data)
    states, reports = [], []
    while not whole.is_done:
        states.append(whole.state())
        reports.append(whole.advance())
    expected = weights(whole)

    for index, state in enumerate(states):
        resumed = fit_of(planned(plan, card=greek, models=models), digits_data)
        resumed.restore(carry(state))

        assert resumed.epoch == state.epoch
        assert finish(resumed) == reports[index:]
        assert changed(expected, weights(resumed)) == set()


def test_a_fit_that_is_taken_back_forgets_what_it_did_since():
    fit = fit_of(planned_table(table_plan(epochs=3)), table_data())
    start = fit.state()
    finish(fit)
    expected = weights(fit)

    fit.restore(start)
    finish(fit)

    assert changed(expected, weights(fit)) == set()


def test_a_state_does_not_change_when_the_fit_goes_on():
    fit = fit_of(planned_table(table_plan(epochs=2)), table_data())
    fit.advance()
    state = fit.state()
    before = {name: tensor.clone() for name, tensor in state.tensors.items()}

    fit.advance()

    assert changed(before, dict(state.tensors)) == set()


# Replicas


class Exchange:
    """Averages over threads, as a process group does over processes."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._barrier = threading.Barrier(count, timeout=30)
        self._slots: dict[int, Tensor] = {}

    def total(self, tensor: Tensor, *, rank: int) -> Tensor:
        """Returns the sum of all replicas' tensors, in the order of their ranks."""
        self._slots[rank] = tensor.detach().clone()
        self._barrier.wait()
        total = torch.stack([self._slots[r] for r in range(self._count)]).sum(dim=0)
        self._barrier.wait()
        return total

    def wrap(self, rank: int, module: nn.Module) -> nn.Module:
        """Averages the gradients of `module` as soon as they are there, like DistributedDataParallel."""

        def average(parameter: Tensor) -> None:
            assert parameter.grad is not None
            parameter.grad.copy_(self.total(parameter.grad, rank=rank) / self._count)

        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(average)
        return module


def run_replicas(made: list[PlannedModel], data, monkeypatch) -> list[Fit]:
    exchange = Exchange(len(made))
    ranks = threading.local()
    monkeypatch.setattr(
        torch.distributed, "all_reduce", lambda tensor: tensor.copy_(exchange.total(tensor, rank=ranks.rank))
    )
    fits: dict[int, Fit] = {}
    failures: list[BaseException] = []

    def work(rank: int) -> None:
        ranks.rank = rank
        torch.set_num_threads(1)
        try:
            replica = Replica(rank=rank, count=len(made), wrap=lambda module: exchange.wrap(rank, module))
            fits[rank] = fit_of(made[rank], data, metric=LOSS, replica=replica)
            finish(fits[rank])
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(len(made))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    return [fits[rank] for rank in range(len(made))]


@pytest.mark.parametrize("plan", [FULL, SHIFTING, PULLED], ids=["plain", "shifted", "penalised"])
@pytest.mark.parametrize("batch_size", [8, 29], ids=["uneven", "a batch of one"])
def test_two_replicas_follow_one(plan, batch_size, models, greek, digits_data, monkeypatch):
    """AdamW's steps hide the scale of a gradient but not its direction: the same batches and shifts are needed."""
    numbers = OptimiserPlan(learning_rate=1e-3, epochs=2, batch_size=batch_size)
    plan = dataclasses.replace(plan, optimiser=numbers)
    alone = fit_of(planned(plan, card=greek, models=models), digits_data, metric=LOSS)
    expected = finish(alone)

    first, second = run_replicas([planned(plan, card=greek, models=models) for _ in range(2)], digits_data, monkeypatch)

    assert changed(weights(first), weights(second)) == set()
    value = first.score(digits_data.validation, name="validation")
    assert value == pytest.approx(expected[-1].value, abs=1e-5)  # float32 sums in another order
    differences = [
        float((a - b).abs().max()) for a, b in zip(weights(alone).values(), weights(first).values(), strict=True)
    ]
    assert max(differences) < 5e-5  # 5e-6 here; 5e-3 when each replica drew its own shifts


def test_probing_first_is_refused_on_several_replicas(models, greek, digits_data):
    with pytest.raises(ConfigError, match="probing first works on one device; ask for one worker"):
        fit_of(planned(PROBING, card=greek, models=models), digits_data, replica=Replica(rank=0, count=2))
