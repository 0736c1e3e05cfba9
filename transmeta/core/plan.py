"""What a strategy decides about one model, as data: frozen, added, penalised, re-initialised, optimised.

Stages are counted from 0 at the input; the head is always new and always trainable.
"""

import dataclasses
import math
from enum import StrEnum

from transmeta.core.codec import tagged
from transmeta.errors import ConfigError


class Initialisation(StrEnum):
    """Where the stages' weights start."""

    SOURCE = "source"
    RANDOM = "random"


class Scope(StrEnum):
    """Which parameters of a trainable stage are trained."""

    ALL = "all"
    BIAS = "bias"
    """Biases and the affine parameters of norms (BitFit, Ben Zaken et al. 2022)."""


class Schedule(StrEnum):
    """Learning rate over the steps of a trial, after a linear warm-up."""

    CONSTANT = "constant"
    COSINE = "cosine"


class Precision(StrEnum):
    """The numbers that the trained part is computed in; weights, optimiser, losses and frozen prefixes are float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    """Mixed precision (Micikevicius et al. 2018) with bfloat16, which needs no loss scaling (Kalamkar et al. 2019)."""


@tagged
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Low-rank update W + (scale / rank)·B·A in each conv and linear layer from stage `cut` on (Hu et al. 2022)."""

    rank: int
    scale: float
    cut: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"rank: {self.rank}; give 1 or more")


@tagged
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ResidualAdapter:
    """A zero-initialised 1×1 map parallel to each conv or linear layer from `cut` on (Rebuffi et al. 2018)."""

    cut: int = 0


@tagged
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SideNetwork:
    """A small f_ad, zero at first, added to the frozen features: f_mt = f_s + f_ad (Zhang et al. 2020)."""

    width: int

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"width: {self.width}; give 1 or more")


Addition = Lora | ResidualAdapter | SideNetwork


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class L2SP:
    """(strength / 2)·||w − w_source||² on transferred weights + (head_strength / 2)·||w_head||² (Li et al. 2018)."""

    strength: float
    head_strength: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ridge:
    """The head in closed form: W = argmin ‖Y − Z·W‖² + penalty·‖Z‖²·‖W‖², Z and Y centred (Hoerl & Kennard 1970).

    Attributes:
        penalty: λ as a share of ‖Z‖², the sum of the squared distances of the training features from their mean; so it
            depends neither on their number nor on their size.
    """

    penalty: float

    def __post_init__(self) -> None:
        if not 0 < self.penalty < math.inf:
            raise ConfigError(f"penalty: {self.penalty} is not positive and finite; give a value above 0")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserPlan:
    """AdamW's numbers.

    Attributes:
        learning_rate: of the last stage.
        head_multiplier: the head's learning rate is this times `learning_rate`.
        layer_decay: stage i of n has `learning_rate · layer_decay^(n − 1 − i)`.
        weight_decay: decoupled; not on biases and norms.
        warmup: share of the steps over which the rate rises linearly.
        batch_size: examples in a step, over all devices together.
    """

    learning_rate: float
    epochs: int
    head_multiplier: float = 1.0
    layer_decay: float = 1.0
    weight_decay: float = 0.0
    schedule: Schedule = Schedule.COSINE
    warmup: float = 0.05
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name in ("learning_rate", "epochs", "head_multiplier", "layer_decay", "batch_size"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}: {getattr(self, name)} is not positive; give a value above 0")
        if self.weight_decay < 0:
            raise ConfigError(f"weight_decay: {self.weight_decay} is negative; give 0 or more")
        if not 0 <= self.warmup <= 1:
            raise ConfigError(f"warmup: {self.warmup} is not a share; give 0 to 1")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TransferPlan:
    """What is frozen, trainable, added, penalised and re-initialised in one model, and the optimiser's numbers.

    Attributes:
        trainable: indices of the stages that are trained, in any order; empty for the head alone.
        scope: which parameters of these stages.
        probe_epochs: epochs at the start in which the head alone is trained (LP-FT, Kumar et al. 2022).
        probe_learning_rate: the head's learning rate in these epochs.
        augment_shift: random shifts of training images by up to this many pixels; frozen prefixes are then not cached.
        ridge: solves the head in one epoch instead of optimising it; the optimiser's other numbers have no effect.
    """

    trainable: tuple[int, ...]
    optimiser: OptimiserPlan
    initialisation: Initialisation = Initialisation.SOURCE
    scope: Scope = Scope.ALL
    additions: tuple[Addition, ...] = ()
    penalty: L2SP | None = None
    probe_epochs: int = 0
    probe_learning_rate: float = 1e-3
    augment_shift: int = 0
    ridge: Ridge | None = None

    def __post_init__(self) -> None:
        for name in ("probe_epochs", "augment_shift"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}: {getattr(self, name)} is negative; give 0 or more")
        if not self.probe_learning_rate > 0:
            raise ConfigError(f"probe_learning_rate: {self.probe_learning_rate} is not positive; give a value above 0")
        if self.ridge is not None:
            self._check_head_alone()

    @property
    def cut(self) -> int | None:
        """Index of the first stage that is trained or added to: all before it is the frozen prefix.

        None if all stages are frozen as they are. A side network stands beside the stages and does not count.
        """
        starts = list(self.trainable)
        starts += [addition.cut for addition in self.additions if not isinstance(addition, SideNetwork)]
        return min(starts, default=None)

    def _check_head_alone(self) -> None:
        clashing = {
            "trainable": bool(self.trainable),
            "initialisation": self.initialisation is not Initialisation.SOURCE,
            "additions": bool(self.additions),
            "penalty": self.penalty is not None,
            "probe_epochs": self.probe_epochs > 0,
            "augment_shift": self.augment_shift > 0,
            "epochs": self.optimiser.epochs != 1,
        }
        wrong = [name for name, is_set in clashing.items() if is_set]
        if wrong:
            raise ConfigError(f"ridge: a head in closed form goes with frozen source features; leave out {wrong[0]}")
