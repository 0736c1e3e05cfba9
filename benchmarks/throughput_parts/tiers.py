"""What the planner chose, beside what it could have chosen; and how near the processor's limit a stack's step comes."""

import statistics
import sys
import time
from collections.abc import Sequence
from typing import Final

import torch

from throughput_parts.report import Row
from throughput_parts.rounds import Bench
from throughput_parts.workloads import WORKLOADS, Workload, specs_of, target_of
from transmeta.core.codec import Json
from transmeta.core.trial import TrialSpec
from transmeta.models.library import ModelLibrary
from transmeta.tasks.catalogue import load_task
from transmeta.trials.environment import Environment
from transmeta.trials.opening import open_unit
from transmeta.trials.planner import UnitPlanner
from transmeta.trials.unit import unit_of
from transmeta.workspace import Workspace

SIZES: Final = (1, 2, 4, 8, 16, 32)
NAMES: Final = ("probes_cnn_64", "last_block_cnn_128", "head_side_adapters_128", "mlp_full_256")
WHOLE: Final = ("mlp_full_256",)
"""Where everything is trained, so that the operations of a step are three passes through the model."""
TRIALS: Final = 32
ROUNDS: Final = 3
SIDE: Final = 1024
PRODUCTS: Final = 20


def by_members(bench: Bench) -> list[Json]:
    """CPU seconds of a trial against the members of its stack, one thread, in one process; and the planner's choice."""
    torch.set_num_threads(1)
    peak = _product_gflops()
    environment = empty_environment("tiers", bench=bench)
    rows: list[Json] = []
    for name in NAMES:
        workload = WORKLOADS[name]
        target = target_of(workload, data=bench.data, round=0)
        specs = specs_of(workload, target, models=bench.models, count=TRIALS)
        seconds = _seconds(specs, environment=environment)
        chosen, planning_s = _chosen(specs, environment=environment)
        best = min(seconds.values())
        nearest = min(SIZES, key=lambda size: abs(size - chosen))
        work = _gigaflops(workload, specs[0], bench=bench) if name in WHOLE else None
        for size, taken in seconds.items():
            row: Row = {
                "workload": name,
                "members": size,
                "cpu_s_per_trial": round(taken, 5),
                "chosen": "yes" if size == nearest else "",
                "over_best": round(taken / best, 2),
                "share_of_product": "" if work is None else f"{work / taken / peak:.0%}",
                "planning_s": round(planning_s, 3),
            }
            rows.append(row)
            print(f"{name}, {size} members: {row}", file=sys.stderr, flush=True)
    return rows


def _seconds(specs: Sequence[TrialSpec], *, environment: Environment) -> dict[int, float]:
    """Returns the median CPU seconds of a trial by the number of members, the sizes in turn."""
    taken: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(1 + ROUNDS):
        for size in SIZES:
            count = len(specs) if size > 1 else len(specs) // 4
            began = time.process_time()
            for begin in range(0, count, size):
                run_stack(specs[begin : begin + size], environment=environment)
            taken[size].append((time.process_time() - began) / count)
    return {size: statistics.median(rounds[1:]) for size, rounds in taken.items()}


def empty_environment(name: str, *, bench: Bench) -> Environment:
    """Returns that of a workspace of its own, with the benchmark's models."""
    workspace = Workspace(folder=bench.folder / name)
    workspace.folder.mkdir()
    workspace.models.symlink_to(bench.models)
    return workspace.environment()


def run_stack(specs: Sequence[TrialSpec], *, environment: Environment) -> None:
    """Runs trials to their end in this process, together."""
    unit = open_unit(unit_of(specs), environment=environment)
    while not unit.is_done:
        unit.advance()


def _chosen(specs: Sequence[TrialSpec], *, environment: Environment) -> tuple[int, float]:
    """Returns the members of the planner's units, and the seconds that it took when it knew the costs already."""
    UnitPlanner(environment=environment).units(specs, workers=1)
    began = time.perf_counter()
    units = UnitPlanner(environment=environment).units(specs, workers=1)
    return len(units[0].members), time.perf_counter() - began


def _gigaflops(workload: Workload, spec: TrialSpec, *, bench: Bench) -> float:
    """Returns the operations of a trial's training: forward, and twice as many backward."""
    card = ModelLibrary([bench.models]).card(workload.source, target=spec.target)
    epochs = workload.params["epochs"]
    assert isinstance(epochs, int)
    examples = epochs * len(load_task(spec.target).train.y)
    return 6e-9 * examples * sum(stage.macs for stage in card.stages)


def _product_gflops() -> float:
    """Returns what a large product reaches here, best of several, one thread."""
    left, right = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    best = 0.0
    for _ in range(PRODUCTS):
        began = time.perf_counter()
        torch.mm(left, right)
        best = max(best, 2e-9 * SIDE**3 / (time.perf_counter() - began))
    return best
