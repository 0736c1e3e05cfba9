"""`transmeta adapt`: a fine-tuned model for a data set, within a budget."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transmeta.cli.clock import elapsed_s
from transmeta.cli.options import (
    DEFAULT_WORKSPACE,
    Address,
    AsJson,
    Cpus,
    DataOption,
    DryRun,
    Ensemble,
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
    TimeBudget,
    Trials,
    Workers,
    WorkspaceFolder,
    choose_compute,
    executor_option,
    one_data,
    open_workspace,
)
from transmeta.cli.output import only_results_on_stdout, print_json, print_pairs, shown, shown_params
from transmeta.cli.plan import planned_search, print_plan
from transmeta.cli.policy import learn_afterwards
from transmeta.cli.progress import progress
from transmeta.core.plan import Precision

if TYPE_CHECKING:
    from transmeta.experiments.report import AdaptReport


def adapt(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A folder of images (class = sub-folder), a .csv, .parquet or .npz file, or a task by name "
            "(see: transmeta ls tasks). With @10 at the end: 10 training examples per class.",
            show_default=False,
        ),
    ] = None,
    data: DataOption = None,
    budget: TimeBudget = None,
    trials: Trials = None,
    min_gain: MinGain = 0.0,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where the model goes, with a report; a model there is replaced."),
    ] = None,
    label: Label = "label",
    size: Size = None,
    policy: PolicyFolder = None,
    workspace: WorkspaceFolder = DEFAULT_WORKSPACE,
    store: StoreUrl = None,
    executor: Annotated[str | None, executor_option("ray for a --budget of 45s or more, else local")] = None,
    address: Address = None,
    workers: Workers = None,
    cpus_per_worker: Cpus = 1.0,
    gpus_per_worker: Gpus = 0.0,
    precision: InPrecision = Precision.FLOAT32,
    ensemble: Ensemble = 5,
    seed: Seed = 0,
    learn: Learn = True,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune the best model for your data within a budget of time or trials.

    Example: transmeta adapt photos/ --budget 2m --out model
    """
    with only_results_on_stdout():
        from transmeta import api
        from transmeta.core.trial import Budget
        from transmeta.experiments.ensemble import check_ensemble

        chosen = one_data(target, data)
        wall_s = None if budget is None else api.parse_duration(budget)
        spending = Budget(trials=trials, wall_s=wall_s, min_gain=min_gain)
        compute = choose_compute(
            executor,
            address=address,
            workers=workers,
            cpus=cpus_per_worker,
            gpus=gpus_per_worker,
            default=api.default_compute(spending).executor,
        )
        check_ensemble(ensemble)
        opened = open_workspace(workspace, store=store)
        if out is not None:
            api.check_out(out)
        if dry_run:
            plan = planned_search(
                chosen, label=label, size=size, seed=seed, budget=spending, workspace=opened, compute=compute
            )
        else:
            with progress(total=trials, is_quiet=quiet) as on_result:
                report = api.adapt(
                    chosen,
                    budget=spending.wall_s,
                    trials=trials,
                    min_gain=min_gain,
                    out=out,
                    label=label,
                    size=size,
                    workspace=opened,
                    compute=compute,
                    policy=policy,
                    seed=seed,
                    precision=precision,
                    ensemble=ensemble,
                    elapsed_s=elapsed_s(),
                    on_result=on_result,
                )
            on_result.say_known(trials=report.trials)
    if dry_run:
        print_plan(plan, as_json=as_json)
    elif as_json:
        print_json(report)
    else:
        print_pairs(
            [
                ("target", report.target),
                (f"test {report.metric}", _test_score(report)),
                (f"validation {report.metric}", shown(report.validation_score)),
                ("chosen", _choice(report)),
                ("with", shown_params(report.params)),
                ("trials", f"{report.trials} in {report.seconds:.1f} s{_why_ended(report)}"),
                ("model", report.model_path or "not kept; give --out DIR"),
            ]
        )
    if learn and not dry_run and policy is None:
        learn_afterwards(workspace, store=store, seed=seed, is_quiet=quiet)


def _test_score(report: "AdaptReport") -> str:
    if len(report.members) == 1:
        return shown(report.test_score)
    alone = shown(report.single_test_score)
    return f"{shown(report.test_score)} by {len(report.members)} models together, {alone} by the chosen one alone"


def _why_ended(report: "AdaptReport") -> str:
    return "; no other was expected to gain enough" if report.is_settled else ""


def _choice(report: "AdaptReport") -> str:
    if report.transfer:
        return f"{report.strategy} from {report.source}"
    if report.sources:
        return "trained from scratch: do not transfer"
    return "trained from scratch: there is no source for such data (transmeta train-source makes one)"
