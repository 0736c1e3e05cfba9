"""`transmeta train-source`: a source model, trained by Ray Train."""

import dataclasses
import time
from typing import TYPE_CHECKING, Annotated, cast

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
    WorkspaceFolder,
    check_amounts,
    open_workspace,
)
from transmeta.cli.output import only_results_on_stdout, print_json, print_pairs, say, shown
from transmeta.core.plan import Precision
from transmeta.errors import InputError

if TYPE_CHECKING:
    from transmeta.trials.source import SourceSpec


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """A source model.

    Attributes:
        score: on the validation split of its own tasks; None before it is trained.
        losses: mean training loss of each epoch, nats; empty if the model was there already.
        model_path: its folder.
    """

    model: str
    tasks: tuple[str, ...]
    architecture: str
    epochs: int
    workers: int
    score: float | None
    losses: tuple[float, ...]
    seconds: float
    model_path: str
    dry_run: bool = False


def train_source(
    tasks: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA...",
            help="Tasks by name or path that the model learns together; name@30 means 30 examples per class.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str, typer.Option("--name", help="What people will call it; its id adds a digest.", show_default=False)
    ],
    architecture: Annotated[
        str | None, typer.Option("--architecture", help="By default small_cnn for images and mlp for tables.")
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", help="Passes over the training examples.")] = 20,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="AdamW's, at its highest.")] = 3e-3,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Examples in a step, over all workers.")] = 64,
    workers: Annotated[int, typer.Option("--workers", help="Processes that train together.")] = 1,
    cpus_per_worker: Cpus = 1.0,
    gpus_per_worker: Gpus = 0.0,
    precision: InPrecision = Precision.FLOAT32,
    address: Address = None,
    label: Label = "label",
    workspace: WorkspaceFolder = DEFAULT_WORKSPACE,
    seed: Seed = 0,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Train a source model with Ray Train on 1 to n workers. Run again, it goes on after its last epoch.

    Example: transmeta train-source glyphs-latn --name latin --epochs 10 --workers 2
    """
    with only_results_on_stdout():
        check_amounts(workers=workers, cpus=cpus_per_worker, gpus=gpus_per_worker)
        opened = open_workspace(workspace, store=None)
        spec = _spec(
            tasks,
            name=name,
            architecture=architecture,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            label=label,
            seed=seed,
            precision=precision,
        )
        report = SourceReport(
            model=spec.model_id,
            tasks=tuple(task.id for task in spec.tasks),
            architecture=spec.architecture,
            epochs=spec.optimiser.epochs,
            workers=workers,
            score=None,
            losses=(),
            seconds=0.0,
            model_path=str(opened.models / spec.model_id),
            dry_run=dry_run,
        )
        done = opened.environment().library().cards().get(spec.model_id)
        if done is not None:
            report = dataclasses.replace(report, score=done.score)
        elif not dry_run:
            from transmeta.execution.ray.session import session

            if not quiet:
                say(f"training {spec.model_id}: {epochs} epochs on {workers} worker(s)")
            started_s = time.monotonic()
            with session(address=address):
                from transmeta.execution.ray.resources import Resources
                from transmeta.execution.ray.trainer import train_source as train

                trained = train(
                    spec,
                    models=opened.models,
                    storage=opened.runs,
                    workers=workers,
                    resources=Resources(cpus=cpus_per_worker, gpus=gpus_per_worker),
                )
            report = dataclasses.replace(
                report,
                score=trained.card.score,
                losses=trained.losses,
                seconds=round(time.monotonic() - started_s, 3),
            )
    if as_json:
        print_json(report)
    else:
        _print(report, is_there=done is not None)


def _spec(
    names: list[str],
    *,
    name: str,
    architecture: str | None,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    label: str,
    seed: int,
    precision: Precision,
) -> "SourceSpec":
    from transmeta import plugins
    from transmeta.core.plan import OptimiserPlan
    from transmeta.models.architecture import Architecture
    from transmeta.models.library import SCRATCH_ARCHITECTURE
    from transmeta.tasks.catalogue import find_task
    from transmeta.trials.source import SourceSpec

    optimiser = OptimiserPlan(learning_rate=learning_rate, epochs=epochs, batch_size=batch_size, weight_decay=0.01)
    tasks = tuple(find_task(task, seed=seed, label=label) for task in names)
    chosen = architecture or SCRATCH_ARCHITECTURE[tasks[0].modality]
    plugin = cast(Architecture, plugins.load(plugins.MODELS, name=chosen))
    if plugin.card(input_shape=tasks[0].shape).modality is not tasks[0].modality:
        raise InputError(
            f"--architecture {chosen}: not for {tasks[0].modality.value} data; leave it out, or name another"
        )
    return SourceSpec(name=name, architecture=chosen, tasks=tasks, optimiser=optimiser, seed=seed, precision=precision)


def _print(report: SourceReport, *, is_there: bool) -> None:
    state = "was there already" if is_there else "dry run: nothing was trained" if report.dry_run else "trained"
    pairs = [
        ("model", f"{report.model} ({state})"),
        ("tasks", ", ".join(report.tasks)),
        ("architecture", report.architecture),
        ("epochs", f"{report.epochs} on {report.workers} worker(s)"),
        ("validation score", shown(report.score)),
        ("folder", report.model_path),
    ]
    if report.losses:
        pairs.append(("last loss", f"{report.losses[-1]:.4f} after {report.seconds:.1f} s"))
    print_pairs(pairs)
