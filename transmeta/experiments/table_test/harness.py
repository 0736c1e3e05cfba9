"""The loop: for each fold, each method learns once, and searches every target that was left out."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import final

import numpy as np

from transmeta.experiments.table_test.figures import Points, Run, mean_run, run_figures
from transmeta.experiments.table_test.folds import Fold
from transmeta.experiments.table_test.ground import Ground
from transmeta.experiments.table_test.replay import replay
from transmeta.policies.adaptive.protocol import Allowance, Method
from transmeta.policies.table import is_scratch
from transmeta.training.seeding import derive_seed

OnFold = Callable[[str, str, int, int], None]
"""Called with fold, method, how many pairs of these are done, and how many there are."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Played:
    """What one method did.

    Attributes:
        runs: target name → its mean run, seeds and folds averaged.
        learn_s: over all folds; `decide_s` over all searches.
        searches: how many there were.
    """

    method: str
    runs: Mapping[str, Run]
    learn_s: float
    decide_s: float
    searches: int


def play(
    ground: Ground,
    methods: Sequence[Method],
    *,
    folds: Sequence[Fold],
    points: Points,
    seeds: int = 10,
    clock: Callable[[], float] = time.process_time,
    on_fold: OnFold | None = None,
) -> tuple[Played, ...]:
    """Returns what `methods` do on the targets that `folds` leave out.

    Args:
        seeds: searches on each target by methods that choose at random; others search once.
        clock: of the CPU seconds that methods take.
        on_fold: told after each method and fold.
    """
    runs: dict[str, dict[str, list[Run]]] = {method.name: {} for method in methods}
    learn_s = dict.fromkeys(runs, 0.0)
    allowance = _allowance(points)
    scratch = np.array([is_scratch(source) for source in ground.table.sources or [""] * ground.configs], dtype=np.bool_)
    done = 0
    for fold in folds:
        curves = ground.curves([ground.rows[index] for index in fold.known], without_sources=fold.hidden)
        for method in methods:
            began = clock()
            learned = method.learn(curves, seed=derive_seed(0, "learn", fold.name))
            learn_s[method.name] += clock() - began
            for index in fold.test:
                target, present = ground.targets[index], ground.present(index, allowance=allowance)
                found = runs[method.name].setdefault(target.name, [])
                for seed in range(seeds if method.is_random else 1):
                    began = clock()
                    session = learned.start(present, seed=seed)
                    start_s = clock() - began
                    log = replay(session, target, allowance=allowance, clock=clock)
                    log = dataclasses.replace(log, decide_s=log.decide_s + start_s)
                    found.append(run_figures(log, target, points=points, is_scratch=scratch))
            done += 1
            if on_fold is not None:
                on_fold(fold.name, method.name, done, len(folds) * len(methods))
    return tuple(_played(method.name, runs[method.name], learn_s[method.name]) for method in methods)


def _allowance(points: Points) -> Allowance:
    total = points.count * points.unit
    return Allowance(cost_s=total) if points.is_cost else Allowance(evaluations=total)


def _played(method: str, runs: Mapping[str, Sequence[Run]], learn_s: float) -> Played:
    return Played(
        method=method,
        runs={target: mean_run(found) for target, found in sorted(runs.items())},
        learn_s=learn_s,
        decide_s=float(sum(run.decide_s for found in runs.values() for run in found)),
        searches=sum(len(found) for found in runs.values()),
    )
