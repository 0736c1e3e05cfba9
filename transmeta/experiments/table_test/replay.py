"""One search, played from the record of a target: every step that it pays for is logged.

Letters: M logged steps, C configurations.
"""

import dataclasses
from collections.abc import Callable
from typing import Final, final

import numpy as np

from transmeta.experiments.table_test.ground import Target
from transmeta.policies.adaptive.protocol import Allowance, Array, Forecast, Indices, Move, Predicting, Session

TOLERANCE: Final = 1e-9
FORECASTS_AFTER: Final = (0, 3, 10)
"""Full runs' worth of evaluations after which a session is asked for its forecasts."""
FORECASTS: Final = 48
"""Configurations that are asked about each time, spread over those that were not run."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Log:
    """What a search did.

    Attributes:
        evaluations, cost_s: (M,) spent after each step.
        incumbent: (M,) configuration, −1 before anything was measured; `value` (M,) its value then, −∞ before.
        moves: how often something was started or continued.
        decide_s: seconds that the session took for its choices.
        forecasts: (configuration, forecast) where the session gives any.
    """

    evaluations: Array
    cost_s: Array
    incumbent: Indices
    value: Array
    moves: int
    decide_s: float
    forecasts: tuple[tuple[int, Forecast], ...]


def replay(session: Session, target: Target, *, allowance: Allowance, clock: Callable[[], float]) -> Log:
    """Returns what `session` does on `target` until it stops or its allowance is spent.

    Raises:
        ValueError: if it asks for what was not recorded, or for a step that it has paid for already.
    """
    return _Replay(target, allowance=allowance, clock=clock).play(session)


@final
class _Replay:
    def __init__(self, target: Target, *, allowance: Allowance, clock: Callable[[], float]) -> None:
        self._target = target
        self._allowance = allowance
        self._clock = clock
        self._paid = np.zeros(len(target.steps), dtype=np.int64)
        self._value = np.full(len(target.steps), -np.inf)
        self._started: list[int] = []
        self._spent = np.zeros(2)
        self._parts: list[tuple[Array, Array, Indices, Array]] = []
        self._forecasts: list[tuple[int, Forecast]] = []
        self._asked = 0

    def play(self, session: Session) -> Log:
        moves, began = 0, self._clock()
        decide_s = 0.0
        while True:
            decide_s += self._clock() - began
            self._ask(session)
            began = self._clock()
            move = session.next()
            if move is None:
                break
            self._check(move)
            values, cost_s, failed, is_last = self._run(move)
            moves += 1
            if is_last:
                break
            session.tell(move, values, cost_s, failed)
        decide_s += self._clock() - began
        logged = [np.concatenate(column) for column in zip(*self._parts, strict=True)] if self._parts else []
        empty = np.zeros(0)
        return Log(
            evaluations=logged[0] if logged else empty,
            cost_s=logged[1] if logged else empty,
            incumbent=logged[2].astype(np.int64) if logged else empty.astype(np.int64),
            value=logged[3] if logged else empty,
            moves=moves,
            decide_s=decide_s,
            forecasts=tuple(self._forecasts),
        )

    def _check(self, move: Move) -> None:
        target, config = self._target, move.config
        if not (0 <= config < len(self._paid) and target.steps[config]):
            raise ValueError(f"move on configuration {config}, which has no record on {target.name}; see is_allowed")
        if not self._paid[config] < move.step <= target.steps[config] or self._paid[config] >= target.ends[config]:
            raise ValueError(
                f"move on configuration {config} of {target.name} to step {move.step}: it is at {self._paid[config]} "
                f"of {target.steps[config]}, and its run ended at {target.ends[config]}"
            )

    def _run(self, move: Move) -> tuple[Array, Array, bool, bool]:
        """Returns values and costs of the new steps, whether the run failed, and whether the allowance is spent."""
        target, config, paid = self._target, move.config, int(self._paid[move.config])
        stop = min(move.step, int(target.ends[config]))
        cost_s = target.step_cost_s[config, paid:stop].copy()
        share = np.full(stop - paid, 1 / target.steps[config])
        failed = bool(target.failed[config] and stop == target.ends[config])
        if failed:
            # What was asked for and recorded after the divergence is paid for, too: a failed run is not a cheap one.
            cost_s[-1] += target.step_cost_s[config, stop : move.step].sum()
            share[-1] += (move.step - stop) / target.steps[config]
        evaluations, spent_s = self._spent[0] + np.cumsum(share), self._spent[1] + np.cumsum(cost_s)
        within = self._within(evaluations, spent_s)
        values = target.utility[config, paid : paid + within]
        if within:
            self._log(config, values, evaluations[:within], spent_s[:within], paid=paid)
        is_last = within < stop - paid or self._is_spent()
        return values, cost_s[:within], failed, is_last

    def _log(self, config: int, values: Array, evaluations: Array, spent_s: Array, *, paid: int) -> None:
        others = [other for other in self._started if other != config]
        rival = max(others, key=lambda other: self._value[other]) if others else -1
        bar = self._value[rival] if others else -np.inf
        is_earlier = rival >= 0 and (config not in self._started or others.index(rival) < self._started.index(config))
        is_ahead = values > bar if is_earlier else values >= bar
        value = np.where(is_ahead, values, bar)
        incumbent = np.where(np.isneginf(value), -1, np.where(is_ahead, config, rival))
        self._parts.append((evaluations, spent_s, incumbent, value))
        if config not in self._started:
            self._started.append(config)
        self._paid[config] = paid + len(values)
        self._value[config] = values[-1]
        self._spent = np.array([evaluations[-1], spent_s[-1]])

    def _within(self, evaluations: Array, spent_s: Array) -> int:
        """Returns how many of the new steps the allowance covers."""
        is_paid = np.ones(len(evaluations), dtype=np.bool_)
        for spent, limit in ((evaluations, self._allowance.evaluations), (spent_s, self._allowance.cost_s)):
            if limit is not None:
                is_paid &= spent <= limit * (1 + TOLERANCE) + TOLERANCE
        return int(is_paid.sum())

    def _is_spent(self) -> bool:
        limits = (self._allowance.evaluations, self._allowance.cost_s)
        return any(
            limit is not None and spent >= limit * (1 - TOLERANCE) - TOLERANCE
            for spent, limit in zip(self._spent, limits, strict=True)
        )

    def _ask(self, session: Session) -> None:
        """Asks for forecasts at the start and after some evaluations; the time does not count as deciding."""
        if not isinstance(session, Predicting):
            return
        if self._asked < len(FORECASTS_AFTER) and self._spent[0] >= FORECASTS_AFTER[self._asked] - TOLERANCE:
            self._asked += 1
            left = np.flatnonzero((self._target.steps > 0) & (self._paid == 0))
            chosen = left[np.unique(np.linspace(0, len(left) - 1, min(FORECASTS, len(left))).astype(np.int64))]
            self._forecasts += [(int(config), session.predict(int(config))) for config in chosen]
