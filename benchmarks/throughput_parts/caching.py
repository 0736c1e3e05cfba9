"""What a search over many targets finds in the prefix cache, and what that saves."""

import dataclasses
import sys
import time
from typing import Final

import torch

from throughput_parts.report import Row
from throughput_parts.rounds import Bench
from throughput_parts.tiers import empty_environment, run_stack
from throughput_parts.workloads import WORKLOADS, missing, specs_of, target_of
from transmeta.core.codec import Json
from transmeta.trials.environment import Environment
from transmeta.trials.run import prefix_cache

NAMES: Final = ("probes_cnn_64", "probes_lite0_64")
TARGETS: Final = (1, 4, 16)
VISITS: Final = 4
"""Stacks of each target, those of all targets in turn: what is cached of one has to outlast the others."""
MEMBERS: Final = 16


def by_targets(bench: Bench) -> list[Json]:
    """CPU seconds of a trial, and where the outputs of frozen stages came from, against the number of targets."""
    torch.set_num_threads(1)
    rows: list[Json] = []
    for name in NAMES:
        if missing(WORKLOADS[name], models=bench.models):
            continue
        for targets in TARGETS:
            environment = empty_environment(f"targets-{name}-{targets}", bench=bench)
            row = _visits(name, targets, environment=environment, bench=bench)
            rows.append(row)
            print(f"{name}, {targets} targets: {row}", file=sys.stderr, flush=True)
    return rows


def _visits(name: str, targets: int, *, environment: Environment, bench: Bench) -> Row:
    workload = dataclasses.replace(WORKLOADS[name], trials=MEMBERS * VISITS)
    specs = [
        specs_of(workload, target_of(workload, data=bench.data, round=at), models=bench.models, count=workload.trials)
        for at in range(targets)
    ]
    seconds = []
    for visit in range(VISITS):
        began = time.process_time()
        for own in specs:
            run_stack(own[visit * MEMBERS : (visit + 1) * MEMBERS], environment=environment)
        seconds.append((time.process_time() - began) / (targets * MEMBERS))
    stats = prefix_cache(environment.cache_folder).stats
    asked = stats.memory_hits + stats.disk_hits + stats.misses
    return {
        "workload": name,
        "targets": targets,
        "cpu_s_per_trial_first_visit": round(seconds[0], 5),
        "cpu_s_per_trial_later": round(sum(seconds[1:]) / (VISITS - 1), 5),
        "asked": asked,
        "computed": stats.misses,
        "from_memory": stats.memory_hits,
        "from_disk": stats.disk_hits,
        "hit_rate": f"{1 - stats.misses / asked:.0%}",
    }
