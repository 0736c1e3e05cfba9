"""The options that commands share, and the values that they stand for."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from transmeta.core.plan import Precision
from transmeta.core.task import ParamValue
from transmeta.errors import ConfigError, InputError

if TYPE_CHECKING:
    from transmeta.workspace import Compute, ExecutorKind, Workspace


def executor_option(default: str, *, on_ray: str = "ray") -> object:
    """Returns the option `--executor`, whose help says where the command runs trials if it is not given.

    Args:
        on_ray: what it means to ask for what only Ray can give.
    """
    return typer.Option(
        "--executor",
        metavar="local|ray|tune|train",
        help="Where trials run: one after another in this process; by Ray on all cores or a cluster; there by Ray "
        "Tune; or by Ray Train, one after another, each on all --workers, for trials that take minutes. "
        f"By default {default}. --address, several --workers and --gpus-per-worker mean {on_ray}.",
    )


Target = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A folder of images (class = sub-folder), a .csv, .parquet or .npz file, or a task by name "
        "(see: transmeta ls tasks). With @10 at the end: 10 training examples per class.",
        show_default=False,
    ),
]
DataOption = Annotated[
    str | None, typer.Option("--data", metavar="DATA", help="The data as an option, in place of the argument.")
]
Label = Annotated[str, typer.Option("--label", help="The column to predict, in tables.")]
Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        metavar="PIXELS",
        help="Side at which the images of a folder are read, 8 to 512, for sources that take more than 32. By default "
        "32.",
    ),
]
PolicyFolder = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        metavar="DIR",
        help="Folder of a policy. By default the workspace's own, else the one that ships with transmeta.",
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(
        "--trials", help="Number of trials. Alone, by the same policy, it gives the same result wherever it is run."
    ),
]
TimeBudget = Annotated[
    str | None,
    typer.Option("--budget", metavar="TIME", help="Wall time from the start of the command: 90s, 2m, 1h30m."),
]
MinGain = Annotated[
    float,
    typer.Option(
        "--min-gain",
        metavar="GAIN",
        help="End early, once the policy expects no choice to raise the best validation score by as much: 0.002 saves "
        "a third of 20 trials. 0 spends the whole budget.",
    ),
]
WorkspaceFolder = Annotated[
    Path, typer.Option("--workspace", metavar="DIR", help="Folder of experience, models and policy.")
]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="The experience: a SQLite file, or postgresql+psycopg://user@host/database. By default in the workspace.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option("--address", help="Ray cluster, such as auto or 10.0.0.1:6379. By default one of our own, here."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        help="Trials at once on Ray, or with --executor train the workers of each trial. By default one per core.",
    ),
]
Cpus = Annotated[float, typer.Option("--cpus-per-worker", help="CPUs of each worker; fractions share one.")]
Gpus = Annotated[float, typer.Option("--gpus-per-worker", help="GPUs of each worker; fractions share one.")]
InPrecision = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="What training computes in. bfloat16 is for large models on GPUs; it moves scores a little, by points at "
        "times, so its results are kept apart.",
    ),
]
Ensemble = Annotated[
    int,
    typer.Option(
        "--ensemble",
        metavar="N",
        help="Up to so many of the best models answer together, by the mean of their probabilities: as a rule better "
        "than the best one, and as many times slower to answer. 1 keeps the best one alone.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Fixes the split of the data and every choice at random.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout, and nothing else.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check the input, say what would run, and stop.")]
Learn = Annotated[
    bool,
    typer.Option(
        "--learn/--no-learn",
        help="After the results let the workspace's policy learn from them, as policy update does: some ten seconds "
        "beside the budget. Not with --policy, after a rollback, or where meta-train made a policy of another kind.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]

DEFAULT_WORKSPACE: Final = Path(".transmeta")


def one_data(argument: str | None, option: str | None) -> str:
    """Returns the data that a command takes as an argument or by `--data`.

    Raises:
        InputError: if it was given neither or both ways.
    """
    if argument is not None and option is not None:
        raise InputError(f"data given twice: {argument} and --data {option}; give it once")
    data = option if argument is None else argument
    if data is None:
        raise InputError("no data: name a folder, a file or a task (add --help to see how)")
    return data


def open_workspace(folder: Path, *, store: str | None) -> "Workspace":
    """Returns the workspace in `folder`; nothing is made yet.

    Raises:
        InputError: if `folder` is a file.
    """
    from transmeta.workspace import Workspace

    if folder.exists() and not folder.is_dir():
        raise InputError(f"--workspace {folder}: is a file; give a folder")
    return Workspace(folder=folder, store_url=store)


def choose_compute(
    executor: str | None,
    *,
    address: str | None,
    workers: int | None,
    cpus: float,
    gpus: float,
    default: "ExecutorKind",
    on_ray: "ExecutorKind | None" = None,
) -> "Compute":
    """Returns where trials run.

    Args:
        default: where nothing but `executor` could tell.
        on_ray: where something is asked for that only Ray can give; None for its resident workers.

    Raises:
        InputError: for an amount that is none, or what the local executor cannot give.
        UnknownNameError: for an unknown executor.
    """
    from transmeta.workspace import Compute, ExecutorKind, parse_executor

    check_amounts(workers=workers, cpus=cpus, gpus=gpus)
    needs_ray = {"--address": address is not None, "--workers": (workers or 1) > 1, "--gpus-per-worker": gpus > 0}
    asked = [name for name, is_asked in needs_ray.items() if is_asked]
    implied = (on_ray or ExecutorKind.RAY) if asked else default
    kind = implied if executor is None else parse_executor(executor)
    if kind is ExecutorKind.LOCAL and asked:
        raise InputError(f"{asked[0]}: the local executor runs one trial at a time in here; use --executor ray")
    return Compute(executor=kind, address=address, cpus=cpus, gpus=gpus, workers=workers)


def check_amounts(*, workers: int | None, cpus: float, gpus: float) -> None:
    """Checks what each worker takes.

    Raises:
        InputError: for an amount that is none.
    """
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: give 1 or more")
    if not (math.isfinite(cpus) and cpus > 0):
        raise InputError(f"--cpus-per-worker {cpus:g}: give more than 0, such as 1")
    if not (math.isfinite(gpus) and gpus >= 0):
        raise InputError(f"--gpus-per-worker {gpus:g}: give 0 or more")


def parse_params(texts: Sequence[str]) -> dict[str, ParamValue]:
    """Returns hyperparameters for texts such as `learning_rate=0.01`; numbers and true or false are read as such.

    Raises:
        ConfigError: for a text without `=`, or a name that is there twice.
    """
    params: dict[str, ParamValue] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"--param {text!r}: write name=value, such as --param learning_rate=0.01")
        if name in params:
            raise ConfigError(f"--param {name}: given twice; give it once")
        params[name] = _value(value)
    return params


def parse_names(text: str | None, *, option: str) -> tuple[str, ...] | None:
    """Returns the names in a text such as `lora,linear_probe`; None for None.

    Raises:
        InputError: if there are none.
    """
    if text is None:
        return None
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise InputError(f"{option} {text!r}: no names in it; write them with commas between")
    return names


def parse_seeds(text: str) -> tuple[int, ...]:
    """Returns the seeds in a text such as `0,1,2`.

    Raises:
        InputError: for anything else.
    """
    try:
        return tuple(int(name) for name in parse_names(text, option="--seeds") or ())
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"--seeds {text!r}: write whole numbers with commas between, such as 0,1,2") from error


def _value(text: str) -> ParamValue:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, bool | int | float) else text
