"""`transmeta recommend`: what to try first on a data set, and why, without training anything."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from transmeta.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    Label,
    PolicyFolder,
    Seed,
    Size,
    StoreUrl,
    Target,
    WorkspaceFolder,
    open_workspace,
)
from transmeta.cli.output import only_results_on_stdout, print_json, print_table, shown, shown_params

if TYPE_CHECKING:
    from transmeta.experiments.recommend import Recommendation


def recommend(
    data: Target,
    count: Annotated[int, typer.Option("--count", help="How many choices.")] = 5,
    label: Label = "label",
    size: Size = None,
    policy: PolicyFolder = None,
    workspace: WorkspaceFolder = DEFAULT_WORKSPACE,
    store: StoreUrl = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Rank what to try first for your data, without training. The ranking is what similar data taught the policy.

    Example: transmeta recommend photos/ --count 3
    """
    with only_results_on_stdout():
        from transmeta import api
        from transmeta.tasks.catalogue import find_task

        opened = open_workspace(workspace, store=store)
        task = find_task(data, seed=seed, label=label, size=size)
        choices = api.recommend(task, count=count, workspace=opened, policy=policy, seed=seed)
        has_sources = any(card.is_pretrained for card in opened.environment().library().candidates(task))
    if as_json:
        print_json(choices)
        return
    columns = ("rank", "transfer", "source", "strategy", "predicted", "90 % interval", "CPU s", "evidence", "with")
    print_table(columns, [_row(rank, choice) for rank, choice in enumerate(choices, start=1)])
    if not has_sources:
        print(
            "There is no source for such data, so it would be trained from scratch; see: transmeta train-source --help"
        )
    elif all(choice.predicted_score is None for choice in choices):
        print("No policy was learned from experience yet, so these are drawn evenly; see: transmeta meta-train --help")
    elif choices and not choices[0].transfer:
        print("Do not transfer: training from scratch is expected to win.")


def _row(rank: int, choice: "Recommendation") -> Sequence[str]:
    interval = "-" if choice.interval is None else " to ".join(shown(bound, digits=3) for bound in choice.interval)
    evidence = ", ".join(f"{item.target} ({item.weight:.0%})" for item in choice.evidence[:3])
    return (
        str(rank),
        "yes" if choice.transfer else "no",
        choice.source,
        choice.strategy,
        shown(choice.predicted_score, digits=3),
        interval,
        shown(choice.predicted_cost_s, digits=1),
        evidence or "-",
        shown_params(choice.params),
    )
