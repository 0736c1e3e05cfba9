"""Shows trials as they end: a bar on a terminal, a line for each elsewhere, nothing if quiet."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final

from transmeta.cli.output import say, shown
from transmeta.cli.results import status_of
from transmeta.core.trial import TrialResult

OnResult = Callable[[TrialResult], None]


@final
class Progress:
    """What is to be called with each result; it shows the result and counts it.

    Attributes:
        count: results so far.
    """

    def __init__(self, show: Callable[[TrialResult, int], None], *, is_quiet: bool) -> None:
        self.count = 0
        self._show = show
        self._is_quiet = is_quiet

    def __call__(self, result: TrialResult) -> None:
        """Shows one more result."""
        self.count += 1
        self._show(result, self.count)

    def say_known(self, *, trials: int) -> None:
        """Says how many of all `trials` were not shown, because the store had them."""
        if trials > self.count and not self._is_quiet:
            say(f"{trials - self.count} of {trials} trial(s) known already, not run again")


@contextmanager
def progress(*, total: int | None, is_quiet: bool) -> Iterator[Progress]:
    """Gives what is to be called with each result.

    Args:
        total: trials to come, at most; None where only the time is limited.
    """
    if is_quiet:
        yield Progress(lambda result, count: None, is_quiet=True)
    elif sys.stderr.isatty():
        with _bar(total) as on_result:
            yield Progress(lambda result, count: on_result(result), is_quiet=False)
    else:
        of = "" if total is None else f"/{total}"
        yield Progress(lambda result, count: say(f"trial {count}{of}: {_described(result)}"), is_quiet=False)


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
