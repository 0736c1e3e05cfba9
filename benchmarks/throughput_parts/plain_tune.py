"""Rival (a): a plain Tune script, a function trainable and a grid, everything else as Tune has it by default."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

import ray
from ray import tune

from throughput_parts.messages import Opening, Reply, Request
from throughput_parts.rival_training import SPLITS, Examples, RivalTrial, Training, open_model, read_arrays
from throughput_parts.rival_trials import FAILURE, ID, Stopwatch, reply_of, rival_trials
from transmeta.core import codec
from transmeta.training.staged import prepare


def fine_tune(config: dict[str, str]) -> None:
    """One trial: load data and checkpoint, freeze, train, evaluate, report."""
    trial = codec.loads(RivalTrial, config["trial"])
    arrays = read_arrays(trial.data)
    splits = {
        name: Examples(x=prepare(arrays[f"{name}_x"], card=trial.card).contiguous(), y=arrays[f"{name}_y"])
        for name in SPLITS
    }
    try:
        for shown in Training(open_model(trial), splits, start=0, seed=trial.seed).run():
            report = {ID: trial.id, "score": shown.score, "loss": shown.loss}
            tune.report(report if shown.test_score is None else report | {"test_score": shown.test_score})
    except FloatingPointError as error:
        tune.report({ID: trial.id, FAILURE: str(error)})


@final
class PlainTune:
    note = "tune.Tuner, function trainable, grid search, defaults"

    def __init__(self, opening: Opening) -> None:
        self._folder = Path(opening.folder)
        self._models = opening.models

    def run(self, request: Request) -> Reply:
        trials = rival_trials(request.specs, folder=self._folder, models=self._models)
        start_s = time.perf_counter()
        watch = Stopwatch()
        with TemporaryDirectory(dir=self._folder) as storage:
            tuner = tune.Tuner(
                fine_tune,
                param_space={"trial": tune.grid_search([codec.dumps(trial) for trial in trials])},
                run_config=tune.RunConfig(storage_path=storage, name="plain", verbose=0, callbacks=[watch]),
            )
            results = tuner.fit()
            wall_s = time.perf_counter() - start_s
            return reply_of(results, watch=watch, wall_s=wall_s, note=self.note)


@contextmanager
def open_plain(opening: Opening) -> Iterator[PlainTune]:
    ray.init(address="local", num_cpus=opening.slots, include_dashboard=False, log_to_driver=False)
    try:
        yield PlainTune(opening)
    finally:
        ray.shutdown()
