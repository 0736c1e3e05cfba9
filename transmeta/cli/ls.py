"""`transmeta ls`: the tasks, models, strategies and policies at hand."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from transmeta.cli.options import DEFAULT_WORKSPACE, AsJson, WorkspaceFolder, open_workspace
from transmeta.cli.output import Row, only_results_on_stdout, print_json, print_table, shown
from transmeta.errors import UnknownNameError

if TYPE_CHECKING:
    from transmeta.workspace import Workspace


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What `ls` prints: `items` as JSON, or the columns and rows as a table."""

    items: Sequence[Mapping[str, str | int | float | None]]
    columns: Row

    @property
    def rows(self) -> Sequence[Row]:
        """The cells of the table."""
        return [[_cell(item[column]) for column in self.columns] for item in self.items]


def ls(
    kind: Annotated[
        str, typer.Argument(metavar="tasks|models|strategies|policies", help="What to list.", show_default=False)
    ],
    workspace: WorkspaceFolder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """List the tasks, models, strategies or policies at hand.

    Example: transmeta ls strategies
    """
    with only_results_on_stdout():
        if kind not in _KINDS:
            raise UnknownNameError("kind", name=kind, known=_KINDS)
        listing = _KINDS[kind](open_workspace(workspace, store=None))
    if as_json:
        print_json(listing.items)
    else:
        print_table(listing.columns, listing.rows)


def _tasks(workspace: "Workspace") -> Listing:
    from transmeta.tasks.catalogue import packaged_tasks

    return Listing(
        columns=("name", "domain", "classes", "shape"),
        items=[
            {
                "name": task.name,
                "id": task.id,
                "dataset": task.dataset,
                "domain": task.domain,
                "classes": task.class_count,
                "shape": "×".join(str(side) for side in task.shape),
            }
            for task in packaged_tasks()
        ],
    )


def _models(workspace: "Workspace") -> Listing:
    cards = workspace.environment().library().cards()
    return Listing(
        columns=("id", "architecture", "weights", "score", "trained on", "licence"),
        items=[
            {
                "id": card.id,
                "architecture": card.architecture,
                "weights": card.parameter_count,
                "score": card.score,
                "trained on": ", ".join(item.dataset for item in card.trained_on),
                "licence": card.licence,
                "note": card.note,
            }
            for card in sorted(cards.values(), key=lambda card: card.id)
        ],
    )


def _strategies(workspace: "Workspace") -> Listing:
    from transmeta.strategies.catalogue import find_strategy, strategy_names

    return Listing(
        columns=("name", "summary"),
        items=[{"name": name, "summary": find_strategy(name).summary} for name in strategy_names()],
    )


def _policies(workspace: "Workspace") -> Listing:
    from transmeta.policies.files import POLICY_FILE, load_policy
    from transmeta.workspace import PACKAGED_POLICY

    used = workspace.found_policy()
    proposer = workspace.proposer(())
    folders = {"workspace": workspace.policy_folder, "packaged": PACKAGED_POLICY}
    return Listing(
        columns=("where", "policy", "used", "folder"),
        items=[
            {
                "where": where,
                "policy": load_policy(folder, proposer=proposer).name,
                "used": "yes" if folder == used else "no",
                "folder": str(folder),
            }
            for where, folder in folders.items()
            if (folder / POLICY_FILE).is_file()
        ],
    )


def _cell(value: str | int | float | None) -> str:
    return shown(value) if value is None or isinstance(value, float) else str(value)


_KINDS: Final[Mapping[str, Callable[["Workspace"], Listing]]] = {
    "tasks": _tasks,
    "models": _models,
    "strategies": _strategies,
    "policies": _policies,
}
