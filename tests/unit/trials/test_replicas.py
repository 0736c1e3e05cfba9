"""Trials of all strategies on two processes that share each batch, by PyTorch's own DistributedDataParallel."""

import socket
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from transmeta.core import codec
from transmeta.core.trial import TrialResult, TrialSpec, TrialStatus
from transmeta.strategies.catalogue import find_strategy
from transmeta.training.fit import Replica, is_divisible
from transmeta.trials.environment import Environment
from transmeta.trials.run import TrialRun, allowed_card

from .cases import SHORT, run_to_end, spec_for

pytestmark = pytest.mark.slow


def two(spec: TrialSpec, environment: Environment, *, rank: int) -> TrialResult:
    replica = Replica(rank=rank, count=2, wrap=lambda module: DistributedDataParallel(module, init_sync=False))
    run = TrialRun(spec, environment=environment, replica=replica)
    while not isinstance(step := run.advance(), TrialResult):
        pass
    return step


def work(rank: int, port: int, specs: list[str], environment: str, out: Path) -> None:
    """What each process does; the first leaves its results in `out`."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    place = codec.loads(Environment, environment)
    results = [two(codec.loads(TrialSpec, spec), place, rank=rank) for spec in specs]
    if rank == 0:
        out.write_text("\n".join(codec.dumps(result) for result in results))
    distributed.destroy_process_group()


def test_two_processes_give_the_numbers_of_one_for_each_strategy_that_can_be_divided(digits, environment, tmp_path):
    specs = [spec_for(name, target=digits) for name in sorted(SHORT)]
    specs = [
        spec
        for spec in specs
        if is_divisible(
            find_strategy(spec.strategy.name).plan(spec.strategy.params, allowed_card(spec, environment=environment))
        )
    ]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = (port, [codec.dumps(spec) for spec in specs], codec.dumps(environment), tmp_path / "results")

    torch.multiprocessing.spawn(work, told, nprocs=2)

    results = [codec.loads(TrialResult, line) for line in (tmp_path / "results").read_text().splitlines()]
    assert {spec.strategy.name for spec in specs} == set(SHORT) - {"lp_ft", "ridge_probe"}
    for spec, result in zip(specs, results, strict=True):
        _, alone = run_to_end(spec, environment)
        assert result.status is alone.status is TrialStatus.COMPLETED
        losses = [m.train_loss for m in result.curve]
        expected = [m.train_loss for m in alone.curve]
        # Later, AdamW makes steps of gradients that are nothing but rounding, in one process as in two.
        assert losses[:3] == pytest.approx(expected[:3], abs=1e-5), spec.strategy.name
        assert losses == pytest.approx(expected, abs=5e-3), spec.strategy.name
