"""What is remembered of every trial, and what is known of a pair before training."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from transmeta.core.trial import Arm, TrialResult, TrialStatus

OPERATIONS: Final = "log_macs"
"""The pair feature that says what a source costs to run, log(1 + MACs), and not how well it fits: policies predict
costs with it, and nothing else."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MetaFeatures:
    """What is known of a target, and of each source allowed for it, before any training.

    Attributes:
        target_id: id of the task.
        target: name → value, such as `log_examples`; the same names for every task.
        pairs: source id → name → value, such as `logme`; its keys are the sources that may be used.
    """

    target_id: str
    target: Mapping[str, float]
    pairs: Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where an experience comes from.

    Attributes:
        version: of transmeta, with the commit where known.
        run: name of the run that asked for the trial.
        executor: `local`, `ray`, `tune` or `train`.
        created_at: UTC, ISO 8601.
    """

    version: str
    run: str
    executor: str
    created_at: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """One row of the store: a trial's result with the features that were known before it."""

    result: TrialResult
    target_features: Mapping[str, float]
    pair_features: Mapping[str, float]
    provenance: Provenance
    schema: int = 1

    @property
    def id(self) -> str:
        """The trial's id."""
        return self.result.spec.id

    @property
    def arm(self) -> Arm:
        """The choice that was tried."""
        return self.result.spec.arm

    @property
    def is_lesson(self) -> bool:
        """Whether a policy may see it: everything but the machinery's faults."""
        return self.result.status is not TrialStatus.CRASHED


History = Sequence[TrialResult]
"""The trials of the present search on the present target, oldest first."""
