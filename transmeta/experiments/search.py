"""What to run next on one target, and when to stop a trial: deterministic, whoever runs the trials, in any order."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

from transmeta.core.experience import MetaFeatures
from transmeta.core.plan import Precision
from transmeta.core.protocols import GainAware, Policy, Search
from transmeta.core.task import Task, TaskPair
from transmeta.core.trial import (
    STOPPED_BY_SEARCH,
    Measurement,
    TrialId,
    TrialResult,
    TrialSpec,
    TrialStatus,
    Verdict,
)
from transmeta.training.seeding import derive_seed

GENERATION: Final = 4
"""Trials that are proposed together at first, from the results of all earlier generations, on any cluster."""
SHARE: Final = 8
"""Later, as many as one in so many of those before them: a few results more would change little in what is proposed,
and larger generations keep more workers busy, fill stacks and ask the policy less often."""
WAITING: Final = 3
"""So many generations wait for all before them; later ones, which learn less from four trials, leave out the last."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Halving:
    """Successive halving's rule (Jamieson & Talwalkar 2016), applied generation by generation.

    At a rung a trial goes on if it is among the best 1/eta of what earlier generations showed at the same rung. The
    order in which trials of one generation finish plays no part, so every executor takes the same decisions.

    Attributes:
        rungs: shares of a trial's own epochs.
    """

    eta: int = 3
    rungs: tuple[float, ...] = (1 / 9, 1 / 3)

    def verdict(self, utility: float, *, earlier: Sequence[float]) -> Verdict:
        """Returns whether a trial that shows `utility` at a rung goes on, given those of earlier generations there."""
        if len(earlier) < self.eta:
            return Verdict.CONTINUE
        threshold = sorted(earlier, reverse=True)[math.ceil(len(earlier) / self.eta) - 1]
        return Verdict.CONTINUE if utility >= threshold else Verdict.STOP


@final
class ReplaySearch:
    """Runs a list of trials to their end."""

    rungs: Sequence[float] = ()

    def __init__(self, specs: Sequence[TrialSpec]) -> None:
        self._waiting = list({spec.id: spec for spec in specs}.values())
        self.results: list[TrialResult] = []

    def ask(self, *, count: int) -> Sequence[TrialSpec]:
        """Returns the next `count` of the list."""
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def report(self, trial: TrialId, measurement: Measurement) -> Verdict:
        """Returns CONTINUE."""
        return Verdict.CONTINUE

    def tell(self, result: TrialResult) -> None:
        """Keeps the result."""
        self.results.append(result)


@final
class PolicySearch:
    """Searches the transfer choices for one target, a generation at a time, as a policy suggests.

    From the fifth generation on a generation knows the results of all but the last before it, so that the two of them
    can be under way together and no worker waits for the slowest trial of the last. After forty trials they grow.

    Attributes:
        is_settled: whether it ended since no choice was expected to gain enough.

    Args:
        trials: how many trials in all.
        min_gain: no generation follows once no choice is expected to raise the best utility by as much; policies that
            cannot tell go on.
        halving: stops trials early; None runs each to its end.
        seed: of the policy's choices.
        trial_seed, precision: of the trials themselves.
    """

    def __init__(
        self,
        target: Task,
        *,
        features: MetaFeatures,
        policy: Policy,
        trials: int,
        halving: Halving | None,
        seed: int,
        trial_seed: int = 0,
        precision: Precision = Precision.FLOAT32,
        min_gain: float = 0.0,
    ) -> None:
        self._target = target
        self._features = features
        self._policy = policy
        self._trials = trials
        self._halving = halving
        self._seed = seed
        self._trial_seed = trial_seed
        self._precision = precision
        self._waiting: list[TrialSpec] = []
        self._order: dict[TrialId, int] = {}
        self._generation_of: dict[TrialId, int] = {}
        self._finished: dict[TrialId, TrialResult] = {}
        self._earlier: list[dict[float, list[float]]] = []
        self._is_exhausted = False
        self._min_gain = min_gain
        self.is_settled = False

    @property
    def rungs(self) -> Sequence[float]:
        """The rungs of its halving."""
        return self._halving.rungs if self._halving else ()

    @property
    def results(self) -> tuple[TrialResult, ...]:
        """What was told, in the order in which it was proposed."""
        return tuple(sorted(self._finished.values(), key=lambda result: self._order[result.spec.id]))

    def ask(self, *, count: int) -> Sequence[TrialSpec]:
        """Returns trials of the present generation; the next one is proposed when all that it knows of was told."""
        if not self._waiting and not self._is_exhausted:
            known = self._known_generations()
            if all(trial in self._finished for trial, own in self._generation_of.items() if own < known):
                self._propose(known)
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def report(self, trial: TrialId, measurement: Measurement) -> Verdict:
        """Returns STOP if the measurement is the first at a rung and not among the best there, nor a trial's last."""
        if self._halving is None or _is_last(measurement):
            return Verdict.CONTINUE
        reached = [rung for rung in self.rungs if measurement.reaches(rung)]
        utility = self._target.metric.utility(measurement.value)
        earlier = self._earlier[self._generation_of[trial]] if trial in self._generation_of else {}
        verdicts = [self._halving.verdict(utility, earlier=earlier.get(rung, [])) for rung in reached]
        return Verdict.STOP if Verdict.STOP in verdicts else Verdict.CONTINUE

    def tell(self, result: TrialResult) -> None:
        """Keeps the result for later generations."""
        self._finished[result.spec.id] = result

    def _known_generations(self) -> int:
        """Returns how many generations, from the first, the next one learns from."""
        present = len(self._earlier)
        return present if present <= WAITING else present - 1

    def _propose(self, known: int) -> None:
        """Proposes a generation from the results of the first `known`; if it has nothing new, no other follows."""
        count = min(max(GENERATION, len(self._order) // SHARE), self._trials - len(self._order))
        if count <= 0:
            return
        told = [result for result in self.results if self._generation_of.get(result.spec.id, 0) < known]
        pending = len(self._order) - len(told)
        generation = len(self._earlier)
        self._earlier.append({rung: self._utilities_at(rung, told) for rung in self.rungs})
        history = [result for result in told if result.status is not TrialStatus.CRASHED]
        if self._is_enough(history):
            self.is_settled = self._is_exhausted = True
            return
        seed = derive_seed(self._seed, "generation", generation)
        for suggestion in self._policy.suggest(self._features, history, count=count + pending, seed=seed):
            pair = TaskPair(source=suggestion.arm.source, target=self._target)
            spec = TrialSpec(
                pair=pair, strategy=suggestion.arm.strategy, seed=self._trial_seed, precision=self._precision
            )
            if spec.id not in self._order and len(self._waiting) < count:
                self._order[spec.id] = len(self._order)
                self._generation_of[spec.id] = generation
                self._waiting.append(spec)
        self._is_exhausted = not self._waiting

    def _is_enough(self, history: Sequence[TrialResult]) -> bool:
        """Whether no choice is expected to raise the best utility by `min_gain`."""
        if self._min_gain <= 0 or not isinstance(self._policy, GainAware):
            return False
        gain = self._policy.expected_gain(self._features, history)
        return gain is not None and gain < self._min_gain

    def _utilities_at(self, rung: float, results: Sequence[TrialResult]) -> list[float]:
        utilities = []
        for result in results:
            at_rung = [m for m in result.curve if m.reaches(rung) and not _is_last(m)]
            utilities += [self._target.metric.utility(m.value) for m in at_rung]
        return utilities


@final
class Recall:
    """Answers from memory what was run before, so that what is asked twice is paid once.

    A remembered curve is shown to the search point by point, which may stop it earlier than it was; a trial that was
    stopped earlier than this search would stop it is run again.
    """

    def __init__(self, search: Search, *, known: Mapping[TrialId, TrialResult]) -> None:
        self._search = search
        self._known = known
        self.recalled: list[TrialResult] = []
        self._ended: list[TrialResult] = []

    def take(self) -> Sequence[TrialResult]:
        """Returns the results that an executor told since the last call."""
        ended, self._ended = self._ended, []
        return ended

    @property
    def rungs(self) -> Sequence[float]:
        """Those of the search."""
        return self._search.rungs

    def ask(self, *, count: int) -> Sequence[TrialSpec]:
        """Returns trials that are not known; known ones are told to the search at once."""
        while asked := self._search.ask(count=count):
            fresh = [spec for spec in asked if not self._answer(spec)]
            if fresh:
                return fresh
        return ()

    def report(self, trial: TrialId, measurement: Measurement) -> Verdict:
        """Returns the search's verdict."""
        return self._search.report(trial, measurement)

    def tell(self, result: TrialResult) -> None:
        """Tells the search."""
        self._ended.append(result)
        self._search.tell(result)

    def _answer(self, spec: TrialSpec) -> bool:
        result = self._known.get(spec.id)
        if result is None or result.status is TrialStatus.CRASHED:
            return False
        for index, measurement in enumerate(result.curve):
            if self._search.report(spec.id, measurement) is Verdict.STOP:
                result = _stopped_at(result, index)
                break
        else:
            if result.status is TrialStatus.STOPPED:
                return False
        self.recalled.append(result)
        self._search.tell(result)
        return True


@final
class Deadline:
    """Ends a search at a time: nothing starts that could not end before it, and what runs is stopped.

    Args:
        clock: seconds, monotonic.
        at: when, on that clock.
    """

    def __init__(self, search: Search, *, clock: Callable[[], float], at: float) -> None:
        self._search = search
        self._clock = clock
        self._at = at
        self._walls: list[float] = []

    @property
    def rungs(self) -> Sequence[float]:
        """Those of the search."""
        return self._search.rungs

    def ask(self, *, count: int) -> Sequence[TrialSpec]:
        """Returns what the search asks for: no more than could run one after another in the time left.

        Nothing when that is less than half of a usual trial.
        """
        left_s = self._at - self._clock()
        usual_s = sum(self._walls) / len(self._walls) if self._walls else 0.0
        if left_s <= usual_s / 2:
            return ()
        soon = GENERATION if usual_s == 0.0 else max(1, int(left_s / usual_s))
        return self._search.ask(count=min(count, soon))

    def report(self, trial: TrialId, measurement: Measurement) -> Verdict:
        """Returns STOP once the time is over, the search's verdict before."""
        verdict = self._search.report(trial, measurement)
        return Verdict.STOP if self._clock() >= self._at else verdict

    def tell(self, result: TrialResult) -> None:
        """Tells the search, and learns how long trials take."""
        if result.status is TrialStatus.COMPLETED:
            self._walls.append(result.wall_s)
        self._search.tell(result)


def _is_last(measurement: Measurement) -> bool:
    """Whether the trial is at its end: a closed-form head is at once, and tells nothing of others on their way."""
    return measurement.progress >= 1.0


def _stopped_at(result: TrialResult, index: int) -> TrialResult:
    """Returns the result as it is if stopped after measurement `index`."""
    last = result.curve[index]
    if index == len(result.curve) - 1 and result.status is TrialStatus.STOPPED:
        return result
    return dataclasses.replace(
        result,
        status=TrialStatus.STOPPED,
        curve=result.curve[: index + 1],
        score=last.value,
        test_score=None,
        cost_s=last.cost_s,
        wall_s=last.wall_s,
        reason=STOPPED_BY_SEARCH,
        checkpoint=None,
    )
