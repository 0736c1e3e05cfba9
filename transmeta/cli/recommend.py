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
from transmeta.core import codec

if TYPE_CHECKING:
    from transmeta.experiments.recommend import Recommendation
    from transmeta.experiments.tradeoff import TradeOff


def recommend(
    data: Target,
    count: Annotated[
        int | None, typer.Option("--count", help="How many choices. By default 5, or all of the Pareto front.")
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            metavar="WEIGHTS",
            help="What is wanted beside the score: weights such as score=1,cost_s=0.2 (also parameters, macs, "
            "memory_bytes), or pareto for all that no other choice beats in everything.",
        ),
    ] = None,
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
        if objective is not None:
            many = None if objective.strip().lower() == "pareto" else 5
            trade_offs = api.recommend_by(
                task, objective, count=many if count is None else count, workspace=opened, policy=policy, seed=seed
            )
            choices: Sequence[Recommendation] = [item.recommendation for item in trade_offs]
        else:
            trade_offs = ()
            choices = api.recommend(
                task, count=5 if count is None else count, workspace=opened, policy=policy, seed=seed
            )
        has_sources = any(card.is_pretrained for card in opened.environment().library().candidates(task))
    if as_json:
        print_json([_with_objectives(item) for item in trade_offs] if objective is not None else choices)
        return
    if trade_offs:
        _print_trade_offs(trade_offs)
        return
    columns = ("rank", "transfer", "source", "strategy", "predicted", "90 % interval", "CPU s", "evidence", "with")
    print_table(columns, [_row(rank, choice) for rank, choice in enumerate(choices, start=1)])
    if choices and choices[0].features:
        said = ", ".join(f"{item.name} {item.value:.3g} ({item.effect:+.2f})" for item in choices[0].features)
        print(f"What mattered for the first (regret more, were it average): {said}")
    if not has_sources:
        print(
            "There is no source for such data, so it would be trained from scratch; see: transmeta train-source --help"
        )
    elif all(choice.predicted_score is None for choice in choices):
        print("No policy was learned from experience yet, so these are drawn evenly; see: transmeta meta-train --help")
    elif choices and not choices[0].transfer:
        print("Do not transfer: training from scratch is expected to win.")


def _with_objectives(item: "TradeOff") -> dict[str, codec.Json]:
    """Returns the recommendation as it is without objectives, and its figures."""
    fields = codec.to_json(item.recommendation)
    assert isinstance(fields, dict), "a dataclass is an object in JSON"
    return {**fields, "objectives": codec.to_json(item.objectives)}


def _print_trade_offs(items: "Sequence[TradeOff]") -> None:
    columns = ("rank", "transfer", "source", "strategy", "predicted", "CPU s", "trained weights", "MACs", "MB", "with")
    rows = [
        (
            str(rank),
            "yes" if item.recommendation.transfer else "no",
            item.recommendation.source,
            item.recommendation.strategy,
            shown(item.objectives["score"], digits=3),
            shown(item.objectives["cost_s"], digits=2),
            f"{item.objectives['parameters']:.0f}",
            f"{item.objectives['macs']:.3g}",
            shown(item.objectives["memory_bytes"] / 1e6, digits=1),
            shown_params(item.recommendation.params),
        )
        for rank, item in enumerate(items, start=1)
    ]
    print_table(columns, rows)


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
