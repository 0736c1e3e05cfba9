"""`transmeta meta-test`: how good policies are on data sets that they were not learned from."""

import dataclasses
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, final

import typer

from transmeta.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    DryRun,
    StoreUrl,
    open_workspace,
    parse_names,
)
from transmeta.cli.output import print_json, print_table, say, shown
from transmeta.cli.plan import Plan, print_plan
from transmeta.cli.table_test import Asked, run_table_test
from transmeta.errors import InputError, UnknownNameError
from transmeta.experiments.table_test.split import Split

if TYPE_CHECKING:
    from transmeta.core.experience import Experience
    from transmeta.core.protocols import Policy
    from transmeta.core.trial import Arm
    from transmeta.experiments.figures import MetaTestReport

BUDGETS: Final = (1, 3, 5, 10, 20)
OURS: Final = "adaptive"
RIVAL: Final = "portfolio"
FIXED: Final = ("full_finetune", "linear_probe")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """One policy with one budget; regrets of the validation score, lower is better.

    Attributes:
        low, high: 95 % bootstrap interval of `test_score` over data sets.
        negative_transfer: share of targets whose pick uses a source and tests worse than training from scratch.
    """

    policy: str
    evaluations: int
    test_score: float
    low: float
    high: float
    regret: float
    anytime_regret: float
    negative_transfer: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MetaTestSummary:
    """How the policies compare.

    Attributes:
        gain: of the adaptive policy over the portfolio after as many evaluations as `gain_evaluations`, in test score.
        p: Wilcoxon's p of that gain.
    """

    targets: tuple[str, ...]
    datasets: int
    rows: tuple[PolicyRow, ...]
    gain: float
    gain_low: float
    gain_high: float
    gain_evaluations: int
    p: float


def meta_test(
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Parquet file of recorded curves, as `experience export` writes it."),
    ] = None,
    configs: Annotated[
        Path | None,
        typer.Option("--configs", help="Parquet file with the configurations' hyperparameters."),
    ] = None,
    split: Annotated[
        Split | None,
        typer.Option(
            "--split",
            help="What leaves together: a data set (target), a domain (family), a source; or data sets one after the "
            "other (time). By default family where the table has domains, else target.",
        ),
    ] = None,
    evaluations: Annotated[
        int | None,
        typer.Option("--evaluations", help="Full runs that a method may pay for on a target: 20; over the store 10."),
    ] = None,
    cost_budget: Annotated[
        float | None, typer.Option("--cost-budget", help="Budget in the table's unit of cost, in place of full runs.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", help="Repetitions of methods that choose at random: 10; over the store 3."),
    ] = None,
    methods: Annotated[
        str | None, typer.Option("--methods", help="Only these, with commas between. By default all that can run.")
    ] = None,
    plots: Annotated[Path | None, typer.Option("--plots", help="Folder to draw plots into.")] = None,
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Also our method with each of its parts taken out.")
    ] = False,
    held_out: Annotated[
        str | None,
        typer.Option("--held-out", help="Over the store: data sets to leave out, with commas between; else each."),
    ] = None,
    folds: Annotated[int, typer.Option("--folds", help="Over the store: at most so many parts that are left out.")] = 8,
    workspace: Annotated[
        Path | None, typer.Option("--workspace", metavar="DIR", help="Replay the trials of this workspace.")
    ] = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Compares methods on targets that they have not seen, by replaying recorded trials; nothing is trained but them.

    With --table, curves in a Parquet file are replayed step by step: methods may start, stop and continue runs, and pay
    for each step. With --workspace or --store, the trials in the store are replayed; without any of these, the
    meta-dataset that is installed with transmeta. Regret is (best - value) / (best - median) of the target's trials,
    from 0 (the best) to 3 (failed); `anytime` is its mean over the budget.

    Example: transmeta meta-test --table trials.parquet --split source --methods adaptive,greedy_regret --json
    """
    if any(number is not None and number < 1 for number in (evaluations, seeds)) or folds < 2:
        raise InputError("meta-test: give 1 or more --evaluations and --seeds, and 2 or more --folds")
    is_own = table is None and any(option is not None for option in (workspace, store, held_out))
    experience = _experience(workspace or DEFAULT_WORKSPACE, store) if is_own else ()
    for_tables = (configs, split, cost_budget, methods, plots, ablations or None)
    if not experience or any(option is not None for option in for_tables):
        if held_out is not None:
            raise InputError("meta-test: --held-out is for the store alone; over tables, --split says what is left out")
        _over_table(
            table,
            experience,
            Asked(
                configs=configs,
                split=split,
                evaluations=evaluations or 20,
                cost_budget=cost_budget,
                seeds=seeds or 10,
                methods=parse_names(methods, option="--methods"),
                has_ablations=ablations,
                plots=plots,
                as_json=as_json,
            ),
            dry_run=dry_run,
        )
        return
    evaluations, seeds = evaluations or 10, seeds or 3
    datasets = sorted({row.result.spec.target.dataset for row in experience if row.is_lesson})
    chosen = parse_names(held_out, option="--held-out")
    for name in chosen or ():
        if name not in datasets:
            raise UnknownNameError("data set", name=name, known=datasets)
    if len(datasets) < 2:
        raise InputError(f"meta-test: trials on {len(datasets)} data set(s); collect on at least 2 (transmeta collect)")
    if dry_run:
        print_plan(Plan(targets=chosen or tuple(datasets), sources=(), trials=0, executor="local"), as_json=as_json)
        return
    summary = _summary(_evaluated(experience, held_out=chosen, evaluations=evaluations, seeds=seeds, folds=folds))
    if as_json:
        print_json(summary)
        return
    print_table(
        ("policy", "trials", "test score", "95 %", "regret", "anytime", "negative transfer"),
        [
            (
                row.policy,
                str(row.evaluations),
                shown(row.test_score),
                f"{row.low:.3f} to {row.high:.3f}",
                shown(row.regret, digits=3),
                shown(row.anytime_regret, digits=3),
                shown(row.negative_transfer, digits=2),
            )
            for row in summary.rows
        ],
    )
    say(
        f"{OURS} over {RIVAL} after {summary.gain_evaluations} trial(s): {summary.gain:+.4f} "
        f"({summary.gain_low:+.4f} to {summary.gain_high:+.4f}, p {summary.p:.3f}), {summary.datasets} data sets"
    )


def _experience(workspace: Path, store: str | None) -> "Sequence[Experience]":
    with open_workspace(workspace, store=store).store() as opened:
        return opened.read()


def _over_table(table: Path | None, experience: "Sequence[Experience]", asked: Asked, *, dry_run: bool) -> None:
    """Compares on `table`; without, on the trials of the store; without any, on the shipped meta-dataset."""
    if table is None and not experience:
        from transmeta.experiments.table_test.shipped import shipped_meta_dataset

        table = shipped_meta_dataset()
    if table is not None:
        run_table_test(table, asked, dry_run=dry_run)
        return
    from transmeta.stores.parquet import export_table

    with tempfile.TemporaryDirectory(prefix="transmeta-") as folder:
        export_table(experience, Path(folder) / "store.parquet", has_payload=False)
        run_table_test(Path(folder) / "store.parquet", asked, dry_run=dry_run)


def _evaluated(
    experience: "Sequence[Experience]",
    *,
    held_out: tuple[str, ...] | None,
    evaluations: int,
    seeds: int,
    folds: int,
) -> "MetaTestReport":
    from transmeta.experiments.meta_test import evaluate, leave_one_dataset_out

    learn = _Learners(experience)
    budgets = sorted({budget for budget in BUDGETS if budget < evaluations} | {evaluations})
    if held_out:
        return evaluate(learn, experience, held_out=held_out, budgets=budgets, seeds=range(seeds))
    return leave_one_dataset_out(learn, experience, budgets=budgets, seeds=range(seeds), most_folds=folds)


@final
class _TriedArms:
    """Draws from the arms that were tried: a replay has no score for any other, however long it asks."""

    def __init__(self, experience: "Sequence[Experience]") -> None:
        self._arms = sorted({row.arm.key: row.arm for row in experience}.values(), key=lambda arm: arm.key)

    def propose(self, *, sources: Sequence[str], count: int, seed: int) -> "Sequence[Arm]":
        """Returns up to `count` of them in random order, the same for the same seed."""
        arms = [arm for arm in self._arms if arm.source in sources]
        random.Random(seed).shuffle(arms)
        return arms[:count]


@final
class _Learners:
    """Makes all policies out of training experience.

    Args:
        experience: all of it, held-out targets included: which arms were tried there is known, their scores are not.
    """

    def __init__(self, experience: "Sequence[Experience]") -> None:
        self._proposer = _TriedArms(experience)

    def __call__(self, experience: "Sequence[Experience]") -> "Sequence[Policy]":
        from transmeta.policies.adaptive.learner import AdaptiveLearner
        from transmeta.policies.fixed import FixedLearner
        from transmeta.policies.mean_rank import MeanRankLearner
        from transmeta.policies.nearest_task import NearestTaskLearner
        from transmeta.policies.network.learner import NetworkLearner
        from transmeta.policies.portfolio import PortfolioLearner
        from transmeta.policies.random import RandomPolicy

        proposer = self._proposer
        adaptive = AdaptiveLearner(proposer=proposer)
        network, nearest = NetworkLearner(proposer=proposer), NearestTaskLearner(proposer=proposer)
        rank, portfolio = MeanRankLearner(proposer=proposer), PortfolioLearner(proposer=proposer)
        fixed = [FixedLearner(strategy=name, proposer=proposer) for name in FIXED]
        return [
            adaptive.update(adaptive.initial(), experience),
            network.update(network.initial(), experience),
            portfolio.update(portfolio.initial(), experience),
            nearest.update(nearest.initial(), experience),
            rank.update(rank.initial(), experience),
            *(learner.update(learner.initial(), experience) for learner in fixed),
            RandomPolicy(proposer=proposer),
        ]


def _summary(report: "MetaTestReport") -> MetaTestSummary:
    from transmeta.experiments.figures import compare

    rows = tuple(
        PolicyRow(
            policy=item.policy,
            evaluations=item.budget,
            test_score=item.test_score.mean,
            low=item.test_score.low,
            high=item.test_score.high,
            regret=item.regret.mean,
            anytime_regret=item.anytime.mean,
            negative_transfer=item.negative_transfer,
        )
        for item in sorted(report.figures, key=lambda item: (item.budget, item.regret.mean))
    )
    (comparison,) = compare(report, OURS, budget=1, rivals=[(RIVAL, 1)])
    gain = comparison.test.gain
    return MetaTestSummary(
        targets=report.targets,
        datasets=len(report.find(OURS, budget=1).by_dataset),
        rows=rows,
        gain=gain.mean,
        gain_low=gain.low,
        gain_high=gain.high,
        gain_evaluations=1,
        p=comparison.test.p,
    )
