"""Stand-ins for the slow seams: an executor that trains nothing, a policy that reads a list, a clock that counts."""

import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import final

from transmeta.core.experience import History, MetaFeatures
from transmeta.core.outcome import Suggestion
from transmeta.core.protocols import Search
from transmeta.core.trial import (
    STOPPED_BY_SEARCH,
    Arm,
    Measurement,
    TrialId,
    TrialResult,
    TrialSpec,
    TrialStatus,
    Verdict,
)

Script = Callable[[TrialSpec], TrialResult]
"""What a trial would show, run to its end."""


def scripted_result(
    spec: TrialSpec,
    *,
    values: Sequence[float],
    status: TrialStatus = TrialStatus.COMPLETED,
    parameter_count: int = 100,
    reason: str = "",
) -> TrialResult:
    """Returns the result of a trial of one epoch per value, each taking a second.

    The test score is the last value less 0.01; FAILED and CRASHED trials have no scores.
    """
    curve = tuple(
        Measurement(
            epoch=index + 1,
            progress=(index + 1) / len(values),
            progress_before=index / len(values),
            value=value,
            train_loss=1.0 / (index + 1),
            cost_s=float(index + 1),
            wall_s=float(index + 1),
        )
        for index, value in enumerate(values)
    )
    has_score = bool(values) and status in (TrialStatus.COMPLETED, TrialStatus.STOPPED)
    return TrialResult(
        spec=spec,
        status=status,
        curve=curve,
        score=values[-1] if has_score else None,
        test_score=values[-1] - 0.01 if status is TrialStatus.COMPLETED and values else None,
        cost_s=float(len(values)),
        wall_s=float(len(values)),
        parameter_count=parameter_count,
        reason=reason,
    )


@final
class ScriptedExecutor:
    """Runs trials as a script says, without training: several at once, in an order that a seed mixes.

    Args:
        script: what each trial would show, run to its end; a search may stop it before.
        slots: how many trials are under way at once.
        seed: of the order in which they advance.

    Attributes:
        started: the trials that were run, in the order in which they were asked for.
    """

    name = "scripted"

    def __init__(self, script: Script, *, slots: int = 1, seed: int = 0) -> None:
        self.started: list[TrialSpec] = []
        self._script = script
        self._slots = slots
        self._seed = seed

    def drive(self, search: Search) -> Iterator[TrialResult]:
        """Yields the result of each trial of `search` after it was told, in order of completion."""
        mixed = random.Random(self._seed)
        running: dict[TrialId, tuple[TrialResult, int]] = {}
        while True:
            while len(running) < self._slots and (asked := search.ask(count=self._slots - len(running))):
                running |= {spec.id: (self._script(spec), 0) for spec in asked}
                self.started += asked
            if not running:
                return
            trial = mixed.choice(list(running))
            script, shown = running[trial]
            result = script if shown == len(script.curve) else _advanced(script, shown, search)
            if result is None:
                running[trial] = (script, shown + 1)
                continue
            del running[trial]
            search.tell(result)
            yield result


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ListPolicy:
    """Suggests the arms of a list in their order, those that are allowed and not yet tried.

    Attributes:
        suggestions: arm's key → what to suggest for it; without one, it is suggested without a prediction.
    """

    arms: tuple[Arm, ...]
    suggestions: Mapping[str, Suggestion] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """`list`."""
        return "list"

    def suggest(self, features: MetaFeatures, history: History, *, count: int, seed: int) -> Sequence[Suggestion]:
        """Returns up to `count` arms, whatever the seed."""
        del seed
        tried = {result.spec.arm.key for result in history}
        fresh = [arm for arm in self.arms if arm.source in features.pairs and arm.key not in tried]
        return [self.suggestions.get(arm.key, Suggestion(arm=arm)) for arm in fresh[:count]]


@final
class CountingClock:
    """A clock on which every reading takes `step_s` seconds, and which can be put forward.

    Args:
        now_s: what it shows first.
    """

    def __init__(self, *, step_s: float = 0.0, now_s: float = 0.0) -> None:
        self._step_s = step_s
        self._now_s = now_s

    def __call__(self) -> float:
        """Returns the seconds that it shows, and moves on."""
        shown = self._now_s
        self._now_s += self._step_s
        return shown

    def advance(self, seconds: float) -> None:
        """Puts it forward."""
        self._now_s += seconds


def _advanced(script: TrialResult, shown: int, search: Search) -> TrialResult | None:
    """Reports the next measurement; returns the result of a trial that the search stopped there."""
    measurement = script.curve[shown]
    if search.report(script.spec.id, measurement) is Verdict.CONTINUE:
        return None
    return dataclasses.replace(
        script,
        status=TrialStatus.STOPPED,
        curve=script.curve[: shown + 1],
        score=measurement.value,
        test_score=None,
        cost_s=measurement.cost_s,
        wall_s=measurement.wall_s,
        reason=STOPPED_BY_SEARCH,
    )
