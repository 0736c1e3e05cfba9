"""Curves: how rate, memory and ratio change with the number of trials, their length, and the number of workers."""

import dataclasses
import itertools
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final

from throughput_parts.arena import Measured, Running, opening_of, started
from throughput_parts.caching import by_targets
from throughput_parts.messages import RIVALS, Contender, Kind, Request
from throughput_parts.report import Row, short
from throughput_parts.rounds import Bench, measure, started_rivals
from throughput_parts.tiers import by_members
from throughput_parts.tree import Footprint, footprint
from throughput_parts.workloads import WORKLOADS, Workload, specs_of, target_of
from transmeta.core.codec import Json
from transmeta.errors import InputError

TRIALS: Final = (64, 256, 1024, 4096, 16_384)
QUICK_TRIALS: Final = (64, 256, 1024)
WORKERS: Final = (1, 2)
LOOK_S: Final = 2.0
"""Between two looks at memory and descriptors."""
WARM: Final = 0.25
"""Share of a run after which memory is to be flat."""
MIB: Final = 2**20
LENGTHS: Final = (
    dataclasses.replace(WORKLOADS["probes_cnn_64"], name="probe, 90 examples, 20 epochs", trials=64),
    dataclasses.replace(WORKLOADS["last_block_cnn_128"], name="last block, 90 examples, 20 epochs", trials=32),
    dataclasses.replace(WORKLOADS["cnn_full_64"], name="all, 90 examples, 16 epochs", trials=16),
    dataclasses.replace(
        WORKLOADS["cnn_full_64"], name="all, 350 examples, 30 epochs", trials=8, source="scripts",
        target="glyphs-grek@10", params={"epochs": 30},
    ),
    dataclasses.replace(
        WORKLOADS["cnn_full_64"], name="all, 1125 examples, 40 epochs", trials=4, source="scripts",
        target="glyphs-grek", params={"epochs": 40},
    ),
)  # fmt: skip
"""About 0.05 to 60 CPU seconds of training each."""


def measure_curves(names: Sequence[str], *, bench: Bench) -> dict[str, Json]:
    """Returns the curves by name.

    Raises:
        InputError: for a curve that does not exist.
    """
    unknown = [name for name in names if name not in CURVES]
    if unknown:
        raise InputError(f"curve {unknown[0]}: there is none; choose of {', '.join(CURVES)}")
    return {name: CURVES[name](bench) for name in names}


def as_text(found: Mapping[str, Json]) -> str:
    """Returns each curve as a Markdown table."""
    parts = []
    for name, rows in found.items():
        assert isinstance(rows, list)
        records = [row for row in rows if isinstance(row, dict)]
        columns = [key for key in records[0] if key != "series"] if records else []
        lines = [f"### {name}\n", "| " + " | ".join(columns) + " |", "| --- " * len(columns) + "|"]
        for row in records:
            cells = [value if isinstance(value := row[key], str) else short(value) for key in columns]
            lines.append("| " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def by_trials(bench: Bench) -> list[Json]:
    """Probes on one target, remembered by a real store: time, memory and descriptors against their number."""
    workload = WORKLOADS["probes_cnn_1024"]
    rows: list[Json] = []
    with _ours(bench) as running:
        _probes(running, bench, count=64, round=99)
        for round, count in enumerate(QUICK_TRIALS if bench.scale.is_quick else TRIALS):
            target = target_of(workload, data=bench.data, round=round)
            larger = dataclasses.replace(workload, trials=count)
            specs = specs_of(larger, target, models=bench.models, count=count)
            measured, looks = _watched(running, Request(kind=Kind.STORE, specs=specs))
            row = _trials_row(count, measured, looks)
            rows.append(row)
            print(f"{count} trials: {row['per_s']}/s", file=sys.stderr, flush=True)
    return rows


def by_workers(bench: Bench) -> list[Json]:
    """The same probes and full fine-tunings on one worker and on two."""
    rows: list[Json] = []
    for name, count in (("probes_cnn_1024", 1024), ("mlp_full_256", 256), ("cnn_full_64", 32)):
        for workers in WORKERS:
            with _ours(dataclasses.replace(bench, slots=workers)) as running:
                runs = []
                for number in (99, *range(bench.scale.rounds)):
                    workload = WORKLOADS[name]
                    target = target_of(workload, data=bench.data, round=number)
                    specs = specs_of(workload, target, models=bench.models, count=min(count, bench.scale.most))
                    runs.append(running.ask(Request(kind=Kind.TRIALS, specs=specs)))
            warm = runs[1:]
            wall_s = statistics.median(run.reply.wall_s for run in warm)
            rows.append({"workload": name, "workers": workers, "per_s": round(len(specs) / wall_s, 3)})
    return rows


def by_length(bench: Bench) -> list[Json]:
    """The ratio to the rivals against what one trial costs in training."""
    few = dataclasses.replace(bench.scale, rounds=1, rival_rounds=1, plain_trials=4, tuned_trials=4)
    rows: list[Json] = []
    with started_rivals(bench) as rivals:
        for workload in LENGTHS:
            sides = measure(workload, bench=dataclasses.replace(bench, scale=few), rivals=rivals)
            trials = min(workload.trials, bench.scale.most)
            rates = {contender: trials / side.seconds_for(trials) for contender, side in sides.items()}
            ours = rates[Contender.OURS]
            row: Row = {
                "trial": workload.name,
                "our CPU s per trial": round(sides[Contender.OURS].cpu_s_for(1), 4),
                "ours_per_s": round(ours, 3),
                **{f"vs {contender.value}": round(ours / rates[contender], 2) for contender in RIVALS},
            }
            rows.append(row)
            print(f"{workload.name}: {row}", file=sys.stderr, flush=True)
    return rows


CURVES: Final[Mapping[str, Callable[[Bench], list[Json]]]] = {
    "trials": by_trials,
    "workers": by_workers,
    "length": by_length,
    "members": by_members,
    "targets": by_targets,
}


def _ours(bench: Bench) -> AbstractContextManager[Running]:
    opening = opening_of(
        Contender.OURS, folder=bench.folder, models=bench.models, engine=bench.engine, slots=bench.slots
    )
    return started(opening, plugins=bench.folder / "plugins")


def _probes(running: Running, bench: Bench, *, count: int, round: int) -> Measured:
    workload: Workload = WORKLOADS["probes_cnn_64"]
    target = target_of(workload, data=bench.data, round=round)
    return running.ask(Request(kind=Kind.TRIALS, specs=specs_of(workload, target, models=bench.models, count=count)))


def _watched(running: Running, request: Request) -> tuple[Measured, list[tuple[float, Footprint]]]:
    """Returns the reply, and the footprint of the whole tree every few seconds meanwhile and at the end."""
    looks: list[tuple[float, Footprint]] = []
    is_over = threading.Event()
    start_s = time.perf_counter()

    def watch() -> None:
        for _ in itertools.count():
            looks.append((round(time.perf_counter() - start_s, 2), footprint(running.pid)))
            if is_over.wait(LOOK_S):
                break
        looks.append((round(time.perf_counter() - start_s, 2), footprint(running.pid)))

    thread = threading.Thread(target=watch, name="footprint", daemon=True)
    thread.start()
    measured = running.ask(request)
    is_over.set()
    thread.join()
    return measured, looks


def _trials_row(count: int, measured: Measured, looks: Sequence[tuple[float, Footprint]]) -> Row:
    end_s = looks[-1][0]
    warm = next((seen for at, seen in looks if at >= WARM * end_s), looks[0][1])
    last = looks[-1][1]
    failures = list(measured.reply.failures)
    assert not failures, f"trials failed: {failures}"
    return {
        "trials": count,
        "wall_s": round(measured.reply.wall_s, 3),
        "per_s": round(count / measured.reply.wall_s, 2),
        "cpu_s": round(measured.cpu_s, 2),
        "memory_mib_warm": round(warm.memory_bytes / MIB, 1),
        "memory_mib_end": round(last.memory_bytes / MIB, 1),
        "kib_per_trial": round((last.memory_bytes - warm.memory_bytes) / 1024 / (count * (1 - WARM)), 2),
        "largest_mib": round(last.largest_bytes / MIB, 1),
        "descriptors_warm": warm.descriptors,
        "descriptors_end": last.descriptors,
        "processes": last.processes,
        "series": [[at, round(seen.memory_bytes / MIB, 1), seen.descriptors] for at, seen in looks],
    }
