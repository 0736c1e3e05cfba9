"""Trials of all strategies on two processes that share each batch, by PyTorch's own DistributedDataParallel."""

import datetime
import multiprocessing
import socket

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from transmeta.core import codec
from transmeta.core.trial import TrialResult, TrialSpec, TrialStatus
from transmeta.strategies.catalogue import find_strategy
from transmeta.training.fit import ALONE, Replica, is_divisible
from transmeta.trials.environment import Environment
from transmeta.trials.run import TrialRun, allowed_card

from .cases import SHORT, spec_for

MEASUREMENTS = 2
"""Later, AdamW makes steps of gradients that are nothing but rounding, in one process as in two."""
TO_THE_END = "linear_probe"


def short_run(spec: TrialSpec, environment: Environment, *, replica: Replica) -> TrialResult:
    """The result of a few measurements, or of all."""
    run = TrialRun(spec, environment=environment, replica=replica)
    steps = 0
    while steps < MEASUREMENTS or spec.strategy.name == TO_THE_END:
        if isinstance(step := run.advance(), TrialResult):
            return step
        steps += 1
    return run.stop(reason="seen enough")


def one_of_two(rank: int, port: int, specs: list[str], environment: str) -> list[TrialResult]:
    """What each of the two processes does."""
    torch.set_num_threads(1)
    patience = datetime.timedelta(seconds=60)
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2, timeout=patience
    )
    replica = Replica(rank=rank, count=2, wrap=lambda module: DistributedDataParallel(module, init_sync=False))
    place = codec.loads(Environment, environment)
    try:
        return [short_run(codec.loads(TrialSpec, spec), place, replica=replica) for spec in specs]
    finally:
        distributed.destroy_process_group()


def test_two_processes_give_the_numbers_of_one_for_each_strategy_that_can_be_divided(digits, environment):
    """This process is the first of the two."""
    specs = [
        spec
        for spec in (spec_for(name, target=digits) for name in sorted(SHORT))
        if is_divisible(
            find_strategy(spec.strategy.name).plan(spec.strategy.params, allowed_card(spec, environment=environment))
        )
    ]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = (port, [codec.dumps(spec) for spec in specs], codec.dumps(environment))
    second = multiprocessing.get_context("spawn").Process(target=one_of_two, args=(1, *told))
    second.start()
    alone = [short_run(spec, environment, replica=ALONE) for spec in specs]

    together = one_of_two(0, *told)

    second.join()
    assert second.exitcode == 0
    assert {spec.strategy.name for spec in specs} == set(SHORT) - {"lp_ft", "ridge_probe"}
    for spec, result, expected in zip(specs, together, alone, strict=True):
        name = spec.strategy.name
        assert result.status is expected.status
        assert result.status is (TrialStatus.COMPLETED if name == TO_THE_END else TrialStatus.STOPPED)
        assert result.test_score == expected.test_score, name
        losses = [m.train_loss for m in expected.curve]
        assert [m.train_loss for m in result.curve] == pytest.approx(losses, abs=1e-5), name
        assert [m.value for m in result.curve] == [m.value for m in expected.curve], name
