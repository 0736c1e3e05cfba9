"""What the benchmark and its contenders tell each other: one line of JSON each way."""

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from transmeta.core.task import Task
from transmeta.core.trial import TrialSpec

SLOTS: Final = 2
"""Trials at once, for every contender."""


class Contender(StrEnum):
    OURS = "ours"
    PLAIN = "plain_tune"
    TUNED = "tuned_tune"


RIVALS: Final = (Contender.PLAIN, Contender.TUNED)


class Kind(StrEnum):
    """What a contender is asked to do."""

    TRIALS = "trials"
    """Run the given trials to their end."""
    SEARCH = "search"
    """Search the target as `adapt` does; a rival runs the given trials, with early stopping where it has it."""
    STORE = "store"
    """Run the given trials with a store that remembers each."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a contender is started.

    Attributes:
        folder: for its files; nobody else writes there.
        models: folder with the models that are not packaged.
        engine: which of our executors, as `--executor` of the commands takes it.
    """

    contender: Contender
    folder: str
    models: str
    engine: str = "ray"
    slots: int = SLOTS


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    kind: Kind
    specs: tuple[TrialSpec, ...] = ()
    target: Task | None = None
    trials: int = 0
    strategies: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Final validation score and training loss (nats) of a trial that ran to its end."""

    score: float
    loss: float
    test_score: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a contender did.

    Attributes:
        wall_s: from having the request to having all results.
        ended_s: seconds after the start at which each trial ended, ascending.
        outcomes: by trial id.
        specs: the trials that were run, where the request left them open, the best one first.
        failures: reasons of trials that gave no score.
        note: which executor, for a human.
    """

    wall_s: float
    ended_s: tuple[float, ...]
    outcomes: Mapping[str, Outcome]
    specs: tuple[TrialSpec, ...] = ()
    failures: tuple[str, ...] = ()
    best: float | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A contender is up."""

    note: str
