"""One trial: what is run, what it reports, and how it ends."""

import dataclasses
from enum import StrEnum
from typing import Final, NewType

from transmeta.core import codec
from transmeta.core.plan import Precision
from transmeta.core.task import Params, Task, TaskPair, params_key

TrialId = NewType("TrialId", str)

STOPPED_BY_SEARCH: Final = "stopped by the search"
"""The reason of a trial that ended early by a verdict."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StrategySpec:
    """A strategy by name, with values for its hyperparameters."""

    name: str
    params: Params


class _WithKey:
    """Room for a key beside the fields: a policy asks for those of all that it knows at every step of a search."""

    __slots__ = ("_key",)

    _key: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Arm(_WithKey):
    """A choice that a policy can make: a source checkpoint (id of its card) and a strategy with its numbers."""

    source: str
    strategy: StrategySpec

    @property
    def key(self) -> str:
        """Text that is equal for equal arms, such as `glyphs-latn|lora|{"rank":4}`."""
        try:
            return self._key
        except AttributeError:
            key = f"{self.source}|{self.strategy.name}|{params_key(self.strategy.params)}"
            object.__setattr__(self, "_key", key)
            return key


class _WithId:
    """Room for an id beside the fields: it follows from them, takes a while, and is asked for often."""

    __slots__ = ("_id",)

    _id: TrialId


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec(_WithId):
    """All that determines a trial's numbers; its id is the hash of this."""

    pair: TaskPair
    strategy: StrategySpec
    seed: int
    schema: int = 1
    precision: Precision = dataclasses.field(default=Precision.FLOAT32, metadata=codec.UNSAID)

    @property
    def id(self) -> TrialId:
        """20 hexadecimal digits; equal for equal specs."""
        try:
            return self._id
        except AttributeError:
            object.__setattr__(self, "_id", TrialId(codec.digest(self)))
            return self._id

    @property
    def arm(self) -> Arm:
        """The choice that this trial tries."""
        return Arm(source=self.pair.source, strategy=self.strategy)

    @property
    def target(self) -> Task:
        """The task that it is fine-tuned on."""
        return self.pair.target


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a trial reports; up to nine times, evenly spread over its epochs.

    Attributes:
        epoch: the last epoch that it covers, from 1.
        progress: share of the trial's own epochs that are done, in (0, 1].
        progress_before: the same at the measurement before, 0 for the first.
        value: the task's metric on the validation split, in the metric's own direction.
        train_loss: mean over the epochs since the measurement before, nats.
        cost_s: CPU seconds of this process since the trial started; to read the task's data, once for all trials of a
            process, is none of them.
        wall_s: seconds since the trial started, likewise.
    """

    epoch: int
    progress: float
    progress_before: float
    value: float
    train_loss: float
    cost_s: float
    wall_s: float

    def reaches(self, share: float) -> bool:
        """Whether it is its trial's first measurement at or after `share` of the epochs."""
        return self.progress_before < share <= self.progress


class Verdict(StrEnum):
    """What a search answers to a measurement."""

    CONTINUE = "continue"
    STOP = "stop"


class TrialStatus(StrEnum):
    """How a trial ended."""

    COMPLETED = "completed"
    STOPPED = "stopped"
    """Censored: its curve counts, its last value is not final."""
    FAILED = "failed"
    """The strategy's fault (diverged, out of memory, not applicable): a lesson for the policy."""
    CRASHED = "crashed"
    """The machinery's fault: retried, never shown to the policy."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """How a trial ended and what it showed.

    Attributes:
        score: validation metric after the last epoch; None if FAILED or CRASHED before the first.
        test_score: test metric of the same weights; None unless COMPLETED. Never used to choose.
        parameter_count: trainable weights.
        reason: why it did not complete.
        checkpoint: folder of the trained model, where keeping it was asked for.
    """

    spec: TrialSpec
    status: TrialStatus
    curve: tuple[Measurement, ...] = ()
    score: float | None = None
    test_score: float | None = None
    cost_s: float = 0.0
    wall_s: float = 0.0
    parameter_count: int = 0
    reason: str = ""
    checkpoint: str | None = None

    @property
    def utility(self) -> float | None:
        """The validation score such that higher is better; None where there is none."""
        return None if self.score is None else self.spec.target.metric.utility(self.score)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a search may spend; at least one of the two is given.

    Attributes:
        trials: number of trials started.
        wall_s: seconds of wall time.
        min_gain: what the best validation score has to be expected to rise by for the search to go on; 0 to spend all.
    """

    trials: int | None = None
    wall_s: float | None = None
    min_gain: float = 0.0
