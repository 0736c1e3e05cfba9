"""Trials as rows of a table and as JSON."""

import dataclasses
from collections.abc import Sequence
from typing import Final

from transmeta.cli.output import shown, shown_params
from transmeta.core.task import Params
from transmeta.core.trial import TrialResult, TrialStatus

COLUMNS: Final = ("rank", "source", "strategy", "validation", "status", "CPU s", "with")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrialReport:
    """One trial, as commands print it.

    Attributes:
        trial: its id in the store.
        score: validation score; None where there is none.
        test_score: None unless it completed; never used to choose.
    """

    trial: str
    target: str
    metric: str
    source: str
    strategy: str
    params: Params
    seed: int
    precision: str
    status: str
    score: float | None
    test_score: float | None
    cost_s: float
    wall_s: float
    parameter_count: int
    reason: str


def report_of(result: TrialResult) -> TrialReport:
    """Returns the report of one trial."""
    spec = result.spec
    return TrialReport(
        trial=spec.id,
        target=spec.target.id,
        metric=spec.target.metric.name,
        source=spec.pair.source,
        strategy=spec.strategy.name,
        params=spec.strategy.params,
        seed=spec.seed,
        precision=spec.precision.value,
        status=result.status.value,
        score=result.score,
        test_score=result.test_score,
        cost_s=result.cost_s,
        wall_s=result.wall_s,
        parameter_count=result.parameter_count,
        reason=result.reason,
    )


def ranked(results: Sequence[TrialResult]) -> Sequence[TrialReport]:
    """Returns the reports of all trials, best validation score first, those without one last."""
    return [report_of(result) for result in sorted(results, key=_rank)]


def rows_of(reports: Sequence[TrialReport]) -> Sequence[Sequence[str]]:
    """Returns the rows under `COLUMNS`."""
    return [
        (
            str(rank),
            report.source,
            report.strategy,
            shown(report.score),
            status_of(report.status, reason=report.reason),
            shown(report.cost_s, digits=2),
            shown_params(report.params),
        )
        for rank, report in enumerate(reports, start=1)
    ]


def status_of(status: str, *, reason: str) -> str:
    """Returns how a trial ended, and why if it gave nothing."""
    gave_nothing = status in (TrialStatus.FAILED.value, TrialStatus.CRASHED.value)
    return f"{status}: {reason}" if gave_nothing and reason else status


def _rank(result: TrialResult) -> tuple[bool, float]:
    return result.utility is None, -(result.utility or 0.0)
