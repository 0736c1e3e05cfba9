"""A trial on workers of Ray Train: what each of them does."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final, cast

from transmeta.execution.ray import session  # noqa: F401  # sets Ray's environment before Ray is imported

# isort: split
import ray.train
import torch

from transmeta.core import codec
from transmeta.core.trial import STOPPED_BY_SEARCH, Measurement, TrialResult, TrialSpec
from transmeta.execution.ray.orders import Orders
from transmeta.execution.ray.train_run import own_device, own_replica, report_with_checkpoint, restored
from transmeta.execution.ray.worker import REFUSALS, Refusal
from transmeta.execution.watch import Order, Question
from transmeta.training.fit import FitState, Replica
from transmeta.trials.environment import Environment
from transmeta.trials.run import THREADS, TrialRun, TrialState

ERRAND: Final = "errand"
ORDERS: Final = "orders"
"""Keys of the loop's configuration."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrialErrand:
    """A trial to run, with what its workers need beside it."""

    spec: TrialSpec
    environment: Environment


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a trial; of one that was ordered to end, neither.

    Attributes:
        result: without its curve, which was shown.
    """

    result: TrialResult | None = None
    refusal: Refusal | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How far a trial is; kept beside the weights of each checkpoint."""

    curve: tuple[Measurement, ...]
    schema: int = 1


def run_trial(config: Mapping[str, object]) -> str:
    """Ray Train's loop on each worker; returns the `Outcome` as JSON."""
    torch.set_num_threads(THREADS)
    errand = codec.loads(TrialErrand, cast(str, config[ERRAND]))
    orders = cast(Orders, config[ORDERS])
    orders.enter()
    try:
        return codec.dumps(_run(errand, orders))
    except torch.OutOfMemoryError as error:  # of this worker alone, which the others would wait for
        orders.ask(Question(failure=str(error)))
        raise


def _run(errand: TrialErrand, orders: Orders) -> Outcome:
    replica, device = own_replica(), own_device()
    try:
        run = TrialRun(errand.spec, environment=errand.environment, replica=replica, device=device)
    except REFUSALS as error:
        return Outcome(refusal=Refusal(message=str(error), exit_code=error.exit_code))
    curve = _resume(run)
    while True:
        order = _order(orders, curve, replica=replica, device=device)
        if order is Order.END:
            return Outcome()
        step = run.stop(reason=STOPPED_BY_SEARCH) if order is Order.STOP else run.advance()
        cost_s = round(_total(step.cost_s, replica=replica, device=device), 6)
        if isinstance(step, TrialResult):
            return Outcome(result=dataclasses.replace(step, cost_s=cost_s, curve=()))
        curve = (*curve, dataclasses.replace(step, cost_s=cost_s))
        _report(run, curve, is_first=replica.rank == 0)


def _resume(run: TrialRun) -> tuple[Measurement, ...]:
    """Restores the last checkpoint of the trial, if any, and returns its curve."""
    checkpoint = restored()
    if checkpoint is None:
        return ()
    tensors, meta = checkpoint
    kept = codec.from_json(Kept, meta)
    run.restore(TrialState(fit=FitState(tensors=tensors, epoch=kept.curve[-1].epoch), curve=kept.curve))
    return kept.curve


def _report(run: TrialRun, curve: Sequence[Measurement], *, is_first: bool) -> None:
    last = curve[-1]
    metrics = {"epoch": last.epoch, "train_loss": last.train_loss, "value": last.value}
    if is_first:
        kept = codec.to_json(Kept(curve=tuple(curve)))
        report_with_checkpoint(metrics, tensors=run.state().fit.tensors, meta=kept)
    else:
        ray.train.report(metrics)


def _order(orders: Orders, curve: tuple[Measurement, ...], *, replica: Replica, device: torch.device) -> Order:
    """Returns the driver's order, for which the first worker asks, and which all of them follow."""
    told = orders.ask(Question(curve=curve)) if replica.rank == 0 else Order.GO_ON
    if replica.count == 1:
        return told
    orders_known = tuple(Order)
    index = torch.tensor(orders_known.index(told), device=device)
    torch.distributed.broadcast(index, src=0)
    return orders_known[int(index)]


def _total(cost_s: float, *, replica: Replica, device: torch.device) -> float:
    """Returns what all workers have spent."""
    if replica.count == 1:
        return cost_s
    total = torch.tensor(cost_s, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(total)
    return float(total)
