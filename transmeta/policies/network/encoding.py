"""Turns a target, its pairs and the arms into the numbers that the network reads. Constants are kept with the policy.

Letters: A arms, F inputs.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final, final

import numpy as np

from transmeta.core.experience import MetaFeatures
from transmeta.core.task import ParamValue
from transmeta.core.trial import Arm
from transmeta.policies.table import Array, Features, RegretTable, fit_of, is_scratch

WIDE: Final = 10.0
"""A positive parameter whose largest value is this many times its smallest is read as a logarithm."""
FARTHEST: Final = 5.0
PRIOR_STRENGTH: Final = 2.0
"""Targets' worth of the overall mean that an arm's mean regret is drawn towards."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """One number as the network reads it: (value or its logarithm − mean) / scale."""

    name: str
    mean: float
    scale: float
    is_log: bool = False

    def read(self, value: float | None) -> float:
        """Returns the standard score; NaN where the value is missing or has no logarithm."""
        if value is None or not np.isfinite(value) or (self.is_log and value <= 0):
            return np.nan
        number = np.log(value) if self.is_log else value
        return float(np.clip((number - self.mean) / self.scale, -FARTHEST, FARTHEST))


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """Names, in the order of the inputs, with the constants that standardise them.

    Attributes:
        choices: (parameter, value as text) of parameters that are not numbers.
        priors: arm key → mean regret over the known targets, drawn towards `overall`.
        overall: mean regret of all known cells, for arms without a prior.
    """

    target: tuple[Scaled, ...]
    pair: tuple[Scaled, ...]
    numbers: tuple[Scaled, ...]
    choices: tuple[tuple[str, str], ...]
    strategies: tuple[str, ...]
    sources: tuple[str, ...]
    priors: Mapping[str, float]
    overall: float

    @classmethod
    def fit(cls, table: RegretTable) -> "Encoder":
        """Returns the encoder for what occurs in `table`."""
        params = [arm.strategy.params for arm in table.arms]
        numeric = [{name: float(value) for name, value in line.items() if _is_number(value)} for line in params]
        choices = {(name, str(value)) for line in params for name, value in line.items() if not _is_number(value)}
        priors = arm_means(table.regret)
        return cls(
            target=_fit_scales([target.features for target in table.targets]),
            pair=_fit_scales([fit_of(vector) for target in table.targets for vector in target.pairs.values()]),
            numbers=_fit_scales(numeric, may_log=True),
            choices=tuple(sorted(choices)),
            strategies=tuple(sorted({arm.strategy.name for arm in table.arms})),
            sources=tuple(sorted({arm.source for arm in table.arms})),
            priors={arm.key: float(prior) for arm, prior in zip(table.arms, priors, strict=True)},
            overall=_overall(table.regret),
        )

    @property
    def width(self) -> int:
        """F, the number of inputs."""
        arm = len(self.strategies) + 2 * len(self.numbers) + len(self.choices) + len(self.sources) + 2
        return len(self.target) + 3 * len(self.pair) + arm

    def encode(self, features: MetaFeatures, arms: Sequence[Arm]) -> Array:
        """Returns the inputs for `arms` on the target, (A, F); the last one is the arm's prior."""
        return np.asarray(self.encode_all([features], arms)[0])

    def encode_all(self, targets: Sequence[MetaFeatures], arms: Sequence[Arm]) -> Array:
        """Returns the inputs for `arms` on each of `targets`, (T, A, F)."""
        own = np.array([self._arm(arm) for arm in arms]).reshape(
            len(arms), self.width - len(self.target) - 3 * len(self.pair)
        )
        return np.array([np.concatenate([self._target(features, arms), own], axis=1) for features in targets]).reshape(
            len(targets), len(arms), self.width
        )

    def _target(self, features: MetaFeatures, arms: Sequence[Arm]) -> Array:
        """Returns what the target is, and how it fits the arms' sources, (A, ...)."""
        target = np.nan_to_num([scale.read(features.target.get(scale.name)) for scale in self.target], nan=0.0)
        pairs = self._pairs(features.pairs)
        absent = np.concatenate([np.zeros(2 * len(self.pair)), np.ones(len(self.pair))])
        fits = np.array([pairs.get(arm.source, absent) for arm in arms]).reshape(len(arms), 3 * len(self.pair))
        return np.concatenate([np.broadcast_to(target, (len(arms), len(target))), fits], axis=1)

    def _pairs(self, pairs: Mapping[str, Features]) -> Mapping[str, Array]:
        """Returns for each source: scores, scores less their mean over the sources, and which are missing."""
        scores = np.array(
            [[scale.read(vector.get(scale.name)) for scale in self.pair] for vector in pairs.values()]
        ).reshape(len(pairs), len(self.pair))
        is_missing = np.isnan(scores)
        filled = np.where(is_missing, 0.0, scores)
        counts = np.maximum((~is_missing).sum(axis=0), 1)
        centred = np.where(is_missing, 0.0, filled - filled.sum(axis=0) / counts)
        return dict(zip(pairs, np.concatenate([filled, centred, is_missing], axis=1), strict=True))

    def _arm(self, arm: Arm) -> Array:
        params = arm.strategy.params
        scores = np.array([scale.read(_number(params.get(scale.name))) for scale in self.numbers])
        said = {(name, str(value)) for name, value in params.items()}
        parts = [
            [float(arm.strategy.name == name) for name in self.strategies],
            np.nan_to_num(scores, nan=0.0),
            np.isnan(scores),
            [float(choice in said) for choice in self.choices],
            [float(arm.source == name) for name in self.sources],
            [float(is_scratch(arm.source))],
            [self.priors.get(arm.key, self.overall) - self.overall],
        ]
        return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])


def arm_means(regret: Array) -> Array:
    """Returns each arm's mean regret over the rows (A,), drawn towards the mean of all cells."""
    is_tried = ~np.isnan(regret)
    sums = np.nansum(regret, axis=0) + PRIOR_STRENGTH * _overall(regret)
    return np.asarray(sums / (is_tried.sum(axis=0) + PRIOR_STRENGTH), dtype=np.float64)


def _overall(regret: Array) -> float:
    cells = regret[~np.isnan(regret)]
    return float(cells.mean()) if cells.size else 1.0


def _fit_scales(vectors: Sequence[Features], *, may_log: bool = False) -> tuple[Scaled, ...]:
    """Returns the scale of each name that varies over `vectors`, ordered by name."""
    scales = []
    for name in sorted({name for vector in vectors for name in vector}):
        values = np.array([vector[name] for vector in vectors if name in vector], dtype=np.float64)
        values = values[np.isfinite(values)]
        is_log = may_log and values.size > 0 and bool(values.min() > 0 and values.max() / values.min() >= WIDE)
        numbers = np.log(values) if is_log else values
        if values.size >= 2 and numbers.std() > 1e-9:
            scales.append(Scaled(name=name, mean=float(numbers.mean()), scale=float(numbers.std()), is_log=is_log))
    return tuple(scales)


def _is_number(value: ParamValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: ParamValue | None) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
