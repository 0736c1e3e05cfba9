"""What the driver knows of a trial that runs elsewhere and may start over: what it asked, and what it must do."""

import dataclasses
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol, final

from transmeta.core.trial import Measurement, TrialId, TrialSpec, Verdict


class Order(StrEnum):
    """What a trial does next."""

    GO_ON = "go_on"
    STOP = "stop"
    """It ends with a result: STOPPED."""
    END = "end"
    """It ends without one."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a trial shows when it asks for an order.

    Attributes:
        curve: all of it, so that whoever goes on after a loss need not know what was heard before.
        failure: what one of its workers failed of alone, if the strategy is to blame for it.
    """

    curve: tuple[Measurement, ...] = ()
    failure: str = ""


class Judge(Protocol):
    """Who says whether a trial goes on: a search, or whoever stands before one."""

    def report(self, trial: TrialId, measurement: Measurement) -> Verdict:
        """Returns whether the trial goes on after a measurement, of which it hears once."""
        ...


@final
class TrialWatch:
    """Shows the measurements of one trial to a judge, each once, and keeps to what it has ordered.

    Attributes:
        failure: why the trial has to end as FAILED; empty if it has not.
    """

    def __init__(self, spec: TrialSpec, judge: Judge) -> None:
        self.failure = ""
        self._spec = spec
        self._judge = judge
        self._curve: list[Measurement] = []
        self._order = Order.GO_ON

    @property
    def curve(self) -> Sequence[Measurement]:
        """What the judge has seen."""
        return tuple(self._curve)

    def hear(self, question: Question) -> Order:
        """Returns what the trial does next; of what it shows again, after it lost some work, the first counts."""
        if question.failure:
            self.failure = question.failure
            self._order = Order.END
        for measurement in question.curve[len(self._curve) :]:
            self._curve.append(measurement)
            verdict = self._judge.report(self._spec.id, measurement)
            if verdict is Verdict.STOP and self._order is Order.GO_ON:
                self._order = Order.STOP
        return self._order
