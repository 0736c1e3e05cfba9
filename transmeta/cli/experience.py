"""`transmeta experience`: the trials in the store, counted, exchanged and checked."""

from pathlib import Path
from typing import Annotated

import typer

from transmeta.cli.options import DEFAULT_WORKSPACE, AsJson, StoreUrl, WorkspaceFolder, open_workspace
from transmeta.cli.output import only_results_on_stdout, print_json, print_pairs

File = Annotated[Path, typer.Argument(metavar="FILE", help="A .parquet file.", show_default=False)]


def stats(workspace: WorkspaceFolder = DEFAULT_WORKSPACE, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Count the trials by status, target, source and strategy.

    Example: transmeta experience stats
    """
    with only_results_on_stdout(), open_workspace(workspace, store=store).store() as opened:
        counted = opened.stats()
    if as_json:
        print_json({"count": counted.count, "counted": counted})
        return
    print_pairs(
        [
            ("trials", str(counted.count)),
            *((f"  {status}", str(count)) for status, count in counted.trials.items()),
            ("targets", str(len(counted.targets))),
            ("sources", str(len(counted.sources))),
            ("strategies", str(len(counted.strategies))),
            *((f"  {strategy}", str(count)) for strategy, count in counted.strategies.items()),
            ("CPU s", f"{counted.cost_s:.1f}"),
        ]
    )


def export_trials(
    file: File, workspace: WorkspaceFolder = DEFAULT_WORKSPACE, store: StoreUrl = None, as_json: AsJson = False
) -> None:
    """Write all trials to a Parquet file, a row for each measurement; import takes it back whole.

    Example: transmeta experience export trials.parquet
    """
    with only_results_on_stdout():
        from transmeta.stores.parquet import export_table

        with open_workspace(workspace, store=store).store() as opened:
            count = export_table(opened.read(), file)
    if as_json:
        print_json({"file": str(file), "exported": count})
    else:
        print(f"{count} trials written to {file}")


def import_trials(
    file: File, workspace: WorkspaceFolder = DEFAULT_WORKSPACE, store: StoreUrl = None, as_json: AsJson = False
) -> None:
    """Take the trials of a Parquet file that export wrote into the store; known ones are left as they are.

    Example: transmeta experience import trials.parquet
    """
    with only_results_on_stdout():
        from transmeta.stores.parquet import import_experience

        rows = import_experience(file)
        with open_workspace(workspace, store=store).store() as opened:
            count = opened.append(rows)
    if as_json:
        print_json({"file": str(file), "read": len(rows), "imported": count})
    else:
        print(f"{count} of {len(rows)} trials in {file} were new")


def verify(workspace: WorkspaceFolder = DEFAULT_WORKSPACE, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Read the whole store and compare it with its checksums; exit code 1 if anything is wrong.

    Example: transmeta experience verify
    """
    with only_results_on_stdout(), open_workspace(workspace, store=store).store() as opened:
        count, faults = opened.count(), opened.verify()
    if as_json:
        print_json({"count": count, "faults": faults})
    else:
        print("\n".join([*faults, f"{count} trials, {len(faults)} faults"]))
    if faults:
        raise typer.Exit(1)
