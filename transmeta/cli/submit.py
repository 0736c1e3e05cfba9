"""`transmeta submit`, `status` and `stop`: commands as jobs on a cluster."""

import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from transmeta import __version__
from transmeta.cli.options import one_data
from transmeta.cli.remote_command import PLACED, CommandShape, Kind, Place, remote_command
from transmeta.core import codec
from transmeta.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from transmeta.execution.ray.job_client import JobState
    from transmeta.execution.ray.jobs import JobOutcome

PYTHON: Final = ("python", "-m", "transmeta")
ABOUT_JOBS: Final = ("submit", "status", "stop")
INTERRUPTED: Final = 130

Address = Annotated[
    str,
    typer.Option(
        "--address",
        envvar=["RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"],
        help="The cluster: its dashboard (http://HOST:8265), itself (HOST:6379), or auto for that of this machine.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout; a job's log goes to stderr.")]


def submit(
    context: typer.Context,
    command: Annotated[
        list[str],
        typer.Argument(metavar="-- COMMAND", help="What to run: -- adapt photos --out model", show_default=False),
    ],
    address: Address = "auto",
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Passed on to the command.")] = None,
    cpus_per_worker: Annotated[
        float | None, typer.Option("--cpus-per-worker", min=0, help="Passed on to the command.")
    ] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option("--gpus-per-worker", min=0, help="Passed on to the command.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Print the log until the job ends.")] = True,
    working_dir: Annotated[
        Path | None,
        typer.Option(
            "--working-dir",
            metavar="DIR",
            help="Upload this folder, at most 500 MiB without what .gitignore names; the job runs in it.",
        ),
    ] = None,
    wheel: Annotated[
        Path | None,
        typer.Option("--wheel", metavar="FILE", help="Upload this wheel of transmeta; it goes before the cluster's."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Run anew what has ended already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a command of transmeta as a job on a Ray cluster, once, however often it is submitted.

    The same command with the same uploads is the same job: submitting it again follows the job that is there and
    ends with its exit code. If it has ended, --again runs it anew, and it resumes from its workspace.

    The job runs on a node of the cluster, in another directory. Paths are therefore made absolute: --out, --workspace
    and --store always, --data, --model and other words that name something if it exists here. The nodes must see
    them under the same path, on a shared file system; what lies in --working-dir travels with the job. Without
    --workspace, that of this directory is used (.transmeta).

    A cluster with token authentication needs the token in ~/.ray/auth_token, or in the file that RAY_AUTH_TOKEN_PATH
    names.

    Exit code: the job's own; with --no-follow 0 for a job that has not ended; 75 if the cluster is out of reach; 130
    if the job was stopped, or if you stop following it, which leaves it running.

    Example: transmeta submit --address http://127.0.0.1:8265 -- adapt photos --budget 10m --out model
    """
    words = remote_command(
        command,
        shape=_shape(context, command),
        place=Place(here=Path.cwd(), working_dir=working_dir, is_task=_is_task),
        resources=dict(zip(PLACED, (workers, cpus_per_worker, gpus_per_worker), strict=True)),
    )
    _shape(context, words)  # with what was passed on
    from transmeta.execution.ray import jobs

    _say(f"submitting to {address}: {' '.join(words)}")
    submission = jobs.submit(
        (*PYTHON, *words),
        address=address,
        working_dir=working_dir,
        wheel=wheel,
        metadata={"version": __version__},
        again=again,
    )
    _say(f"job {submission.id}: {_found(submission.known)}")
    if not follow:
        state = submission.known or jobs.status(submission.id, address=address)
        _print_states([state], as_json=as_json)
        raise typer.Exit(state.exit_code or 0)
    outcome = _follow(submission.id, address=address, to_stderr=as_json)
    _say(f"job {outcome.id}: {outcome.status}, exit code {outcome.exit_code}")
    if as_json:
        print(codec.dumps({"schema": 1, "is_new": submission.is_new, "job": outcome}))
    raise typer.Exit(outcome.exit_code)


def status(
    job: Annotated[str | None, typer.Argument(help="Id of the job; without it, all jobs of transmeta.")] = None,
    address: Address = "auto",
    as_json: AsJson = False,
) -> None:
    """Show how far a job is, or list the jobs that transmeta submitted to the cluster.

    Example: transmeta status --address http://127.0.0.1:8265
    """
    from transmeta.execution.ray import jobs

    states = jobs.list_jobs(address=address) if job is None else (jobs.status(job, address=address),)
    _print_states(states, as_json=as_json)


def stop(
    job: Annotated[str, typer.Argument(help="Id of the job.", show_default=False)],
    address: Address = "auto",
    as_json: AsJson = False,
) -> None:
    """End a job; what it has finished is kept, and submitting it with --again resumes from there.

    Example: transmeta stop transmeta-0123456789abcdef0123 --address http://127.0.0.1:8265
    """
    from transmeta.execution.ray import jobs

    _print_states([jobs.stop(job, address=address)], as_json=as_json)


def _shape(context: typer.Context, words: Sequence[str]) -> CommandShape:
    """Returns what the words of the command are, after reading them as the job will, so that a slip is found here."""
    group: object = context.find_root().command
    depth = 0
    while hasattr(group, "commands"):
        known = {name: each for name, each in group.commands.items() if name not in ABOUT_JOBS}
        name = words[depth] if depth < len(words) else ""
        if name.startswith("-") or not name:
            raise InputError("no command after --; give one, such as: -- adapt photos --out model")
        if name in ABOUT_JOBS:
            raise InputError(f"{name}: a job cannot be about jobs; run it without submit")
        if name not in known:
            raise UnknownNameError("command", name=name, known=known)
        group = known[name]
        depth += 1
    leaf = group
    made = leaf.make_context(" ".join(words[:depth]), list(words[depth:]))  # type: ignore[attr-defined]  # typer exports no such type
    hints = typing.get_type_hints(leaf.callback)  # type: ignore[attr-defined]  # as above
    options: dict[str, Kind] = {}
    arguments: list[Kind] = []
    for param in leaf.params:  # type: ignore[attr-defined]  # as above
        kind = _kind(param, annotation=hints.get(param.name))
        if param.param_type_name == "argument":
            arguments.append(kind)
        else:
            options |= dict.fromkeys((*param.opts, *param.secondary_opts), kind)
    data = [made.params[param.name] for param in leaf.params if param.metavar == "DATA"]  # type: ignore[attr-defined]  # as above
    if len(data) == 2:  # an argument and an option for the same
        one_data(*data)
    return CommandShape(depth=depth, options=options, arguments=tuple(arguments))


def _kind(param: object, *, annotation: object) -> Kind:
    if getattr(param, "is_flag", False):
        return Kind.FLAG
    if getattr(param, "name", None) == "store":
        return Kind.STORE
    if Path in (annotation, *typing.get_args(annotation)):
        return Kind.PATH
    return Kind.DATA if getattr(param, "metavar", None) in ("DATA", "DATA...") else Kind.PLAIN


def _is_task(name: str) -> bool:
    """Whether a packaged task is called so; asked only where a folder of that name exists too."""
    from transmeta.tasks.catalogue import packaged_tasks

    return any(task.name == name.partition("@")[0] for task in packaged_tasks())


def _follow(job: str, *, address: str, to_stderr: bool) -> "JobOutcome":
    from transmeta.execution.ray import jobs

    log = sys.stderr if to_stderr else sys.stdout

    def write(text: str) -> None:
        log.write(text)
        log.flush()

    try:
        return jobs.follow(job, address=address, write=write)
    except KeyboardInterrupt:
        _say(
            f"\njob {job} goes on; submit it again to follow it, end it with: transmeta stop {job} --address {address}"
        )
        raise typer.Exit(INTERRUPTED) from None


def _found(known: "JobState | None") -> str:
    if known is None:
        return "started"
    if known.status.is_final:
        return (
            f"known, {known.status} with exit code {known.exit_code} at {known.ended_at}; nothing is started, "
            "--again runs it anew"
        )
    return f"known and {known.status}; nothing is started"


def _print_states(states: "Sequence[JobState]", *, as_json: bool) -> None:
    if as_json:
        print(codec.dumps({"schema": 1, "jobs": list(states)}))
        return
    for state in states:
        code = "-" if state.exit_code is None else str(state.exit_code)
        print("\t".join((state.id, state.status, code, state.started_at or "-", state.ended_at or "-", state.command)))
    if not states:
        _say("no jobs")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
