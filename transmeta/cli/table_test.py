"""`transmeta meta-test` over a table of recorded curves: progress, a table for people, the plots."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from transmeta.cli.output import only_results_on_stdout, print_json, print_table, say, shown
from transmeta.cli.plan import Plan, print_plan
from transmeta.experiments.table_test.split import Split

if TYPE_CHECKING:
    from transmeta.experiments.table_test.report import MethodFigures, TableReport

MANY: Final = 40
"""Targets from which on a replay is announced: it takes minutes."""
PATIENCE_S: Final = 10.0
"""Seconds between two lines of progress."""
COLUMNS: Final = (1, 3, 5, 10, 20)


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of the command, as in `Comparison`.

    Attributes:
        configs: file with the hyperparameters of the configurations.
        plots: folder to draw into.
    """

    configs: Path | None
    split: Split | None
    evaluations: int
    cost_budget: float | None
    seeds: int
    methods: tuple[str, ...] | None
    has_ablations: bool
    plots: Path | None
    as_json: bool


def run_table_test(path: Path, asked: Asked, *, dry_run: bool) -> None:
    """Compares methods on the table in `path` and prints how they do."""
    with only_results_on_stdout():
        from transmeta.experiments.table_test.run import Comparison, compare_on_table
        from transmeta.stores.table import read_table

        comparison = Comparison(
            split=asked.split,
            evaluations=asked.evaluations,
            cost_budget=asked.cost_budget,
            seeds=asked.seeds,
            methods=asked.methods,
            has_ablations=asked.has_ablations,
        )
        if asked.plots is not None:
            from transmeta.experiments.table_test.plots import check_can_draw

            check_can_draw(asked.plots)
        table = read_table(path, configs=asked.configs)
        if len(table.targets) >= MANY and asked.methods is None and not dry_run:
            say(f"replaying {len(table.targets)} targets: to learn all methods takes some minutes (--methods: fewer)")
        result = None if dry_run else compare_on_table(table, comparison, name=path.name, on_fold=_Lines())
        for notice in result.report.notices if result is not None else ():
            say(f"notice: {notice}")
        if result is not None and asked.plots is not None:
            from transmeta.experiments.table_test.plots import draw

            for drawn in draw(result, folder=asked.plots):
                say(f"plot: {drawn}")
    if result is None:
        sources = tuple(sorted(set(table.sources or ())))
        print_plan(Plan(targets=table.targets, sources=sources, trials=0, executor="local"), as_json=asked.as_json)
    elif asked.as_json:
        print_json(result.report)
    else:
        _print(result.report)


@final
class _Lines:
    """Says how far the replay is, at most every ten seconds."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()

    def __call__(self, fold: str, method: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said_at >= PATIENCE_S:
            self._said_at = now
            say(f"{done}/{total}: {method} without {fold}")


def _print(report: "TableReport") -> None:
    at = [k for k in COLUMNS if k < report.points] + [report.points]
    rivals = {versus.rival: versus for versus in report.comparisons}
    rows = []
    for name, item in sorted(report.methods.items(), key=lambda pair: pair[1].anytime):
        versus = rivals.get(name)
        rows.append(
            (
                name,
                shown(item.anytime),
                f"{item.low:.3f} to {item.high:.3f}",
                *(shown(item.at[str(k)], digits=3) for k in at),
                *_extra(item),
                "-" if versus is None else f"{versus.wins}/{versus.ties}/{versus.losses}",
                "-" if versus is None else f"{versus.p_holm:.3f}",
                f"{item.seconds:.1f}",
            )
        )
    extra = ("test", "worse than scratch")
    ours = report.comparisons[0].method if report.comparisons else ""
    print_table(
        ("method", "anytime", "95 %", *(f"@{k}" for k in at), *extra, f"{ours} wins/ties/losses", "p", "seconds"), rows
    )
    units = f" of {report.units} data sets" if report.units < len(report.targets) else ""
    say(
        f"{report.primary}; lower is better. {len(report.targets)} targets{units}, "
        f"{report.configs} configurations, {report.folds} folds. @k: regret when {report.at_unit:g}·k were spent. "
        "p: Wilcoxon, Holm."
    )


def _extra(item: "MethodFigures") -> tuple[str, str]:
    """Returns test value and negative transfer at the end; `-` where the table cannot tell."""
    return _last(item.at_test), _last(item.negative_transfer)


def _last(figures: Mapping[str, float] | None) -> str:
    return "-" if figures is None else shown(list(figures.values())[-1], digits=3)
