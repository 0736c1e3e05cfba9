"""`transmeta meta-test`: how good policies are on data sets that they were not learned from."""

import dataclasses
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final, final

import typer

from transmeta.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    DryRun,
    StoreUrl,
    WorkspaceFolder,
    open_workspace,
    parse_names,
)
from transmeta.cli.output import print_json, print_table, say, shown
from transmeta.cli.plan import Plan, print_plan
from transmeta.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from transmeta.core.experience import Experience
    from transmeta.core.protocols import Policy
    from transmeta.core.trial import Arm
    from transmeta.experiments.figures import MetaTestReport

BUDGETS: Final = (1, 3, 5, 10, 20)
OURS: Final = "network"
RIVAL: Final = "portfolio"
FIXED: Final = ("full_finetune", "linear_probe")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """One policy with one budget; regrets of the validation score, lower is better.

    Attributes:
        low, high: 95 % bootstrap interval of `test_score` over data sets.
        negative_transfer: share of targets that end worse than training from scratch.
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
        gain: of the network over the portfolio after as many evaluations as `gain_evaluations`, in test score.
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
    held_out: Annotated[
        str | None,
        typer.Option("--held-out", help="Data sets to leave out, with commas between. By default each in turn."),
    ] = None,
    evaluations: Annotated[int, typer.Option("--evaluations", help="Trials that a policy may make on a target.")] = 10,
    seeds: Annotated[int, typer.Option("--seeds", help="Repetitions of policies that choose at random.")] = 3,
    folds: Annotated[int, typer.Option("--folds", help="At most so many parts when each data set is left out.")] = 8,
    workspace: WorkspaceFolder = DEFAULT_WORKSPACE,
    store: StoreUrl = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Compares policies on data sets that they were not learned from, by replaying the trials in the store.

    Nothing is trained but the policies themselves; collect the same choices on several targets first.

    Example: transmeta meta-test --held-out glyphs-grek,icons-places
    """
    if evaluations < 1 or seeds < 1 or folds < 2:
        raise InputError("meta-test: give 1 or more --evaluations and --seeds, and 2 or more --folds")
    place = open_workspace(workspace, store=store)
    with place.store() as opened:
        experience = opened.read()
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
        ("policy", "trials", "test score", "95 %", "regret", "anytime", "worse than scratch"),
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
        from transmeta.policies.fixed import FixedLearner
        from transmeta.policies.mean_rank import MeanRankLearner
        from transmeta.policies.nearest_task import NearestTaskLearner
        from transmeta.policies.network.learner import NetworkLearner
        from transmeta.policies.portfolio import PortfolioLearner
        from transmeta.policies.random import RandomPolicy

        proposer = self._proposer
        network, nearest = NetworkLearner(proposer=proposer), NearestTaskLearner(proposer=proposer)
        rank, portfolio = MeanRankLearner(proposer=proposer), PortfolioLearner(proposer=proposer)
        fixed = [FixedLearner(strategy=name, proposer=proposer) for name in FIXED]
        return [
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
