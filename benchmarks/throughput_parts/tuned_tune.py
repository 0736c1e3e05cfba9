"""Rival (b): a Tune script with everything that makes it fast.

A class trainable in reused actors, as many as there are cores; no loggers, no checkpoints; one thread each, glibc's
allocator told to keep its memory; channels-last, fused AdamW; data and the outputs of frozen stages in the object
store; ASHA where ours stops trials early.
"""

import importlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, final

TUNED_SETTINGS: Final = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
}
os.environ.update(TUNED_SETTINGS)  # before the import below: Ray reads some of these once

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
import ray  # noqa: E402
import torch  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import ASHAScheduler  # noqa: E402

from throughput_parts.messages import Kind, Opening, Reply, Request  # noqa: E402
from throughput_parts.rival_training import (  # noqa: E402
    EVALUATIONS,
    SPLITS,
    Examples,
    RivalTrial,
    Training,
    frozen_output,
    open_model,
    planned_model,
    read_arrays,
)
from throughput_parts.rival_trials import FAILURE, ID, Stopwatch, reply_of, rival_trials  # noqa: E402
from transmeta.core import codec  # noqa: E402
from transmeta.core.plan import SideNetwork  # noqa: E402
from transmeta.models.library import ModelLibrary  # noqa: E402
from transmeta.training.planned import PlannedModel  # noqa: E402
from transmeta.training.staged import StagedModel, prepare  # noqa: E402

Arrays = Mapping[str, npt.NDArray[np.generic]]
"""By `<split>_y`, or by source, first stage to run and split: what is in the object store."""
RUNGS: Final = (1, 3)
"""Of nine evaluations, as ours halves."""


def key_of(trial: RivalTrial, start: int, split: str) -> str:
    """Returns the name of a split as stage `start` of the trial's source takes it."""
    return f"{trial.data}|{trial.card.id}|{start}|{split}"


def start_of(trial: RivalTrial) -> int:
    """Returns the first stage that has to be run at every step: those before are frozen and see the same images."""
    plan = trial.plan
    if plan.augment_shift:
        return 0
    return len(trial.card.stages) if plan.cut is None else plan.cut


def compute_arrays(trials: Sequence[RivalTrial]) -> dict[str, npt.NDArray[np.generic]]:
    """Returns the labels, and the outputs of all frozen stages that any trial needs, each computed once."""
    torch.set_num_threads(1)
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for trial in trials:
        starts = {start_of(trial)} | ({len(trial.card.stages)} if trial.plan.probe_epochs else set())
        starts |= {0} if _has_side(trial) else set()
        wanted = [start for start in starts if key_of(trial, start, "train") not in arrays]
        if not wanted:
            continue
        raw = read_arrays(trial.data)
        model = ModelLibrary([Path(trial.models)]).load(trial.card).to(memory_format=torch.channels_last)
        for split in SPLITS:
            arrays[f"{trial.data}|{split}_y"] = raw[f"{split}_y"].numpy()
            prepared = prepare(raw[f"{split}_x"], card=trial.card)
            for start in wanted:
                arrays[key_of(trial, start, split)] = frozen_output(model.eval(), prepared, stop=start).numpy()
    return arrays


def _has_side(trial: RivalTrial) -> bool:
    return any(isinstance(addition, SideNetwork) for addition in trial.plan.additions)


@final
class TunedTrial(tune.Trainable):
    """One trial after another in one actor."""

    def setup(self, config: dict[str, int], trials: Sequence[str] = (), arrays: Arrays | None = None) -> None:
        torch.set_num_threads(1)
        importlib.import_module("torch._dynamo")  # the first optimiser step would
        assert arrays is not None
        self._trials = trials
        self._tensors = {name: _tensor(array) for name, array in arrays.items()}
        self._models: dict[str, StagedModel] = {}
        self._is_halved = bool(config["is_halved"])
        self._open(config)

    def reset_config(self, new_config: dict[str, int]) -> bool:
        self._open(new_config)
        return True

    def step(self) -> dict[str, object]:
        """Trains to the next rung, or to the end where nothing stops it early."""
        try:
            for shown in self._run:
                self._evaluated += 1
                if shown.test_score is not None or (self._is_halved and self._evaluated in RUNGS):
                    break
        except FloatingPointError as error:
            return {ID: self._trial.id, FAILURE: str(error), "score": 0.0, "evaluated": 9, tune.result.DONE: True}
        report = {ID: self._trial.id, "score": shown.score, "loss": shown.loss, "evaluated": self._evaluated}
        if shown.test_score is None:
            return report
        return report | {"test_score": shown.test_score, tune.result.DONE: True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Saves nothing."""

    def load_checkpoint(self, checkpoint: dict[str, object] | None) -> None:
        """Loads nothing."""

    def _open(self, config: dict[str, int]) -> None:
        self._trial = trial = codec.loads(RivalTrial, self._trials[config["index"]])
        self._evaluated = 0
        start = start_of(trial)
        has_probe = trial.plan.probe_epochs > 0 and not trial.plan.augment_shift
        training = Training(
            self._planned(trial),
            self._splits(trial, start=start, has_side=_has_side(trial)),
            start=start,
            seed=trial.seed,
            probe_splits=self._splits(trial, start=len(trial.card.stages)) if has_probe else None,
            is_fused=True,
        )
        self._run = training.run()

    def _planned(self, trial: RivalTrial) -> PlannedModel:
        """Returns the model; where only a new head is trained, the one that is at hand serves again."""
        if trial.plan.trainable or trial.plan.additions:
            planned = open_model(trial)
        else:
            if trial.card.id not in self._models:
                self._models[trial.card.id] = ModelLibrary([Path(trial.models)]).load(trial.card)
            planned = planned_model(trial, self._models[trial.card.id])
        planned.model.to(memory_format=torch.channels_last)
        return planned

    def _splits(self, trial: RivalTrial, *, start: int, has_side: bool = False) -> dict[str, Examples]:
        return {
            split: Examples(
                x=self._tensors[key_of(trial, start, split)],
                y=self._tensors[f"{trial.data}|{split}_y"],
                prepared=self._tensors[key_of(trial, 0, split)] if has_side else None,
            )
            for split in SPLITS
        }


def _tensor(array: npt.NDArray[np.generic]) -> torch.Tensor:
    """Returns a copy that can be written to, channels last if it is of images: once per actor."""
    tensor = torch.tensor(array)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


@final
class TunedTune:
    note = "tune.Tuner, class trainable, reused actors, cached features, no loggers, channels-last, ASHA in the search"

    def __init__(self, opening: Opening) -> None:
        self._folder = Path(opening.folder)
        self._models = opening.models
        self._slots = opening.slots

    def run(self, request: Request) -> Reply:
        trials = rival_trials(request.specs, folder=self._folder, models=self._models)
        is_halved = request.kind is Kind.SEARCH
        start_s = time.perf_counter()
        watch = Stopwatch()
        texts = [codec.dumps(trial) for trial in trials]
        trainable = tune.with_parameters(TunedTrial, trials=texts, arrays=compute_arrays(trials))
        asha = ASHAScheduler(
            time_attr="evaluated", metric="score", mode="max", max_t=EVALUATIONS, grace_period=1, reduction_factor=3
        )
        with TemporaryDirectory(dir=self._folder) as storage:
            tuner = tune.Tuner(
                tune.with_resources(trainable, {"cpu": 1}),
                param_space={"index": tune.grid_search(list(range(len(trials)))), "is_halved": int(is_halved)},
                tune_config=tune.TuneConfig(
                    reuse_actors=True, max_concurrent_trials=self._slots, scheduler=asha if is_halved else None
                ),
                run_config=tune.RunConfig(
                    storage_path=storage,
                    name="tuned",
                    verbose=0,
                    callbacks=[watch],
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            )
            results = tuner.fit()
            wall_s = time.perf_counter() - start_s
            return reply_of(results, watch=watch, wall_s=wall_s, note=self.note)


@contextmanager
def open_tuned(opening: Opening) -> Iterator[TunedTune]:
    ray.init(
        address="local",
        num_cpus=opening.slots,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": dict(TUNED_SETTINGS)},
    )
    try:
        yield TunedTune(opening)
    finally:
        ray.shutdown()
