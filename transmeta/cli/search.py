"""`transmeta search`: the transfer choices for one data set, tried and ranked."""

import dataclasses
import time
from typing import Annotated, Final

import typer

from transmeta.cli.clock import elapsed_s
from transmeta.cli.options import (
    DEFAULT_WORKSPACE,
    Address,
    AsJson,
    Cpus,
    DryRun,
    Gpus,
    InPrecision,
    Label,
    Learn,
    MinGain,
    PolicyFolder,
    Quiet,
    Seed,
    Size,
    StoreUrl,
    Target,
    TimeBudget,
    Trials,
    Workers,
    WorkspaceFolder,
    choose_compute,
    executor_option,
    open_workspace,
)
from transmeta.cli.output import only_results_on_stdout, print_json, print_table, say
from transmeta.cli.plan import planned_search, print_plan
from transmeta.cli.policy import learn_afterwards
from transmeta.cli.progress import progress
from transmeta.cli.results import COLUMNS, TrialReport, ranked, rows_of
from transmeta.core.plan import Precision

UNDECIDED: Final = 10**9
"""Trials at a rung before halving decides: they are measured there, and the decision is left to Tune's scheduler."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SearchReport:
    """What a search found.

    Attributes:
        ranked: all trials, best validation score first.
        seconds: of wall time, start-up included.
        is_settled: whether it ended since no choice was expected to gain enough.
    """

    target: str
    trials: int
    seconds: float
    is_settled: bool
    ranked: tuple[TrialReport, ...]


def search(
    data: Target,
    trials: Trials = None,
    budget: TimeBudget = None,
    min_gain: MinGain = 0.0,
    scheduler: Annotated[
        str,
        typer.Option(
            "--scheduler",
            metavar="none|asha",
            help="Who stops trials early: the search itself, alike everywhere; or Ray Tune's ASHA, on tune only.",
        ),
    ] = "none",
    label: Label = "label",
    size: Size = None,
    policy: PolicyFolder = None,
    workspace: WorkspaceFolder = DEFAULT_WORKSPACE,
    store: StoreUrl = None,
    executor: Annotated[
        str | None, executor_option("tune for a --budget of 45s or more or --scheduler asha, else local", on_ray="tune")
    ] = None,
    address: Address = None,
    workers: Workers = None,
    cpus_per_worker: Cpus = 1.0,
    gpus_per_worker: Gpus = 0.0,
    precision: InPrecision = Precision.FLOAT32,
    seed: Seed = 0,
    learn: Learn = True,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Try what the policy suggests for your data, and rank it. No model is kept.

    Example: transmeta search photos/ --trials 20
    """
    with only_results_on_stdout():
        from transmeta import api
        from transmeta.core.trial import Budget
        from transmeta.experiments.adapt import check_budget, search_target
        from transmeta.experiments.search import Halving
        from transmeta.tasks.catalogue import find_task
        from transmeta.workspace import ExecutorKind, SchedulerKind, check_scheduler, parse_scheduler

        started_s = time.monotonic() - elapsed_s()
        wall_s = None if budget is None else api.parse_duration(budget)
        spending = Budget(trials=trials, wall_s=wall_s, min_gain=min_gain)
        check_budget(spending)
        stopper = parse_scheduler(scheduler)
        is_tunes = stopper is not SchedulerKind.NONE
        is_long = api.default_compute(spending).executor is not ExecutorKind.LOCAL
        compute = choose_compute(
            executor,
            address=address,
            workers=workers,
            cpus=cpus_per_worker,
            gpus=gpus_per_worker,
            default=ExecutorKind.TUNE if is_tunes or is_long else ExecutorKind.LOCAL,
            on_ray=ExecutorKind.TUNE,
        )
        check_scheduler(stopper, compute=compute)
        opened = open_workspace(workspace, store=store)
        if not dry_run:
            task = find_task(data, seed=seed, label=label, size=size)
            with (
                progress(total=trials, is_quiet=quiet) as on_result,
                opened.store() as kept,
                opened.bench(
                    compute, run=f"search-{task.id}", store=kept, scheduler=stopper, on_result=on_result
                ) as bench,
            ):
                found = search_target(
                    task,
                    features=opened.features(task, store=kept),
                    policy=opened.policy(task, folder=policy),
                    bench=bench,
                    budget=api.less_reserve(spending, compute),
                    halving=Halving(eta=UNDECIDED) if is_tunes else Halving(),
                    seed=seed,
                    clock=lambda: time.monotonic() - started_s,
                    precision=precision,
                )
            on_result.say_known(trials=len(found.results))
            if found.is_settled and not quiet:
                say(f"ended after {len(found.results)} trials: no other was expected to gain {min_gain:g}")
            report = SearchReport(
                target=task.id,
                trials=len(found.results),
                seconds=round(time.monotonic() - started_s, 3),
                is_settled=found.is_settled,
                ranked=tuple(ranked(found.results)),
            )
        else:
            plan = planned_search(
                data, label=label, size=size, seed=seed, budget=spending, workspace=opened, compute=compute
            )
    if dry_run:
        print_plan(plan, as_json=as_json)
    elif as_json:
        print_json(report)
    else:
        print_table(COLUMNS, rows_of(report.ranked))
    if learn and not dry_run and policy is None:
        learn_afterwards(workspace, store=store, seed=seed, is_quiet=quiet)
