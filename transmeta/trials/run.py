"""Runs one trial, a few epochs at a time, so that whoever drives it can stop it, share the process, or move it."""

import dataclasses
import functools
from pathlib import Path
from typing import Final, final

import torch

from transmeta.core import codec
from transmeta.core.model import ModelCard
from transmeta.core.plan import Initialisation, TransferPlan
from transmeta.core.task import Task
from transmeta.core.trial import Measurement, TrialResult, TrialSpec, TrialStatus
from transmeta.errors import ConfigError, TrialFailure
from transmeta.strategies.catalogue import find_strategy
from transmeta.tasks.catalogue import load_task
from transmeta.training.data import TaskData
from transmeta.training.fit import ALONE, Fit, FitState, Replica
from transmeta.training.planned import PlannedModel, apply
from transmeta.training.prefix import PrefixCache, PrefixKey, SplitPrefix
from transmeta.training.seeding import derive_seed
from transmeta.trials.environment import Environment
from transmeta.trials.record import TrialRecord

THREADS: Final = 1
"""Torch threads in a process that runs trials: more of them slow small models down, and would change their sums."""
FAILURES: Final = (TrialFailure, torch.OutOfMemoryError)
"""What is the strategy's fault, and so a result."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrialState:
    """All that a trial needs to go on in another process.

    Attributes:
        curve: what it has shown.
    """

    fit: FitState
    curve: tuple[Measurement, ...]


@final
class TrialRun:
    """One trial under way.

    Call `advance` until it returns a TrialResult, or `stop` after a Measurement. A strategy's failure is a result.
    Several processes may run one trial together, each with a `replica` of its own: they advance in step and find the
    same numbers, and the first of them alone keeps the model.

    Args:
        spec: what to run.
        environment: where models are found and results are kept.
        replica: the share of this process.
        device: None for the one that this process was given.

    Raises:
        InputError, UnsafeFileError: if the task, source or strategy does not exist or cannot be read: the fault of
            whoever made the spec, found before any training.
        OutOfMemoryError: of one of several replicas. It is no result: the others wait for this one, and whoever
            started them has to end them.
    """

    def __init__(
        self,
        spec: TrialSpec,
        *,
        environment: Environment,
        replica: Replica = ALONE,
        device: torch.device | None = None,
    ) -> None:
        self.spec = spec
        self._environment = environment
        self._replica = replica
        self._device = device or trial_device()
        self._failures = FAILURES if replica.count == 1 else (TrialFailure,)
        self._record = TrialRecord(spec, checkpoint_folder=environment.checkpoint_folder if replica.rank == 0 else None)
        self._failure: TrialFailure | None = None
        self._planned: PlannedModel | None = None
        self._fit: Fit | None = None
        self._data = cached_data(codec.dumps(spec.target))  # by whoever is the first of a process: no trial's own cost
        with self._record.clock.running():
            self._card = allowed_card(spec, environment=environment)
            try:
                self._planned, self._fit = self._open()
                self._record.parameter_count = self._planned.parameter_count
            except self._failures as failure:
                self._failure = TrialFailure(str(failure))

    def _open(self) -> tuple[PlannedModel, Fit]:
        spec, card = self.spec, self._card
        plan = find_strategy(spec.strategy.name).plan(spec.strategy.params, card)
        model = self._environment.library().load(card)
        classes = len(self._data.class_names)
        planned = apply(plan, model=model, card=card, class_count=classes, seed=derive_seed(spec.seed, "plan"))
        fit = Fit(
            planned,
            self._data,
            metric=spec.target.metric,
            seed=derive_seed(spec.seed, "fit"),
            replica=self._replica,
            device=self._device,
            prefix=shared_prefix(plan, card=card, target=spec.target, environment=self._environment),
            precision=spec.precision,
        )
        return planned, fit

    @property
    def parameter_count(self) -> int:
        """Trainable weights; 0 where the plan could not be applied."""
        return self._record.parameter_count

    def advance(self) -> Measurement | TrialResult:
        """Runs up to the next measurement and returns it; or the result, once all epochs are done or one failed."""
        if self._fit is None:
            return self._record.result(TrialStatus.FAILED, reason=str(self._failure))
        try:
            with self._record.clock.running():
                if self._fit.is_done:
                    test_score = self._fit.score(self._data.test, name="test")
                else:
                    report, test_score = self._fit.advance(), None
        except self._failures as failure:
            return self._record.result(TrialStatus.FAILED, reason=str(failure))
        if test_score is None:
            return self._record.measured(report)
        return self._record.result(TrialStatus.COMPLETED, test_score=test_score, checkpoint=self._keep())

    def stop(self, *, reason: str) -> TrialResult:
        """Ends the trial early and returns its result: STOPPED, its curve so far."""
        return self._record.result(TrialStatus.STOPPED, reason=reason, checkpoint=self._keep())

    def state(self) -> TrialState:
        """Returns a copy of all that the trial needs to go on; not of one that has failed."""
        assert self._fit is not None, "a trial that could not be opened has no state"
        return TrialState(fit=self._fit.state(), curve=self._record.curve)

    def restore(self, state: TrialState) -> None:
        """Goes on from the state of a run of the same spec, with any number of replicas."""
        assert self._fit is not None, "what has a state could be opened"
        self._fit.restore(state.fit)
        self._record.restore(state.curve, is_charged=self._replica.rank == 0)

    def _keep(self) -> str | None:
        if self._planned is None:
            return None
        return self._record.keep(self._planned.model.state_dict(), card=self._card, data=self._data)


def trial_device() -> torch.device:
    """Returns the device that this process was given; Ray hides all others from it, and all if none was asked for."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def shared_prefix(plan: TransferPlan, *, card: ModelCard, target: Task, environment: Environment) -> SplitPrefix | None:
    """Returns where trials of a source and a target share the outputs of frozen stages; None if there is nothing to.

    Random weights depend on the seed, so they share none.
    """
    if card.weights_sha256 is None or plan.initialisation is not Initialisation.SOURCE:
        return None
    key = PrefixKey(
        architecture=card.architecture,
        weights=card.weights_sha256,
        inputs=card.input_shape,
        start=0,
        data=codec.digest(target),
        split="",
    )
    return SplitPrefix(cache=prefix_cache(environment.cache_folder), key=key)


@functools.cache
def prefix_cache(folder: str | None) -> PrefixCache:
    """Returns the cache of this process in `folder`; None for one in memory alone."""
    return PrefixCache(None if folder is None else Path(folder) / "prefix")


def allowed_card(spec: TrialSpec, *, environment: Environment) -> ModelCard:
    """Returns the card of a trial's source.

    Raises:
        UnknownNameError: if there is no such source.
        ConfigError: if it has seen the target, or takes other inputs.
    """
    card = environment.library().card(spec.pair.source, target=spec.target)
    if not card.is_allowed_for(spec.target):
        raise ConfigError(
            f"source {card.id} has seen {spec.target.dataset} or takes other inputs than {spec.target.name}; "
            "choose another source"
        )
    return card


@functools.lru_cache(maxsize=16)
def cached_data(text: str) -> TaskData:
    """Returns the data of the task whose canonical JSON is `text`; the last few tasks stay in memory."""
    return load_task(codec.loads(Task, text))
