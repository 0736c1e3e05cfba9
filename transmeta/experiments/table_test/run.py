"""A whole comparison: a table in, a report out."""

import dataclasses
from collections.abc import Sequence
from typing import final

from transmeta.errors import InputError
from transmeta.experiments.table_test.catalogue import OURS, choose
from transmeta.experiments.table_test.figures import Points
from transmeta.experiments.table_test.folds import default_split, folds
from transmeta.experiments.table_test.ground import Ground
from transmeta.experiments.table_test.harness import OnFold, Played, play
from transmeta.experiments.table_test.report import TableReport, comparisons, method_figures, units_of
from transmeta.experiments.table_test.split import Split
from transmeta.stores.table import Table


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What to compare, and how.

    Attributes:
        split: None for `family` where the table has domains, else `target`.
        evaluations: number of points; the budget in full runs unless there is one of cost.
        cost_budget: in the table's unit of cost; then the points divide it.
        seeds: searches on each target by methods that choose at random.
        methods: None for all that the table has the columns for.
    """

    split: Split | None = None
    evaluations: int = 20
    cost_budget: float | None = None
    seeds: int = 10
    methods: tuple[str, ...] | None = None
    has_ablations: bool = False

    def __post_init__(self) -> None:
        if self.evaluations < 1 or self.seeds < 1:
            raise InputError("meta-test: give 1 or more --evaluations and --seeds")
        if self.cost_budget is not None and not 0 < self.cost_budget < float("inf"):
            raise InputError(f"meta-test: --cost-budget {self.cost_budget:g} is not a positive number")

    @property
    def points(self) -> Points:
        """Where the figures stand."""
        if self.cost_budget is None:
            return Points(count=self.evaluations)
        return Points(count=self.evaluations, unit=self.cost_budget / self.evaluations, is_cost=True)


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """The report, and the runs that it was made from."""

    ground: Ground
    played: tuple[Played, ...]
    report: TableReport


def compare_on_table(table: Table, comparison: Comparison, *, name: str, on_fold: OnFold | None = None) -> Result:
    """Returns how the methods do on the targets of `table`, each learned without what leaves together.

    Args:
        name: of the table, for the report.
        on_fold: told after each method and fold.

    Raises:
        InputError: if the table has too little for the split, or a method that was named cannot run on it.
    """
    ground = Ground(table)
    split = comparison.split or default_split(ground)
    parts = folds(ground, split)
    methods, notices = choose(
        ground,
        comparison.methods,
        split=split,
        with_ablations=comparison.has_ablations,
    )
    if ground.dropped:
        names = ", ".join(ground.dropped)
        notices += (f"without {len(ground.dropped)} target(s) that have fewer than two completed trials: {names}",)
    played = play(ground, methods, folds=parts, points=comparison.points, seeds=comparison.seeds, on_fold=on_fold)
    report = _report(ground, played, comparison, name=name, split=split, folds=len(parts))
    return Result(ground=ground, played=played, report=dataclasses.replace(report, notices=notices))


def _report(
    ground: Ground, played: Sequence[Played], comparison: Comparison, *, name: str, split: Split, folds: int
) -> TableReport:
    points = comparison.points
    budget = f"{points.count} evaluations" if not points.is_cost else f"{comparison.cost_budget:g} of cost"
    has_groups = len({target.group for target in ground.targets}) < len(ground.targets)
    return TableReport(
        table=name,
        split=split.value,
        primary=f"anytime regret/(best-median) over {budget}, --split {split.value}",
        points=points.count,
        at_unit=points.unit,
        budget=budget,
        unit="data set" if has_groups else "target",
        units=len(units_of(ground, played[0])),
        folds=folds,
        seeds=comparison.seeds,
        targets=tuple(sorted(played[0].runs)),
        configs=ground.configs,
        methods={item.method: method_figures(ground, item, points=points) for item in played},
        comparisons=comparisons(ground, played, ours=OURS if OURS in [p.method for p in played] else played[0].method),
        notices=(),
    )
