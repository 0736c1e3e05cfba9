"""`transmeta collect`: every arm on every target, for the experience that policies learn from."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from transmeta.cli.options import (
    DEFAULT_WORKSPACE,
    Address,
    AsJson,
    Cpus,
    DryRun,
    Gpus,
    InPrecision,
    Label,
    Quiet,
    Seed,
    StoreUrl,
    Workers,
    WorkspaceFolder,
    choose_compute,
    executor_option,
    open_workspace,
    parse_names,
    parse_seeds,
)
from transmeta.cli.output import only_results_on_stdout, print_json, print_pairs, print_table, shown
from transmeta.cli.plan import Plan, print_plan
from transmeta.cli.progress import progress
from transmeta.core.model import SCRATCH, ModelCard
from transmeta.core.plan import Precision
from transmeta.core.trial import TrialId, TrialResult, TrialSpec, TrialStatus
from transmeta.errors import InputError

if TYPE_CHECKING:
    from transmeta.core.task import Task
    from transmeta.stores.sql import SqlExperienceStore
    from transmeta.workspace import Compute, Workspace

MANY: Final = 40
"""From so many trials on, starting Ray takes less time than it saves."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TargetReport:
    """What was collected on one target; `best` is the best validation score, None if no trial has one."""

    target: str
    trials: int
    failed: int
    best: float | None
    source: str | None
    strategy: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CollectReport:
    """What was collected.

    Attributes:
        trials: that were asked for.
        fresh: of them, run now; the others were known.
        cost_s: CPU seconds of the fresh ones.
    """

    trials: int
    fresh: int
    cost_s: float
    targets: tuple[TargetReport, ...]


def collect(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA...",
            help="Tasks by name or path, as in adapt; name@10 means 10 training examples per class.",
            show_default=False,
        ),
    ],
    strategies: Annotated[
        str | None, typer.Option("--strategies", metavar="NAME,...", help="By default all that are installed.")
    ] = None,
    sources: Annotated[
        str | None,
        typer.Option(
            "--sources", metavar="NAME,...", help="Models, by id or the start of it, and scratch; all by default."
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", help="Random settings of each strategy on each source, beside the defaults.")
    ] = 0,
    seeds: Annotated[str, typer.Option("--seeds", metavar="N,...", help="Each trial is run once with each.")] = "0",
    label: Label = "label",
    workspace: WorkspaceFolder = DEFAULT_WORKSPACE,
    store: StoreUrl = None,
    executor: Annotated[str | None, executor_option("ray for 40 new trials or more, else local")] = None,
    address: Address = None,
    workers: Workers = None,
    cpus_per_worker: Cpus = 1.0,
    gpus_per_worker: Gpus = 0.0,
    precision: InPrecision = Precision.FLOAT32,
    seed: Seed = 0,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Try every strategy on every source and target. Trials run to their end; known ones cost nothing.

    Example: transmeta collect digits@10 glyphs-grek@10 --strategies linear_probe,full_finetune --samples 2
    """
    with only_results_on_stdout():
        from transmeta.tasks.catalogue import find_task
        from transmeta.workspace import ExecutorKind

        if samples < 0:
            raise InputError(f"--samples {samples}: give 0 or more")
        trial_seeds = parse_seeds(seeds)
        names = parse_names(strategies, option="--strategies")
        opened = open_workspace(workspace, store=store)
        tasks = tuple({task.id: task for task in (find_task(n, seed=seed, label=label) for n in targets)}.values())
        cards = _cards(tasks, workspace=opened, names=parse_names(sources, option="--sources"))
        specs = _specs(
            tasks,
            cards=cards,
            samples=samples,
            seed=seed,
            seeds=trial_seeds,
            strategies=names,
            precision=precision,
        )
        with opened.store() as kept:
            known = _known(specs, store=kept)
            is_long = len(specs) - len(known) >= MANY
            compute = choose_compute(
                executor,
                address=address,
                workers=workers,
                cpus=cpus_per_worker,
                gpus=gpus_per_worker,
                default=ExecutorKind.RAY if is_long else ExecutorKind.LOCAL,
            )
            if not dry_run:
                missing = len(specs) - len(known)
                report = _collect(specs, total=missing, store=kept, workspace=opened, compute=compute, is_quiet=quiet)
    if dry_run:
        plan = Plan(
            targets=tuple(task.id for task in tasks),
            sources=tuple(card.id for card in cards),
            trials=len(specs),
            known=len(known),
            executor=compute.executor.value,
        )
        print_plan(plan, as_json=as_json)
    elif as_json:
        print_json(report)
    else:
        columns = ("target", "trials", "failed", "best validation", "strategy", "source")
        print_table(columns, [_row(target) for target in report.targets])
        print_pairs([("trials", f"{report.trials}, {report.fresh} of them run now in {report.cost_s:.1f} CPU s")])


def _cards(tasks: Sequence["Task"], *, workspace: "Workspace", names: Sequence[str] | None) -> tuple[ModelCard, ...]:
    """Returns the models that may be offered for any of the tasks, those that are named if any are.

    `scratch` names the model without weights of each kind of data.
    """
    from transmeta.models.library import whole_id

    library = workspace.environment().library()
    cards = {card.id: card for task in tasks for card in library.candidates(task)}
    if names is None:
        return tuple(cards.values())
    chosen: dict[str, ModelCard] = {}
    for name in names:
        keys = [key for key in cards if not cards[key].is_pretrained] if name == SCRATCH else []
        chosen |= {key: cards[key] for key in keys or [whole_id(name, known=cards, kind="source")]}
    return tuple(chosen.values())


def _specs(
    tasks: Sequence["Task"],
    *,
    cards: Sequence[ModelCard],
    samples: int,
    seed: int,
    seeds: Sequence[int],
    strategies: Sequence[str] | None,
    precision: Precision,
) -> tuple[TrialSpec, ...]:
    from transmeta.core.experience import MetaFeatures
    from transmeta.experiments.collect import specs_for
    from transmeta.strategies.pool import arm_pool

    arms = arm_pool(cards, samples=samples, seed=seed, strategies=strategies)
    # Which sources a target allows needs no features, so a dry run computes none.
    allowed = {
        task.id: MetaFeatures(
            target_id=task.id, target={}, pairs={card.id: {} for card in cards if card.is_allowed_for(task)}
        )
        for task in tasks
    }
    specs = specs_for(tasks, arms=arms, features=allowed, seeds=seeds, precision=precision)
    if not specs:
        raise InputError("nothing to collect: none of the strategies goes with the sources; name others")
    return specs


def _known(specs: Sequence[TrialSpec], *, store: "SqlExperienceStore") -> dict[TrialId, TrialResult]:
    """Returns the results that the store has and that will not be run again, by trial id."""
    final = (TrialStatus.COMPLETED, TrialStatus.FAILED)
    rows = store.get([spec.id for spec in specs])
    return {trial: row.result for trial, row in rows.items() if row.result.status in final}


def _collect(
    specs: Sequence[TrialSpec],
    *,
    total: int,
    store: "SqlExperienceStore",
    workspace: "Workspace",
    compute: "Compute",
    is_quiet: bool,
) -> CollectReport:
    from transmeta.experiments.run import run
    from transmeta.experiments.search import ReplaySearch

    search = ReplaySearch(specs)
    fresh: Sequence[TrialResult] = ()
    if total:
        with (
            progress(total=total, is_quiet=is_quiet) as on_result,
            workspace.bench(compute, run="collect", store=store, on_result=on_result) as bench,
        ):
            tasks = {spec.target.id: spec.target for spec in specs}
            features = {key: workspace.features(task, store=store) for key, task in tasks.items()}
            fresh = run(search, bench=bench, features=features)
    results = search.results if total else list(_known(specs, store=store).values())
    targets = dict.fromkeys(spec.target.id for spec in specs)
    return CollectReport(
        trials=len(specs),
        fresh=len(fresh),
        cost_s=round(sum(result.cost_s for result in fresh), 3),
        targets=tuple(_of_target(name, [r for r in results if r.spec.target.id == name]) for name in targets),
    )


def _of_target(name: str, results: Sequence[TrialResult]) -> TargetReport:
    scored = [result for result in results if result.utility is not None]
    best = max(scored, key=lambda result: result.utility or 0.0, default=None)
    return TargetReport(
        target=name,
        trials=len(results),
        failed=sum(result.status is TrialStatus.FAILED for result in results),
        best=None if best is None else best.score,
        source=None if best is None else best.spec.pair.source,
        strategy=None if best is None else best.spec.strategy.name,
    )


def _row(report: TargetReport) -> Sequence[str]:
    return (
        report.target,
        str(report.trials),
        str(report.failed),
        shown(report.best),
        report.strategy or "-",
        report.source or "-",
    )
