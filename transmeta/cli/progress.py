"""Shows trials as they end: a bar on a terminal, a line for each elsewhere, nothing if quiet."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from transmeta.cli.output import say, shown
from transmeta.cli.results import status_of
from transmeta.core.trial import TrialResult

OnResult = Callable[[TrialResult], None]


@contextmanager
def progress(*, total: int | None, is_quiet: bool) -> Iterator[OnResult]:
    """Gives what is to be called with each result.

    Args:
        total: trials to come, at most; None where only the time is limited.
    """
    if is_quiet:
        yield lambda result: None
    elif sys.stderr.isatty():
        with _bar(total) as on_result:
            yield on_result
    else:
        yield _lines(total)


def _lines(total: int | None) -> OnResult:
    count = 0

    def on_result(result: TrialResult) -> None:
        nonlocal count
        count += 1
        say(f"trial {count}{'' if total is None else f'/{total}'}: {_described(result)}")

    return on_result


@contextmanager
def _bar(total: int | None) -> Iterator[OnResult]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    scored: list[tuple[float, str]] = []
    columns = (TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    best = TextColumn("{task.description}", markup=False)
    with Progress(*columns, best, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)

        def on_result(result: TrialResult) -> None:
            if result.utility is not None:
                what = f"{result.spec.strategy.name} from {result.spec.pair.source}"
                scored.append((result.utility, f"best {shown(result.score)} {what}"))
            bar.update(task, advance=1, description=max(scored)[1] if scored else "")

        yield on_result


def _described(result: TrialResult) -> str:
    spec = result.spec
    score = "" if result.score is None else f" {spec.target.metric.name} {shown(result.score)},"
    ended = status_of(result.status.value, reason=result.reason)
    return f"{spec.strategy.name} from {spec.pair.source} on {spec.target.name}:{score} {result.wall_s:.1f} s, {ended}"
