"""`transmeta doctor`: whether everything that commands need is there and whole, with a remedy for what is not."""

import typer

from transmeta.cli.options import DEFAULT_WORKSPACE, AsJson, StoreUrl, WorkspaceFolder, open_workspace
from transmeta.cli.output import only_results_on_stdout, print_json, print_table


def doctor(workspace: WorkspaceFolder = DEFAULT_WORKSPACE, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Check installation, machine and workspace. Each fault has a remedy; exit code 1 if one is grave.

    Example: transmeta doctor
    """
    with only_results_on_stdout():
        from transmeta.cli.checks import State, examine

        checks = examine(open_workspace(workspace, store=store))
    if as_json:
        print_json(checks)
    else:
        rows = [(check.state.value, check.name, check.found, check.remedy) for check in checks]
        print_table(("state", "check", "found", "remedy"), rows)
    if any(check.state is State.FAIL for check in checks):
        raise typer.Exit(1)
