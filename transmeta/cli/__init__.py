"""The command line: one file per command, each of which imports what it needs only when it runs."""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Final, final

import typer
from typer.core import TyperGroup

from transmeta import __version__
from transmeta.cli.adapt import adapt
from transmeta.cli.collect import collect
from transmeta.cli.doctor import doctor
from transmeta.cli.experience import export_trials, import_trials, stats, verify
from transmeta.cli.import_model import import_model
from transmeta.cli.ls import ls
from transmeta.cli.meta_test import meta_test
from transmeta.cli.meta_train import meta_train
from transmeta.cli.policy import rollback, update, versions
from transmeta.cli.predict import predict
from transmeta.cli.recommend import recommend
from transmeta.cli.search import search
from transmeta.cli.submit import status, stop, submit
from transmeta.cli.train_source import train_source
from transmeta.cli.transfer import transfer
from transmeta.errors import TransmetaError

INTERRUPTED: Final = 130
EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 an unexpected error, or a check that failed; 2 input that cannot be used; 3 no trial gave a "
    "model; 4 resources that no node has; 5 a file that is damaged, foreign or could run code; 6 the store has another "
    "writer or a newer schema; 75 cluster or store out of reach, run the same command again; 130 interrupted."
)
COMMANDS: Final[Sequence[Callable[..., None]]] = (
    adapt,
    predict,
    recommend,
    search,
    transfer,
    collect,
    train_source,
    import_model,
    meta_train,
    meta_test,
    ls,
    doctor,
    submit,
    status,
    stop,
)
"""In the order of the help."""


@final
class _Commands(TyperGroup):
    """All commands; an interrupted one says how to go on."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # typer's own is untyped in effect
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("interrupted; what was finished is kept: run the same command again to go on", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="transmeta",
    cls=_Commands,
    help="Learns how to transfer: which source model, which strategy, which numbers, or not at all.\n\n"
    "Example: transmeta adapt photos/ --budget 2m --out model",
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # plain help: to draw it would take as long again as to make it
    pretty_exceptions_enable=False,
    add_completion=False,
)
experience = typer.Typer(
    help="Look at, exchange and check the trials in the store.\n\nExample: transmeta experience stats",
    rich_markup_mode=None,
)
policy = typer.Typer(
    help="Let the policy learn from what was tried, list its versions, or go back to one.\n\n"
    "Example: transmeta policy update",
    rich_markup_mode=None,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; what is wrong with the input is one line on stderr.

    Args:
        arguments: without the program's name; None for those of this process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code: object = app(words, prog_name="transmeta", standalone_mode=False)
    except typer.TyperException as error:
        return _refuse(f"{error.format_message()} (add --help to see how)", code=error.exit_code)
    except TransmetaError as error:
        return _refuse(str(error), code=error.exit_code)
    return code if isinstance(code, int) else 0


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and stop.", is_eager=True, callback=lambda asked: _version(asked)
        ),
    ] = False,
) -> None:
    pass


def _version(is_asked: bool) -> None:
    if is_asked:
        print(f"transmeta {__version__}")
        raise typer.Exit


def _refuse(message: str, *, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


for _command in COMMANDS:
    app.command()(_command)
experience.command("stats")(stats)
experience.command("export")(export_trials)
experience.command("import")(import_trials)
experience.command("verify")(verify)
app.add_typer(experience, name="experience")
policy.command("update")(update)
policy.command("versions")(versions)
policy.command("rollback")(rollback)
app.add_typer(policy, name="policy")
