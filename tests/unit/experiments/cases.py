"""Targets, arms and scripts for the loops, which train nothing here."""

import hashlib
from collections.abc import Sequence

from transmeta.core.experience import MetaFeatures
from transmeta.core.task import TaskPair
from transmeta.core.trial import Arm, Measurement, StrategySpec, TrialResult, TrialSpec, TrialStatus
from transmeta.testing.fakes import scripted_result
from transmeta.testing.store_cases import example_task

TARGET = example_task()
SOURCES = ("latin", "icons", "scratch-small_cnn")
FEATURES = MetaFeatures(target_id=TARGET.id, target={"a": 1.0}, pairs={s: {"logme": 0.5} for s in SOURCES})
STEPS = 9
"""Epochs of a scripted trial, so that the rungs 1/9 and 1/3 fall on measurements 0 and 2."""


def arms(count: int, *, source: str = "latin") -> tuple[Arm, ...]:
    """`count` arms that differ in their rank."""
    return tuple(Arm(source=source, strategy=StrategySpec(name="lora", params={"rank": i + 1})) for i in range(count))


def spec_of(arm: Arm, *, seed: int = 0) -> TrialSpec:
    """The trial of an arm on the target."""
    return TrialSpec(pair=TaskPair(source=arm.source, target=TARGET), strategy=arm.strategy, seed=seed)


def specs(count: int) -> list[TrialSpec]:
    """The trials of `arms`."""
    return [spec_of(arm) for arm in arms(count)]


def quality(spec: TrialSpec) -> float:
    """A number in [0, 1) that looks random and belongs to the trial."""
    return int(hashlib.sha256(spec.id.encode()).hexdigest()[:6], 16) / 16**6


def script(spec: TrialSpec) -> TrialResult:
    """A curve that rises to the quality of the trial, whose beginning says nearly as much."""
    end = quality(spec)
    wobble = quality(TrialSpec(pair=spec.pair, strategy=spec.strategy, seed=spec.seed + 1)) / 5
    values = [end * (i + 1) / STEPS + wobble * (STEPS - 1 - i) / STEPS for i in range(STEPS)]
    return scripted_result(spec, values=[round(value, 6) for value in values])


def flat(spec: TrialSpec, value: float, **how: object) -> TrialResult:
    """A curve of nine equal values."""
    return scripted_result(spec, values=[value] * STEPS, **how)  # type: ignore[arg-type]


def measurement(value: float, *, at: int = 0) -> Measurement:
    """The measurement with this index on a scripted curve."""
    return scripted_result(specs(1)[0], values=[value] * STEPS).curve[at]


def ids(results: Sequence[TrialResult]) -> list[str]:
    """The trials' ids."""
    return [result.spec.id for result in results]


def statuses(results: Sequence[TrialResult]) -> list[TrialStatus]:
    """How the trials ended."""
    return [result.status for result in results]
