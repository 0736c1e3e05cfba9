"""What a dry run prints: what would be run, how many trials, and where."""

import dataclasses
from typing import TYPE_CHECKING

from transmeta.cli.output import print_json, print_pairs
from transmeta.core.trial import Budget

if TYPE_CHECKING:
    from transmeta.workspace import Compute, Workspace


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a command would do.

    Attributes:
        trials: that it would run, at most; None where only the time is limited.
        known: of them, in the store already, so that they cost nothing; None where that shows only on the way.
        sources: model card ids that may be transferred from, or that would be made.
        executor: `local` or `ray`.
    """

    targets: tuple[str, ...]
    sources: tuple[str, ...]
    trials: int | None
    known: int | None = None
    wall_s: float | None = None
    executor: str
    policy: str | None = None
    dry_run: bool = True


def planned_search(
    data: str, *, label: str, size: int | None, seed: int, budget: Budget, workspace: "Workspace", compute: "Compute"
) -> Plan:
    """Returns what a search on `data` would do, after the checks that it would begin with; nothing is computed.

    Raises:
        DataError, InputError: as the search itself.
    """
    from transmeta.experiments.adapt import check_budget
    from transmeta.tasks.catalogue import find_task

    check_budget(budget)
    task = find_task(data, seed=seed, label=label, size=size)
    folder = workspace.found_policy()
    return Plan(
        targets=(task.id,),
        sources=tuple(card.id for card in workspace.environment().library().candidates(task)),
        trials=budget.trials,
        wall_s=budget.wall_s,
        executor=compute.executor.value,
        policy="none yet: drawn evenly" if folder is None else str(folder),
    )


def print_plan(plan: Plan, *, as_json: bool) -> None:
    """Prints what would be done."""
    if as_json:
        print_json(plan)
        return
    trials = "as many as the time allows" if plan.trials is None else str(plan.trials)
    known = "" if plan.known is None else f", {plan.known} of them known already"
    pairs = [
        ("dry run", "nothing was run"),
        ("targets", ", ".join(plan.targets)),
        ("sources", ", ".join(plan.sources)),
        ("trials", trials + known),
        ("executor", plan.executor),
    ]
    if plan.wall_s is not None:
        pairs.append(("time", f"{plan.wall_s:g} s"))
    if plan.policy is not None:
        pairs.append(("policy", plan.policy))
    print_pairs(pairs)
