"""What `adapt` tells about a search, for programs and for people."""

import dataclasses
from collections.abc import Sequence
from typing import Final, Self

from transmeta.core.task import Params
from transmeta.core.trial import TrialResult

REPORT_ROWS: Final = 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of the models that answer together."""

    source: str
    strategy: str
    params: Params
    validation_score: float

    @classmethod
    def of(cls, result: TrialResult) -> Self:
        """Returns what `result` says of its model."""
        assert result.score is not None, "results without a score are never chosen"
        strategy = result.spec.strategy
        return cls(
            source=result.spec.pair.source,
            strategy=strategy.name,
            params=strategy.params,
            validation_score=result.score,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AdaptReport:
    """What `adapt` found.

    Attributes:
        test_score: of the model that was written, so of all members together, on examples that played no part in
            choosing.
        single_test_score: of the first member alone.
        validation_score, source, strategy, params: of the first member, which validated best.
        members: the models whose probabilities are averaged, best first; one where one answers alone.
        seconds: of wall time, start-up included.
        transfer: False if training from scratch won.
        sources: number of models that could have been transferred from; if 0, nothing but scratch was tried.
        is_settled: whether it ended since no choice was expected to raise the validation score by the least gain asked.
    """

    target: str
    metric: str
    test_score: float
    single_test_score: float
    validation_score: float
    source: str
    strategy: str
    params: Params
    transfer: bool
    members: tuple[Member, ...]
    sources: int
    trials: int
    seconds: float
    is_settled: bool
    model_path: str | None
    version: str
    schema: int = 1


def report_text(report: AdaptReport, results: Sequence[TrialResult]) -> str:
    """Returns the report in Markdown, with the best trials."""
    ranked = sorted((r for r in results if r.utility is not None), key=lambda r: -(r.utility or 0.0))
    why = "training from scratch won" if report.sources else "there is no source for such data"
    lines = [
        f"# {report.target}",
        "",
        f"{report.metric} {report.test_score:.4f} on the test split; {report.trials} trials in {report.seconds:.0f} s, "
        f"transmeta {report.version}.",
        "",
        f"Chosen: **{report.strategy}** from **{report.source}**"
        + ("." if report.transfer else f": {why}, so nothing was transferred.")
        + f" It has {report.validation_score:.4f} on the validation split that it was chosen by.",
        "",
        *_together(report),
        "| rank | source | strategy | validation | status | CPU s | trainable weights |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for rank, result in enumerate(ranked[:REPORT_ROWS], start=1):
        lines.append(
            f"| {rank} | {result.spec.pair.source} | {result.spec.strategy.name} | {result.score:.4f} "
            f"| {result.status.value} | {result.cost_s:.2f} | {result.parameter_count} |"
        )
    failed = [r for r in results if r.utility is None]
    if failed:
        lines += ["", f"{len(failed)} trial(s) gave no model: {'; '.join(sorted({r.reason for r in failed})[:3])}."]
    return "\n".join([*lines, ""])


def _together(report: AdaptReport) -> Sequence[str]:
    if len(report.members) == 1:
        return ()
    members = ", ".join(f"{one.strategy} from {one.source} ({one.validation_score:.4f})" for one in report.members)
    return (
        f"{len(report.members)} models answer together by the mean of their probabilities, here with their validation "
        f"scores: {members}. The first alone has {report.single_test_score:.4f} on the test split (`--ensemble 1` "
        "keeps it alone).",
        "",
    )
