"""Trials as the rivals take them, and what their runs gave."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

import numpy as np
from ray import tune

from throughput_parts.messages import Outcome, Reply
from throughput_parts.rival_training import SPLITS, RivalTrial
from transmeta.core.task import Task
from transmeta.core.trial import TrialSpec
from transmeta.models.library import ModelLibrary
from transmeta.strategies.catalogue import find_strategy
from transmeta.tasks.catalogue import load_task

ID: Final = "trial_id_of_ours"
FAILURE: Final = "failure"


@final
class Stopwatch(tune.Callback):
    """Notes when each trial ended."""

    def __init__(self) -> None:
        self._start_s = time.perf_counter()
        self.ended_s: list[float] = []

    def on_trial_complete(self, iteration: int, trials: list[object], trial: object, **info: object) -> None:
        self.ended_s.append(time.perf_counter() - self._start_s)


def write_data(task: Task, *, folder: Path) -> str:
    """Returns the file with the task's arrays; a user has such a file before the first trial."""
    path = folder / f"{task.id}.npz"
    if not path.exists():
        data = load_task(task)
        splits = dict(zip(SPLITS, (data.train, data.validation, data.test), strict=True))
        arrays = {f"{name}_x": split.x for name, split in splits.items()}
        np.savez(path, **arrays, **{f"{name}_y": split.y for name, split in splits.items()})
    return str(path)


def rival_trials(specs: Sequence[TrialSpec], *, folder: Path, models: str) -> list[RivalTrial]:
    """Returns the trials with all that a worker needs to run them."""
    library = ModelLibrary([Path(models)])
    trials = []
    for spec in specs:
        card = library.card(spec.pair.source, target=spec.target)
        plan = find_strategy(spec.strategy.name).plan(spec.strategy.params, card)
        trials.append(
            RivalTrial(
                id=spec.id,
                card=dataclasses.replace(card, feature_mean=(), feature_std=()),
                plan=plan,
                seed=spec.seed,
                data=write_data(spec.target, folder=folder),
                models=models,
                class_count=spec.target.class_count,
            )
        )
    return trials


def reply_of(results: tune.ResultGrid, *, watch: Stopwatch, wall_s: float, note: str) -> Reply:
    """Returns what a Tune run gave."""
    outcomes, failures = {}, [str(error) for error in results.errors]
    for result in results:
        metrics = result.metrics or {}
        if "test_score" in metrics:
            outcomes[metrics[ID]] = Outcome(
                score=metrics["score"], loss=metrics["loss"], test_score=metrics["test_score"]
            )
        elif FAILURE in metrics:
            failures.append(str(metrics[FAILURE]))
    return Reply(
        wall_s=wall_s,
        ended_s=tuple(sorted(watch.ended_s)),
        outcomes=outcomes,
        failures=tuple(failures[:5]),
        best=max((outcome.score for outcome in outcomes.values()), default=None),
        note=note,
    )
