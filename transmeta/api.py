"""What Python users call: adapt, recommend and a scikit-learn-shaped classifier. The command line calls it too."""

import dataclasses
import json
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Self, final

import numpy as np
import numpy.typing as npt

from transmeta.core import codec
from transmeta.core.plan import Precision
from transmeta.core.task import Task
from transmeta.core.trial import Arm, Budget
from transmeta.errors import DataError, InputError, TrialFailure
from transmeta.experiments.adapt import check_budget, search_target
from transmeta.experiments.ensemble import check_ensemble, folder_of, members_of, score_together, with_models
from transmeta.experiments.recommend import Recommendation
from transmeta.experiments.recommend import recommend as recommend_for
from transmeta.experiments.report import AdaptReport, Member, report_text
from transmeta.experiments.run import OnResult
from transmeta.experiments.search import Halving
from transmeta.experiments.tradeoff import TradeOff, parse_objective, trade_off
from transmeta.tasks.arrays import ArrayTasks, encode
from transmeta.tasks.catalogue import find_task
from transmeta.training.checkpoint import MANIFEST
from transmeta.training.files import write_atomically
from transmeta.trials.predict import AdaptedModel, copy_models
from transmeta.trials.size import SizeBook
from transmeta.workspace import Compute, ExecutorKind, Workspace, code_version

DURATION: Final = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")
RESERVE_S: Final = {ExecutorKind.LOCAL: 3.0, ExecutorKind.RAY: 12.0, ExecutorKind.TUNE: 12.0, ExecutorKind.TRAIN: 12.0}
"""Seconds kept back for closing the executor, scoring and writing the model."""
SHORT_S: Final = 45.0
"""Below this, starting Ray costs more than a second core gains."""
ENSEMBLE: Final = 5
"""Models that answer together: on 13 targets, after 5 to 300 trials, their mean was right for 0.022 to 0.039 more of
the test examples than the best model alone; 8 or 10 hardly differ (decision 0014)."""


def adapt(
    data: str | Path | Task,
    *,
    budget: str | float | None = None,
    trials: int | None = None,
    min_gain: float = 0.0,
    out: Path | None = None,
    label: str = "label",
    size: int | None = None,
    workspace: Workspace | None = None,
    compute: Compute | None = None,
    policy: Path | None = None,
    seed: int = 0,
    precision: Precision = Precision.FLOAT32,
    ensemble: int = ENSEMBLE,
    elapsed_s: float = 0.0,
    on_result: OnResult = lambda result: None,
) -> AdaptReport:
    """Returns the best fine-tuned model for a data set within a budget, as a report; the model is written to `out`.

    Args:
        data: a folder of images (class = sub-folder), a .csv or .parquet file, an .npz file, or the name of a task.
        budget: wall time such as `2m` or seconds; never exceeded by more than a tenth, and it may end earlier.
        trials: number of trials; with it alone the result is the same wherever it is run.
        min_gain: ends the search early, once no choice is expected to raise the best validation score by as much.
        label: the column to predict, for tables.
        size: pixels of each side that the images of a folder are read at; 32 by default.
        workspace: experience, models and policy; by default `.transmeta` in the working directory.
        compute: where trials run; by default Ray on this machine for a time budget of 45 s or more, else this process.
        policy: folder of a policy; by default the workspace's, else the one that ships with transmeta.
        precision: of all trials; bfloat16 is for large models on GPUs, and moves scores a little, by points at times.
        ensemble: up to so many of the models that validated best answer together; 1 for the best alone. A time budget
            leaves out those that could not be loaded and scored within it.
        elapsed_s: part of the budget that is spent already.

    Raises:
        DataError, InputError: before any training, if data or budget cannot be used.
        NoValidTrialError: if no trial gave a model.
    """
    started_s = time.monotonic() - elapsed_s
    wall_s = None if budget is None else parse_duration(budget)
    spending = Budget(trials=trials, wall_s=wall_s, min_gain=min_gain)
    check_budget(spending)
    check_ensemble(ensemble)
    if out is not None:
        check_out(out)
    task = data if isinstance(data, Task) else find_task(str(data), seed=seed, label=label, size=size)
    workspace = workspace or Workspace()
    chosen = workspace.policy(task, folder=policy)
    compute = compute or default_compute(spending)
    searching = less_reserve(spending, compute)

    def clock() -> float:
        return time.monotonic() - started_s

    with TemporaryDirectory(prefix="transmeta-adapt-") as folder, workspace.store() as store:
        run, kept = f"adapt-{task.id}", Path(folder)
        with workspace.bench(compute, run=run, store=store, checkpoints=kept, on_result=on_result) as bench:
            found = search_target(
                task,
                features=workspace.features(task, store=store),
                policy=chosen,
                bench=bench,
                budget=searching,
                halving=Halving(),
                seed=seed,
                clock=clock,
                precision=precision,
            )
            members = members_of(found.results, count=ensemble)
            members = with_models(members, bench=bench, clock=clock, at=searching.wall_s)
        members, test_score, single = score_together(members, clock=clock, at=spending.wall_s)
        answering = tuple(Member.of(result) for result in members)
        best = answering[0]
        library = workspace.environment().library()
        report = AdaptReport(
            target=task.id,
            metric=task.metric.name,
            test_score=test_score,
            single_test_score=single,
            validation_score=best.validation_score,
            source=best.source,
            strategy=best.strategy,
            params=best.params,
            transfer=library.card(best.source, target=task).is_pretrained,
            members=answering,
            sources=sum(card.is_pretrained for card in library.candidates(task)),
            trials=len(found.results),
            seconds=round(clock(), 3),
            is_settled=found.is_settled,
            model_path=None if out is None else str(out),
            version=code_version(),
        )
        if out is not None:
            copy_models([folder_of(result) for result in members], to=out)
            write_atomically(out / "report.json", json.dumps(codec.to_json(report), indent=1).encode())
            write_atomically(out / "report.md", report_text(report, found.results).encode())
        return report


def recommend(
    data: str | Path | Task,
    *,
    count: int = 5,
    label: str = "label",
    size: int | None = None,
    workspace: Workspace | None = None,
    policy: Path | None = None,
    seed: int = 0,
) -> Sequence[Recommendation]:
    """Returns what the policy would try first on a data set, best first, without training anything.

    Args:
        data, label, size, workspace, policy: as in `adapt`.
        count: how many.

    Raises:
        DataError, InputError: if the data or the count cannot be used.
    """
    if count < 1:
        raise InputError(f"count: {count} recommendations; give 1 or more")
    task = data if isinstance(data, Task) else find_task(str(data), seed=seed, label=label, size=size)
    workspace = workspace or Workspace()
    with workspace.store() as store:
        features = workspace.features(task, store=store)
    return recommend_for(features, policy=workspace.policy(task, folder=policy), count=count, seed=seed)


def recommend_by(
    data: str | Path | Task,
    objective: str,
    *,
    count: int | None = None,
    label: str = "label",
    size: int | None = None,
    workspace: Workspace | None = None,
    policy: Path | None = None,
    seed: int = 0,
) -> Sequence[TradeOff]:
    """Returns the best choices for several objectives at once, best first, without training anything.

    Args:
        objective: weights such as `score=1,cost_s=0.2`, each relative to the range of the objective over all choices;
            or `pareto` for the choices that no other beats in all objectives, highest predicted score first.
        data, label, size, workspace, policy: as in `adapt`.
        count: how many; by default all.

    Raises:
        DataError, InputError: if the data, the count or the objective cannot be used, or the policy predicts nothing.
    """
    if count is not None and count < 1:
        raise InputError(f"count: {count} recommendations; give 1 or more")
    wanted = parse_objective(objective)
    task = data if isinstance(data, Task) else find_task(str(data), seed=seed, label=label, size=size)
    workspace = workspace or Workspace()
    book = SizeBook(workspace.environment().library(), target=task)

    def sizes(arm: Arm) -> Mapping[str, float] | None:
        try:
            return dataclasses.asdict(book.size(arm))
        except (InputError, TrialFailure):
            return None  # of a strategy that is not installed, or does not fit: nothing to offer

    with workspace.store() as store:
        features = workspace.features(task, store=store)
    chosen = workspace.policy(task, folder=policy)
    return trade_off(features, policy=chosen, objective=wanted, sizes=sizes, count=count, seed=seed)


@final
class TransferClassifier:
    """A classifier in the manner of scikit-learn that searches how to transfer to the data it is fitted on.

    Args:
        budget: wall time of `fit`, such as `2m`; or None.
        trials: number of trials of `fit`; or None.
        seed: of the split into training, validation and test examples, and of the search.
        dataset: name of the data; a source that was trained on a data set of this name is not offered.
        workspace, compute, ensemble: as in `adapt`.

    Attributes:
        classes_: (classes,) the labels, in the order of the columns of `predict_proba`.
        report_: what the search found.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> images, labels = load_digits(return_X_y=True)
        >>> classifier = TransferClassifier(trials=4, dataset="digits")
        >>> classifier.fit(images.reshape(-1, 8, 8) / 16, labels)  # doctest: +SKIP
    """

    _estimator_type = "classifier"
    """What scikit-learn before 1.6 asks for in place of tags."""

    def __init__(
        self,
        *,
        budget: str | float | None = None,
        trials: int | None = None,
        seed: int = 0,
        dataset: str = "arrays",
        workspace: Workspace | None = None,
        compute: Compute | None = None,
        ensemble: int = ENSEMBLE,
    ) -> None:
        self.dataset = dataset
        self.budget = budget
        self.trials = trials
        self.seed = seed
        self.workspace = workspace
        self.compute = compute
        self.ensemble = ensemble

    def __sklearn_tags__(self) -> object:
        """Returns what scikit-learn's pipelines and cross-validation ask of a classifier."""
        from sklearn.utils import ClassifierTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            transformer_tags=None,
            classifier_tags=ClassifierTags(),
            regressor_tags=None,
        )

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Returns the arguments of the constructor by name, as scikit-learn's `clone` wants them."""
        names = ("budget", "trials", "seed", "dataset", "workspace", "compute", "ensemble")
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: object) -> Self:
        """Sets arguments of the constructor by name and returns the classifier.

        Raises:
            InputError: for a name that is none of them.
        """
        for name, value in params.items():
            if name not in self.get_params():
                raise InputError(f"TransferClassifier has no parameter {name!r}; known: {', '.join(self.get_params())}")
            setattr(self, name, value)
        return self

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:
        """Searches on (X, y) and returns the classifier.

        Args:
            X: images (count, height, width[, channels]) uint8 or in [0, 1], or a table (count, columns).
            y: (count,) labels of any kind that NumPy can sort.

        Raises:
            DataError: if they cannot be used.
        """
        examples, labels = np.asarray(X), np.asarray(y)
        try:
            classes, numbers = np.unique(labels, return_inverse=True)
        except TypeError as error:
            raise DataError(f"y: labels that have no order ({error}); give all of them as texts or numbers") from error
        workspace = self.workspace or Workspace()
        names = np.array([f"{number:06d}" for number in range(len(classes))])
        tasks = ArrayTasks()
        task = tasks.save(
            examples, names[numbers], folder=workspace.folder / "tasks", name=self.dataset, seed=self.seed
        )
        encoder = tasks.encoder(task)
        with TemporaryDirectory(prefix="transmeta-classifier-") as folder:
            report = adapt(
                task,
                budget=self.budget,
                trials=10 if self.budget is None and self.trials is None else self.trials,
                out=Path(folder) / "model",
                workspace=workspace,
                compute=self.compute,
                seed=self.seed,
                ensemble=self.ensemble,
            )
            model = AdaptedModel.load(Path(folder) / "model")
        # All at once: a fit that fails leaves the classifier as it was.
        self.classes_, self.report_, self._encoder, self._model = classes, report, encoder, model
        return self

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Returns (count, classes) probabilities.

        Raises:
            InputError: before `fit`.
        """
        if not hasattr(self, "_model"):
            raise InputError("TransferClassifier is not fitted; call fit(X, y) first")
        order = np.argsort([int(name) for name in self._model.meta.classes])
        probabilities = self._model.probabilities(encode(np.asarray(X), encoder=self._encoder))
        ordered: npt.NDArray[np.float64] = probabilities[:, order]
        return ordered

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.generic]:
        """Returns (count,) labels, of the kind that `fit` was given.

        Raises:
            InputError: before `fit`.
        """
        columns = self.predict_proba(X).argmax(axis=1)
        chosen: npt.NDArray[np.generic] = self.classes_[columns]
        return chosen

    def score(self, X: npt.ArrayLike, y: npt.ArrayLike) -> float:
        """Returns the accuracy on (X, y)."""
        return float(np.mean(self.predict(X) == np.asarray(y)))


def parse_duration(text: str | float) -> float:
    """Returns seconds for `90`, `90s`, `2m`, `1h30m`.

    Raises:
        InputError: for anything else, or for nothing.
    """
    if isinstance(text, int | float):
        seconds = float(text)
    else:
        match = DURATION.fullmatch(text.strip().lower())
        if match is None or not any(match.groups()):
            raise InputError(f"budget {text!r}: not a time; write 90s, 2m or 1h30m")
        hours, minutes, rest = (float(part or 0) for part in match.groups())
        seconds = 3600 * hours + 60 * minutes + rest
    if not math.isfinite(seconds) or seconds <= 0:
        raise InputError(f"budget {text!r}: nothing can be done in {seconds:g} s; give a positive time such as 2m")
    return seconds


def check_out(out: Path) -> None:
    """Checks that a model may be written to the folder `out`, in place of what is there.

    Raises:
        InputError: if it cannot be written, or holds anything but a model of ours, which would be lost.
    """
    if out.exists() and not (out / MANIFEST).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: holds something else than a model, which would be lost; give a new folder")
    parent = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise InputError(f"{out}: cannot be written, because of {parent}; give another folder")


def default_compute(budget: Budget) -> Compute:
    """Returns where trials run if nobody says: Ray for a time from `SHORT_S` on, this process for all else."""
    is_long = budget.wall_s is not None and budget.wall_s >= SHORT_S
    return Compute(executor=ExecutorKind.RAY if is_long else ExecutorKind.LOCAL)


def less_reserve(budget: Budget, compute: Compute) -> Budget:
    """Returns what of a time budget trials may use, so that closing the executor fits into it as well."""
    if budget.wall_s is None:
        return budget
    reserve = min(RESERVE_S[compute.executor], 0.2 * budget.wall_s)
    return dataclasses.replace(budget, wall_s=budget.wall_s - reserve)
