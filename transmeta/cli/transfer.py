"""`transmeta transfer`: one trial, of one source and one strategy on one data set."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

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
    Size,
    StoreUrl,
    Target,
    Workers,
    WorkspaceFolder,
    choose_compute,
    executor_option,
    open_workspace,
    parse_params,
)
from transmeta.cli.output import only_results_on_stdout, print_json, print_pairs, shown, shown_params
from transmeta.cli.plan import Plan, print_plan
from transmeta.cli.progress import progress
from transmeta.cli.results import report_of
from transmeta.core.plan import Precision
from transmeta.core.task import Params
from transmeta.core.trial import TrialResult, TrialSpec
from transmeta.errors import ConfigError, NoValidTrialError

if TYPE_CHECKING:
    from transmeta.core.task import Task
    from transmeta.workspace import Compute, Workspace


def transfer(
    data: Target,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            help="Model to start from, by its id or the start of it (see: transmeta ls models); or scratch.",
            show_default=False,
        ),
    ],
    strategy: Annotated[
        str, typer.Option("--strategy", help="How to transfer (see: transmeta ls strategies).", show_default=False)
    ],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUE", help="A hyperparameter; repeat for more. Others have defaults."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where the model goes; a model there is replaced.")
    ] = None,
    label: Label = "label",
    size: Size = None,
    workspace: WorkspaceFolder = DEFAULT_WORKSPACE,
    store: StoreUrl = None,
    executor: Annotated[str | None, executor_option("local")] = None,
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
    """Fine-tune one source on your data with one strategy. It is a single trial, which the store remembers.

    Example: transmeta transfer photos/ --source latin --strategy lora --param rank=4
    """
    with only_results_on_stdout():
        from transmeta.api import check_out
        from transmeta.tasks.catalogue import find_task
        from transmeta.workspace import ExecutorKind

        compute = choose_compute(
            executor,
            address=address,
            workers=workers,
            cpus=cpus_per_worker,
            gpus=gpus_per_worker,
            default=ExecutorKind.LOCAL,
        )
        opened = open_workspace(workspace, store=store)
        if out is not None:
            check_out(out)
        params = parse_params(param or ())
        target = find_task(data, seed=seed, label=label, size=size)
        spec = _spec(
            target,
            source=source,
            strategy=strategy,
            params=params,
            seed=seed,
            precision=precision,
            workspace=opened,
        )
        if not dry_run:
            result = _run(spec, workspace=opened, compute=compute, out=out, is_quiet=quiet)
    if dry_run:
        plan = Plan(targets=(spec.target.id,), sources=(spec.pair.source,), trials=1, executor=compute.executor.value)
        print_plan(plan, as_json=as_json)
        return
    report = report_of(result)
    if result.score is None:
        raise NoValidTrialError(f"{strategy}: {report.status} ({report.reason}); change a --param or the strategy")
    if as_json:
        print_json(report)
        return
    print_pairs(
        [
            ("target", report.target),
            ("chosen", f"{report.strategy} from {report.source}"),
            ("with", shown_params(report.params)),
            (f"validation {report.metric}", shown(report.score)),
            (f"test {report.metric}", shown(report.test_score)),
            ("trained", f"{report.parameter_count} weights in {report.cost_s:.1f} CPU s"),
            ("model", "not kept; give --out DIR" if out is None else str(out)),
        ]
    )


def _spec(
    target: "Task",
    *,
    source: str,
    strategy: str,
    params: Params,
    seed: int,
    precision: Precision,
    workspace: "Workspace",
) -> TrialSpec:
    """Returns the trial that is asked for, every hyperparameter written out, after all checks that need no training."""
    from transmeta.core.task import TaskPair
    from transmeta.core.trial import StrategySpec
    from transmeta.strategies.catalogue import find_strategy
    from transmeta.strategies.spaces import resolve

    chosen = find_strategy(strategy)
    library = workspace.environment().library()
    card = library.card(source, target=target)
    if not card.is_allowed_for(target):
        raise ConfigError(
            f"source {card.id} has seen {target.dataset}, or takes other inputs than {target.name}; choose another one"
        )
    library.load(card)  # refuses damaged or foreign weights now, and not on a worker
    complete = resolve(chosen, params, model=card).params
    return TrialSpec(
        pair=TaskPair(source=card.id, target=target),
        strategy=StrategySpec(name=strategy, params=complete),
        seed=seed,
        precision=precision,
    )


def _run(
    spec: TrialSpec, *, workspace: "Workspace", compute: "Compute", out: Path | None, is_quiet: bool
) -> TrialResult:
    """Returns the result of the trial, from the store if it is there, and leaves the model in `out`."""
    from transmeta.experiments.adapt import run_again
    from transmeta.experiments.run import run
    from transmeta.experiments.search import ReplaySearch
    from transmeta.trials.predict import copy_models

    with TemporaryDirectory(prefix="transmeta-transfer-") as folder, workspace.store() as store:
        kept = None if out is None else Path(folder)
        run_name = f"transfer-{spec.id}"
        with (
            progress(total=1, is_quiet=is_quiet) as on_result,
            workspace.bench(compute, run=run_name, store=store, checkpoints=kept, on_result=on_result) as bench,
        ):
            features = {spec.target.id: workspace.features(spec.target, store=store)}
            search = ReplaySearch([spec])
            fresh = run(search, bench=bench, features=features)
            (result,) = search.results
            if out is not None and not fresh and result.score is not None:
                result = run_again(result, bench=bench)
        on_result.say_known(trials=1)
        if out is not None and result.checkpoint is not None:
            copy_models([Path(result.checkpoint)], to=out)
        return result
