"""What Python users call: a model within a budget, advice, and a classifier in the manner of scikit-learn."""

import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_digits

from transmeta.api import TransferClassifier, adapt, check_out, less_reserve, parse_duration, recommend
from transmeta.core.task import Task, TaskPair
from transmeta.core.trial import Budget, TrialResult, TrialSpec
from transmeta.errors import DataError, InputError
from transmeta.experiments.ensemble import score_together
from transmeta.experiments.search import ReplaySearch
from transmeta.tasks.catalogue import load_task
from transmeta.trials.predict import AdaptedModel
from transmeta.workspace import Compute, ExecutorKind, Workspace

LOCAL = Compute(executor=ExecutorKind.LOCAL)
NAMES = np.array(["zero", "one", "two"])
"""Their alphabetical order is not that of the digits."""


@pytest.fixture
def place(workspace: Path) -> Workspace:
    """A workspace with one source and a policy that probes it."""
    return Workspace(folder=workspace)


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray]:
    """40 images each of the digits 0, 1 and 2 (count, 8, 8) in [0, 1], and their names."""
    x, y = load_digits(return_X_y=True)
    rows = np.concatenate([np.flatnonzero(y == digit)[:40] for digit in range(3)])
    return x[rows].reshape(-1, 8, 8) / 16, NAMES[y[rows]]


@pytest.fixture
def classifier(place: Workspace) -> TransferClassifier:
    """One trial is enough to fit it."""
    return TransferClassifier(trials=1, workspace=place, compute=LOCAL)


def test_adapting_again_runs_no_trial_and_reports_the_same(place: Workspace, digits: Task) -> None:
    reports, counts = [], []
    for _ in range(2):
        fresh: list[TrialResult] = []
        reports.append(adapt(digits, trials=2, workspace=place, compute=LOCAL, on_result=fresh.append))
        counts.append(len(fresh))

    first, again = reports
    assert counts == [2, 0]
    assert (first.trials, first.sources, first.transfer) == (2, 1, True)
    assert (again.test_score, again.validation_score) == (first.test_score, first.validation_score)
    assert (again.source, again.strategy, again.params) == (first.source, first.strategy, first.params)
    with place.store() as store:
        assert store.count() == 2


def test_a_search_that_goes_on_pays_for_the_new_trials_alone(place: Workspace, digits: Task) -> None:
    fresh: list[TrialResult] = []
    adapt(digits, trials=1, workspace=place, compute=LOCAL)

    report = adapt(digits, trials=2, workspace=place, compute=LOCAL, on_result=fresh.append)

    assert (report.trials, len(fresh)) == (2, 1)


def test_the_best_models_answer_together_unless_one_alone_is_asked_for(
    place: Workspace, digits: Task, tmp_path: Path
) -> None:
    several = adapt(digits, trials=3, workspace=place, compute=LOCAL, out=tmp_path / "several")
    alone = adapt(digits, trials=3, workspace=place, compute=LOCAL, out=tmp_path / "alone", ensemble=1)

    scores = [member.validation_score for member in several.members]
    assert len(scores) > 1
    assert scores == sorted(scores, reverse=True)
    assert alone.members == several.members[:1]
    assert alone.test_score == alone.single_test_score == several.single_test_score
    assert several.validation_score == alone.validation_score == scores[0]
    for report, folder in ((several, tmp_path / "several"), (alone, tmp_path / "alone")):
        model = AdaptedModel.load(folder)
        assert model.score(load_task(digits).test, metric=digits.metric) == report.test_score
        assert ("answer together" in (folder / "report.md").read_text()) == (len(report.members) > 1)


def test_members_that_could_not_be_scored_in_time_are_left_out(place: Workspace, digits: Task, tmp_path: Path) -> None:
    with place.store() as store, place.bench(LOCAL, run="two", store=store, checkpoints=tmp_path) as bench:
        policy = place.policy(digits, folder=None)
        suggested = policy.suggest(place.features(digits, store=store), (), count=2, seed=0)
        specs = [
            TrialSpec(pair=TaskPair(source=one.arm.source, target=digits), strategy=one.arm.strategy, seed=0)
            for one in suggested
        ]
        members = list(bench.executor.drive(ReplaySearch(specs)))
    ticks = iter([0.0, 1.0, 0.0, 1.0])

    in_time, _, _ = score_together(members, clock=lambda: next(ticks), at=5.0)
    too_late, together, alone = score_together(members, clock=lambda: next(ticks), at=4.5)

    assert in_time == members
    assert too_late == members[:1]
    assert together == alone


def test_nothing_is_made_where_there_is_no_budget(place: Workspace, digits: Task) -> None:
    with pytest.raises(InputError, match="no budget"):
        adapt(digits, workspace=place)

    assert not (place.folder / "experience.db").exists()


def test_advice_trains_nothing(place: Workspace, digits: Task) -> None:
    choices = recommend(digits, count=2, workspace=place)

    assert [choice.strategy for choice in choices] == ["linear_probe"] * 2
    with place.store() as store:
        assert store.count() == 0
    with pytest.raises(InputError, match="give 1 or more"):
        recommend(digits, count=0, workspace=place)


def test_a_classifier_is_cloned_with_its_arguments_and_not_with_what_it_learned(
    classifier: TransferClassifier, images: tuple[np.ndarray, np.ndarray]
) -> None:
    copy = clone(classifier.fit(*images))

    assert is_classifier(copy)
    assert copy.get_params() == classifier.get_params()
    assert not hasattr(copy, "classes_")
    with pytest.raises(InputError, match="call fit"):
        copy.predict(images[0])


def test_a_classifier_predicts_labels_of_the_kind_that_it_was_given(
    classifier: TransferClassifier, images: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = images

    predicted = classifier.fit(x, y).predict(x)

    assert classifier.classes_.tolist() == ["one", "two", "zero"]
    assert predicted.dtype == y.dtype
    assert classifier.score(x, y) == np.mean(predicted == y) > 0.5  # chance is 0.33
    assert classifier.report_.trials == 1


def test_the_columns_of_the_probabilities_are_in_the_order_of_the_classes(
    classifier: TransferClassifier, images: tuple[np.ndarray, np.ndarray]
) -> None:
    x, names = images
    numbers = np.select([names == "zero", names == "one"], [10, 2], 1)  # as texts, 10 would come before 2

    probabilities = classifier.fit(x, numbers).predict_proba(x)

    assert classifier.classes_.tolist() == [1, 2, 10]
    assert probabilities.shape == (120, 3)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (classifier.classes_[probabilities.argmax(axis=1)] == classifier.predict(x)).all()
    # Each column is highest, on average, on the images of its own class.
    means = [probabilities[numbers == label].mean(axis=0) for label in classifier.classes_]
    assert np.argmax(means, axis=0).tolist() == [0, 1, 2]


def test_a_fit_that_fails_leaves_the_classifier_as_it_was(
    classifier: TransferClassifier, images: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = images
    before, report = classifier.fit(x, y).predict_proba(x), classifier.report_
    mixed = np.array([1, "a"] * 60, dtype=object)

    for labels in (np.full(120, "all the same"), y[:-1], mixed):
        with pytest.raises(DataError):
            classifier.fit(x, labels)
    with pytest.raises(InputError, match="give 1 or more"):
        classifier.set_params(trials=0).fit(x, y)

    assert classifier.classes_.tolist() == ["one", "two", "zero"]
    assert classifier.report_ is report
    assert (classifier.predict_proba(x) == before).all()


def test_a_classifier_that_was_not_fitted_says_so() -> None:
    x = np.zeros((2, 8, 8))

    for ask in (TransferClassifier().predict, TransferClassifier().predict_proba):
        with pytest.raises(InputError, match="not fitted; call fit"):
            ask(x)


def test_the_arguments_of_a_classifier_can_be_changed_by_name() -> None:
    classifier = TransferClassifier(trials=2)

    assert classifier.set_params(trials=3, dataset="mine") is classifier
    assert (classifier.get_params()["trials"], classifier.dataset) == (3, "mine")
    with pytest.raises(InputError, match="no parameter 'trails'"):
        classifier.set_params(trails=3)


def test_durations_are_read_as_people_write_them() -> None:
    texts = {"90": 90, "90s": 90, "2m": 120, "1h30m": 5400, "0.5h": 1800, " 1M ": 60}

    assert {text: parse_duration(text) for text in texts} == texts
    assert parse_duration(1.5) == 1.5
    for text in ("", "soon", "2 m", "-1s"):
        with pytest.raises(InputError, match="write 90s, 2m or 1h30m"):
            parse_duration(text)
    for nothing in ("0s", 0.0, math.inf, math.nan, -1.0):
        with pytest.raises(InputError, match="give a positive time"):
            parse_duration(nothing)


def test_of_a_time_some_is_kept_back_for_the_end() -> None:
    ray = Compute(executor=ExecutorKind.RAY)

    assert less_reserve(Budget(wall_s=100.0), LOCAL) == Budget(wall_s=97.0)
    assert less_reserve(Budget(wall_s=10.0, trials=3), LOCAL) == Budget(wall_s=8.0, trials=3)
    assert less_reserve(Budget(wall_s=100.0), ray) == Budget(wall_s=88.0)
    assert less_reserve(Budget(trials=3), ray) == Budget(trials=3)


def test_a_model_is_written_to_a_new_or_empty_folder_or_in_place_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")

    check_out(tmp_path / "new" / "below")
    check_out(tmp_path / "empty")
    with pytest.raises(InputError, match="would be lost; give a new folder"):
        check_out(tmp_path / "notes")
    with pytest.raises(InputError, match="cannot be written"):
        check_out(tmp_path / "notes" / "a.txt" / "model")
