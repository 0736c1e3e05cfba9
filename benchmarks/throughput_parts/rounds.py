"""One workload, measured: ours and the rivals in turn, several rounds."""

import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final

from throughput_parts.arena import Measured, Running, opening_of, started
from throughput_parts.messages import RIVALS, SLOTS, Contender, Kind, Reply, Request
from throughput_parts.workloads import RIDGE, WORKLOADS, Workload, shipped_strategies, specs_of, target_of
from transmeta.core.trial import TrialSpec

COLD_ROUND: Final = 90
"""Seed of the data of the first, cold run, which no later round sees."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is run.

    Attributes:
        rounds: of ours.
        rival_rounds: of the rivals.
        plain_trials, tuned_trials: of a rival in each round.
        most: of our trials in a workload, to try things out.
    """

    is_quick: bool
    rounds: int
    rival_rounds: int
    plain_trials: int
    tuned_trials: int
    most: int = 1_000_000

    def trials(self, workload: Workload) -> int:
        return min(self.most, workload.count(is_quick=self.is_quick))

    def rival_trials(self, contender: Contender) -> int:
        return self.plain_trials if contender is Contender.PLAIN else self.tuned_trials


FULL: Final = Scale(is_quick=False, rounds=3, rival_rounds=3, plain_trials=8, tuned_trials=24)
QUICK: Final = Scale(is_quick=True, rounds=2, rival_rounds=1, plain_trials=4, tuned_trials=8)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where and how it is run.

    Attributes:
        folder: of this benchmark run; holds `models`, `data`, `plugins`.
    """

    folder: Path
    scale: Scale
    engine: str = "ray"
    slots: int = SLOTS

    @property
    def models(self) -> Path:
        return self.folder / "models"

    @property
    def data(self) -> Path:
        return self.folder / "data"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one contender showed on one workload.

    Attributes:
        runs: one a round, warm: its session is up, its pool and processes too where it has any, its caches are empty.
        cold: the first run of all; that of the first round for a rival, which keeps nothing between runs but Ray.
    """

    runs: tuple[Measured, ...]
    cold: Measured
    start_s: float
    start_cpu_s: float
    note: str

    def seconds_for(self, trials: int) -> float:
        """Returns the median wall time of `trials` trials, scaled from the runs where these had fewer."""
        return statistics.median(scaled_wall_s(run.reply, trials=trials) for run in self.runs)

    def cpu_s_for(self, trials: int) -> float:
        """Returns the median CPU seconds of `trials` trials, in proportion where the runs had fewer."""
        return statistics.median(run.cpu_s * trials / max(1, len(run.reply.ended_s)) for run in self.runs)


Sides = Mapping[Contender, Side]


def scaled_wall_s(reply: Reply, *, trials: int, slots: int = SLOTS) -> float:
    """Returns the wall time that `trials` trials would take at the pace of the last ones of a run.

    The start and end of a run are paid once, so more trials do not cost in proportion: in the rivals' favour.
    """
    ended = reply.ended_s
    if trials <= len(ended):
        return reply.wall_s
    if len(ended) < 2 * slots:
        return reply.wall_s * trials / max(1, len(ended))
    pace_s = (ended[-1] - ended[slots - 1]) / (len(ended) - slots)
    return reply.wall_s + (trials - len(ended)) * pace_s


@contextmanager
def started_rivals(bench: Bench) -> Iterator[Mapping[Contender, Running]]:
    """Starts the rivals, once for all workloads: they keep nothing between runs but Ray."""
    with ExitStack() as stack:
        yield {contender: stack.enter_context(_start(contender, bench)) for contender in RIVALS}


def measure(
    workload: Workload,
    *,
    bench: Bench,
    rivals: Mapping[Contender, Running],
    shared: Mapping[Contender, Side] | None = None,
) -> Sides:
    """Returns what each contender showed; ours is started anew.

    Args:
        shared: the rivals' runs of a workload with the same trials; None to run them.
    """
    if shared is not None:
        rivals = {}
    with _start(Contender.OURS, bench) as ours:
        cold = _ours(ours, workload, round=COLD_ROUND, bench=bench)
        runs: dict[Contender, list[Measured]] = {contender: [] for contender in Contender}
        for round in range(bench.scale.rounds):
            runs[Contender.OURS].append(_ours(ours, workload, round=round, bench=bench))
            if round < bench.scale.rival_rounds:
                for contender, running in rivals.items():
                    specs = _rival_specs(workload, runs[Contender.OURS][-1].reply, round=round, bench=bench)
                    asked = specs[: bench.scale.rival_trials(contender)]
                    runs[contender].append(running.ask(Request(kind=workload.kind, specs=asked)))
        sides = {Contender.OURS: _side(ours, runs[Contender.OURS], cold=cold)}
        sides |= {contender: _side(running, runs[contender]) for contender, running in rivals.items()}
    return sides | {contender: side for contender, side in (shared or {}).items() if contender in RIVALS}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Between two runs of one trial: its final scores, and its last training loss (nats)."""

    score: float
    test_score: float
    loss: float


def differences(ours: Side, rival: Side) -> Sequence[Difference]:
    """Returns those of each trial that both ran to its end."""
    found = []
    for mine, theirs in zip(ours.runs, rival.runs, strict=False):
        for trial in mine.reply.outcomes.keys() & theirs.reply.outcomes.keys():
            a, b = mine.reply.outcomes[trial], theirs.reply.outcomes[trial]
            found.append(
                Difference(
                    score=abs(a.score - b.score),
                    test_score=abs(a.test_score - b.test_score),
                    loss=abs(a.loss - b.loss),
                )
            )
    return found


def _start(contender: Contender, bench: Bench) -> AbstractContextManager[Running]:
    opening = opening_of(contender, folder=bench.folder, models=bench.models, engine=bench.engine, slots=bench.slots)
    return started(opening, plugins=bench.folder / "plugins")


def _ours(running: Running, workload: Workload, *, round: int, bench: Bench) -> Measured:
    target = target_of(workload, data=bench.data, round=round)
    count = bench.scale.trials(workload)
    if workload.kind is Kind.SEARCH:
        # Closed-form heads have no gradient steps to compare; they have a row of their own.
        strategies = tuple(name for name in shipped_strategies() if name != RIDGE)
        return running.ask(Request(kind=workload.kind, target=target, trials=count, strategies=strategies))
    specs = specs_of(workload, target, models=bench.models, count=count)
    return running.ask(Request(kind=workload.kind, specs=specs))


def _rival_specs(workload: Workload, ours: Reply, *, round: int, bench: Bench) -> tuple[TrialSpec, ...]:
    """Returns the trials of the rivals in order: those of ours, or of a search its best, then evenly spread ones."""
    if workload.kind is not Kind.SEARCH:
        same = WORKLOADS[workload.rivals_like] if workload.rivals_like else workload
        target = target_of(same, data=bench.data, round=round)
        return specs_of(same, target, models=bench.models, count=bench.scale.trials(same))
    best, *rest = ours.specs
    step = max(1, len(rest) // max(1, bench.scale.tuned_trials - 1))
    spread = rest[::step]
    order = sorted(range(len(spread)), key=lambda index: (index * 0.6180339887) % 1.0)  # any head of it is spread too
    return (best, *(spread[index] for index in order))


def _side(running: Running, runs: Sequence[Measured], *, cold: Measured | None = None) -> Side:
    return Side(
        runs=tuple(runs),
        cold=cold or runs[0],
        start_s=running.start_s,
        start_cpu_s=running.start_cpu_s,
        note=running.note,
    )
