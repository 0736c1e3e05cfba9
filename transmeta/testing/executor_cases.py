"""What every trial executor must do, as tests to inherit.

Example:
    class TestMyExecutor(TrialExecutorCases):
        def make_executor(self, environment: Environment) -> TrialExecutor:
            return MyExecutor(environment=environment)
"""

import dataclasses
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
import torch

from transmeta.core.model import TrainedOn
from transmeta.core.protocols import TrialExecutor
from transmeta.core.task import Task, TaskPair
from transmeta.core.trial import (
    Measurement,
    StrategySpec,
    TrialId,
    TrialResult,
    TrialSpec,
    TrialStatus,
    Verdict,
)
from transmeta.errors import InputError
from transmeta.models.library import ModelLibrary, save_model, scratch_card
from transmeta.tasks.catalogue import find_task
from transmeta.training.checkpoint import read_checkpoint
from transmeta.training.fit import EVALUATIONS
from transmeta.trials.environment import Environment
from transmeta.trials.run import TrialRun

TARGET: Final = "digits@3"
CALM: Final = "calm"
"""A source of random weights."""
WILD: Final = "wild"
"""A source whose weights are so large that every trial diverges in its first epoch."""
RUNG: Final = 1 / 3


class RecordingSearch:
    """Runs a list of trials, at most so many at once, and remembers all that it hears.

    Args:
        stopped_at: the trials to be stopped, each with the share of its epochs.
        at_once: how many trials may be under way.
    """

    def __init__(
        self, specs: Sequence[TrialSpec], *, stopped_at: Mapping[TrialId, float] | None = None, at_once: int = 4
    ) -> None:
        self.told: list[TrialResult] = []
        self.started: list[TrialId] = []
        self.reported: dict[TrialId, list[Measurement]] = {}
        self._waiting = list(specs)
        self._stopped_at = dict(stopped_at or {})
        self._at_once = at_once

    @property
    def rungs(self) -> Sequence[float]:
        """Where trials are stopped."""
        return sorted(set(self._stopped_at.values()))

    def ask(self, *, count: int) -> Sequence[TrialSpec]:
        """Returns the next of the list, nothing while as many as may be are under way."""
        room = self._at_once - len(self.started) + len(self.told)
        taken = self._waiting[: min(count, room)]
        self._waiting = self._waiting[len(taken) :]
        self.started += [spec.id for spec in taken]
        return taken

    def report(self, trial: TrialId, measurement: Measurement) -> Verdict:
        """Returns STOP for a trial to be stopped, once it is where that happens."""
        assert trial in self.started, "a measurement of a trial that was not started"
        assert trial not in [result.spec.id for result in self.told], "a measurement of a trial that has ended"
        if measurement.progress_before == 0:
            self.reported[trial] = []  # it may start over on another worker
        self.reported[trial].append(measurement)
        rung = self._stopped_at.get(trial)
        return Verdict.STOP if rung is not None and measurement.reaches(rung) else Verdict.CONTINUE

    def tell(self, result: TrialResult) -> None:
        """Remembers the result."""
        assert result.spec.id in self.started, "the result of a trial that was not started"
        self.told.append(result)


class TrialExecutorCases(ABC):
    """Tests that every executor passes."""

    @abstractmethod
    def make_executor(self, environment: Environment) -> TrialExecutor:
        """Returns the executor under test."""

    @pytest.fixture
    def environment(self, tmp_path: Path) -> Environment:
        """A folder with the two sources, and one for trained models."""
        write_sources(tmp_path / "models")
        return Environment(model_folders=(str(tmp_path / "models"),), checkpoint_folder=str(tmp_path / "kept"))

    def test_every_trial_is_told_once_with_the_numbers_that_it_has_alone(self, environment: Environment) -> None:
        """Only two trials may be under way at once, so the executor has to ask again after results."""
        specs = [*(probe(seed=seed) for seed in range(4)), frozen(seed=0)]
        search = RecordingSearch(specs, at_once=2)

        yielded = []
        for result in self.make_executor(environment).drive(search):
            assert result in search.told, "a result is told before it is yielded"
            yielded.append(result)

        assert len(search.told) == len(yielded) == len(specs)
        ended = {result.spec.id: result for result in yielded}
        for spec in specs:
            result = ended[spec.id]
            assert numbers(result) == numbers(run_alone(spec, environment=environment))
            assert list(result.curve) == search.reported[spec.id]
            assert (len(result.curve), result.curve[-1].progress) == (EVALUATIONS, 1)

    def test_a_stopped_trial_ends_at_its_rung_and_leaves_its_model(self, environment: Environment) -> None:
        """It is censored there; the others go on to their end."""
        stopped, other = frozen(seed=0), probe(seed=0)
        search = RecordingSearch([stopped, other], stopped_at={stopped.id: RUNG}, at_once=1)

        ended = {result.spec.id: result for result in self.make_executor(environment).drive(search)}

        result = ended[stopped.id]
        full = run_alone(stopped, environment=environment)
        assert result.status is TrialStatus.STOPPED
        assert [m.reaches(RUNG) for m in result.curve] == [False] * (len(result.curve) - 1) + [True]
        assert [m.value for m in result.curve] == [m.value for m in full.curve[: len(result.curve)]]
        assert result.score == result.curve[-1].value
        assert result.test_score is None
        assert result.reason
        assert result.parameter_count == full.parameter_count > 0
        assert ended[other.id].status is TrialStatus.COMPLETED
        for kept in ended.values():
            assert kept.checkpoint is not None
            tensors, _ = read_checkpoint(Path(kept.checkpoint))
            assert tensors

    def test_a_failed_trial_does_not_end_the_search(self, environment: Environment) -> None:
        """It is a result as any other, with a reason and without a score or a model."""
        wild = probe(source=WILD)
        search = RecordingSearch([wild, probe(seed=0), probe(seed=1)], at_once=1)

        ended = {result.spec.id: result for result in self.make_executor(environment).drive(search)}

        statuses = sorted(result.status for result in ended.values())
        assert statuses == [TrialStatus.COMPLETED, TrialStatus.COMPLETED, TrialStatus.FAILED]
        assert ended[wild.id].status is TrialStatus.FAILED
        assert "learning_rate" in ended[wild.id].reason
        assert (ended[wild.id].score, ended[wild.id].checkpoint) == (None, None)

    def test_an_empty_search_ends_at_once(self, environment: Environment) -> None:
        """Nothing is run."""
        search = RecordingSearch([])

        assert list(self.make_executor(environment).drive(search)) == []
        assert search.told == []

    def test_a_trial_that_cannot_be_run_is_refused(self, environment: Environment) -> None:
        """It is the fault of whoever made the spec, so it is neither retried nor a result."""
        search = RecordingSearch([probe(source="nowhere")])

        with pytest.raises(InputError, match="nowhere"):
            list(self.make_executor(environment).drive(search))

        assert search.told == []

    def test_an_error_of_the_search_reaches_the_caller(self, environment: Environment) -> None:
        """As it is: the search is the caller's."""

        class Undecided(RecordingSearch):
            def ask(self, *, count: int) -> Sequence[TrialSpec]:
                raise InputError("no policy, no trials; give a policy")

        with pytest.raises(InputError, match="give a policy"):
            list(self.make_executor(environment).drive(Undecided([])))

    def test_a_search_that_is_left_early_starts_nothing_more(self, environment: Environment) -> None:
        """Whoever stops iterating wants the machine back."""
        search = RecordingSearch([probe(seed=seed) for seed in range(200)], at_once=1)
        results = self.make_executor(environment).drive(search)
        next(results)
        results.close()  # type: ignore[attr-defined]  # `drive` is a generator
        started = len(search.started)

        time.sleep(0.5)
        assert len(search.started) == started < 200


def write_sources(folder: Path) -> None:
    """Writes the two sources: small CNNs as if trained on letters."""
    blank = scratch_card(find_task(TARGET))
    for name, factor in ((CALM, 1.0), (WILD, 1e30)):
        model = ModelLibrary().load(blank)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(factor)
        card = dataclasses.replace(
            blank, id=name, class_count=1, trained_on=(TrainedOn(dataset="letters", domain="scripts"),)
        )
        save_model(folder / name, card=card, model=model)


def probe(*, source: str = CALM, seed: int = 0) -> TrialSpec:
    """Returns a trial of a tenth of a second: a linear probe of ten epochs."""
    return example_trial("linear_probe", source=source, seed=seed)


def frozen(*, seed: int = 0) -> TrialSpec:
    """Returns a trial that trains convolutions too."""
    return example_trial("partial_freeze", source=CALM, seed=seed)


def example_trial(strategy: str, *, source: str, seed: int, epochs: int = 10, target: Task | None = None) -> TrialSpec:
    """Returns a trial on the digits, three for each class unless another task is given."""
    return TrialSpec(
        pair=TaskPair(source=source, target=target or find_task(TARGET)),
        strategy=StrategySpec(name=strategy, params={"epochs": epochs}),
        seed=seed,
    )


def run_alone(spec: TrialSpec, *, environment: Environment) -> TrialResult:
    """Returns what the trial gives in this process, by itself."""
    run = TrialRun(spec, environment=environment)
    while True:
        step = run.advance()
        if isinstance(step, TrialResult):
            return step


class Loss(float):
    """A loss; equal to one that differs by rounding alone: stacks of other sizes add up in another order."""

    __hash__ = None  # type: ignore[assignment]  # what is nearly equal has no hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and math.isclose(self, other, rel_tol=1e-5, abs_tol=1e-6)


def numbers(result: TrialResult) -> tuple[object, ...]:
    """Returns all of a result that must not depend on who ran it: everything but times and paths."""
    curve = tuple((m.epoch, m.progress, m.progress_before, m.value, Loss(m.train_loss)) for m in result.curve)
    return (result.spec, result.status, result.score, result.test_score, result.parameter_count, curve)
