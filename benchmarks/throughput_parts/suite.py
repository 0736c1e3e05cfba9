"""All workloads, one after another."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from throughput_parts.messages import Contender
from throughput_parts.report import Row, row_of
from throughput_parts.rounds import FULL, QUICK, Bench, Side, measure, started_rivals
from throughput_parts.workloads import WORKLOADS, missing
from transmeta.core.codec import Json
from transmeta.errors import InputError


def bench_of(
    folder: Path,
    *,
    is_quick: bool,
    engine: str,
    rounds: int | None = None,
    rival_trials: int | None = None,
    most: int | None = None,
) -> Bench:
    """Returns how much is run, and where."""
    scale = QUICK if is_quick else FULL
    if rounds is not None:
        scale = dataclasses.replace(scale, rounds=rounds, rival_rounds=rounds)
    if rival_trials is not None:
        scale = dataclasses.replace(scale, plain_trials=rival_trials, tuned_trials=rival_trials)
    if most is not None:
        scale = dataclasses.replace(scale, most=most)
    return Bench(folder=folder, scale=scale, engine=engine)


def run(names: Sequence[str] | None, *, bench: Bench) -> tuple[dict[str, Row], dict[str, str]]:
    """Returns the rows by workload, and why others could not be run.

    Raises:
        InputError: for a workload that does not exist.
    """
    unknown = [name for name in names or () if name not in WORKLOADS]
    if unknown:
        raise InputError(f"workload {unknown[0]}: there is none; choose of {', '.join(WORKLOADS)}")
    rows: dict[str, Row] = {}
    absent: dict[str, str] = {}
    known: dict[str, Mapping[Contender, Side]] = {}
    with started_rivals(bench) as running:
        for name in names or WORKLOADS:
            workload = WORKLOADS[name]
            reason = missing(workload, models=bench.models)
            if reason:
                absent[name] = reason
                print(f"{name}: skipped; {reason}", file=sys.stderr, flush=True)
                continue
            sides = measure(workload, bench=bench, rivals=running, shared=known.get(workload.rivals_like or ""))
            known[name] = sides
            rows[name] = row_of(workload, sides, bench=bench)
            print(f"{name}: {_in_short(rows[name])}", file=sys.stderr, flush=True)
    return rows, absent


def _in_short(row: Row) -> str:
    return (
        f"{row['ours_per_s']}/s, x{row['vs_plain']} plain, x{row['vs_tuned']} tuned, "
        f"score difference {row['score_difference_max']}"
    )


def heading(command: str, *, machine: Mapping[str, Json], bench: Bench) -> str:
    """Returns what must be known to read the table."""
    scale = bench.scale
    return (
        "## Trials per second against Ray Tune\n\n"
        f"`{command}`, {machine['cpu']}, {machine['cores']} cores, torch {machine['torch']}, Ray {machine['ray']}, "
        f"transmeta {machine['commit']}, {bench.slots} trials or workers at once. Rates are wall time, warm (the Ray "
        "session is up and, of ours, the pool; each round has another split of the data, so that nothing cached before "
        f"is of use), medians of {scale.rounds} rounds in turn ({scale.rival_rounds} of the rivals). The rivals ran "
        f"{scale.plain_trials} (plain) and {scale.tuned_trials} (tuned) of the trials in each round, and their times "
        "are scaled by the pace of the last of these. Cold includes the start of Ray and of the pool. CPU seconds are "
        "those of the whole process tree."
    )
