"""What is known of a model before it is loaded."""

import dataclasses
from typing import Final

from transmeta.core.task import Modality, Task, check_identifier

SCRATCH: Final = "scratch"
"""Architectures without weights are offered under the id `scratch-<architecture>`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainedOn:
    """One data set that a checkpoint has seen."""

    dataset: str
    domain: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of a staged model.

    Attributes:
        parameter_count: weights in this stage.
        macs: multiply-accumulate operations for one example.
    """

    name: str
    parameter_count: int
    macs: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Describes a staged model: an ordered list of stages and a head.

    Attributes:
        architecture: the entry point (group `transmeta.models`) that builds it.
        input_shape: (height, width, channels) or (columns,); images of another size are resized.
        feature_count: width of what the last stage hands to the head.
        class_count: outputs of the source head, 0 without one.
        trained_on: what its weights have seen; empty for an architecture without weights.
        score: validation score on its own source task, where known.
        feature_mean, feature_std: (feature_count,) over its own training examples; empty where not known.
        weights: file name of the weights beside the card; None for an architecture without weights.
        weights_sha256: checked before the weights are read.
    """

    id: str
    architecture: str
    modality: Modality
    input_shape: tuple[int, ...]
    stages: tuple[Stage, ...]
    feature_count: int
    class_count: int = 0
    trained_on: tuple[TrainedOn, ...] = ()
    score: float | None = None
    feature_mean: tuple[float, ...] = ()
    feature_std: tuple[float, ...] = ()
    weights: str | None = None
    weights_sha256: str | None = None
    licence: str = "Apache-2.0"
    note: str = ""
    schema: int = 1

    def __post_init__(self) -> None:
        check_identifier(self.id, kind="model id")

    @property
    def is_pretrained(self) -> bool:
        """Whether the card has weights."""
        return self.weights is not None

    @property
    def stage_count(self) -> int:
        """Number of stages; a cut is an index from 0 to this."""
        return len(self.stages)

    @property
    def parameter_count(self) -> int:
        """Weights in all stages, without the head."""
        return sum(stage.parameter_count for stage in self.stages)

    def is_allowed_for(self, target: Task) -> bool:
        """Whether the checkpoint may be offered: same modality, and it has not seen the target's data set."""
        has_seen = any(item.dataset == target.dataset for item in self.trained_on)
        fits = self.modality is Modality.IMAGE or self.input_shape == target.shape
        return self.modality is target.modality and fits and not has_seen
