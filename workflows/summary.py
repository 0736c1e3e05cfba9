"""What the main job found: `summary.json`, and the table that is printed."""

import dataclasses

from rich.console import Console
from rich.table import Table


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Mean test scores on held-out targets; choices are made by validation scores, that of `oracle` by test scores.

    Attributes:
        scratch: training from scratch, with the numbers that were best on the training targets.
        best_fixed: the one choice that was best on the training targets.
        policy_1, policy_5: the learned policy after one trial and after five.
        network_1: the network's own first pick, without the known targets beside it.
        portfolio_5: the greedy portfolio after five trials, the rival of policy_5.
        adaptive_1, adaptive_5: the adaptive portfolio, learned from the same trials, after one trial and after five.
        gain: policy_1 − best_fixed, with the bounds of its 95 % bootstrap interval over data sets.
    """

    scratch: float
    best_fixed: float
    policy_1: float
    policy_5: float
    network_1: float
    portfolio_5: float
    adaptive_1: float
    adaptive_5: float
    oracle: float
    gain: float
    gain_low: float
    gain_high: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the main job did and found; `summary.json`.

    Attributes:
        seconds: of wall time, of this call.
        trials: completed or failed, on all targets.
        loss_initial, loss_final: expected regret of the network on left-out targets, with random and with learned θ.
    """

    seconds: float
    sources: int
    targets: int
    strategies: int
    trials: int
    heldout: HeldOut
    loss_initial: float | None
    loss_final: float | None
    commit: str
    source_ids: tuple[str, ...]
    held_out_targets: tuple[str, ...]
    schema: int = 1


def show(summary: Summary, console: Console) -> None:
    """Prints the figures."""
    heldout = summary.heldout
    table = Table(title=f"mean test accuracy on {len(summary.held_out_targets)} held-out targets")
    table.add_column("choice")
    table.add_column("accuracy", justify="right")
    rows = (
        ("from scratch", heldout.scratch),
        ("best fixed choice", heldout.best_fixed),
        ("learned policy, 1 trial", heldout.policy_1),
        ("learned policy, 5 trials", heldout.policy_5),
        ("(its network alone, 1 trial)", heldout.network_1),
        ("(greedy portfolio, 5 trials)", heldout.portfolio_5),
        ("(adaptive portfolio, 1 trial)", heldout.adaptive_1),
        ("(adaptive portfolio, 5 trials)", heldout.adaptive_5),
        ("oracle: best of all by test score", heldout.oracle),
    )
    for name, score in rows:
        table.add_row(name, f"{score:.4f}")
    console.print(table)
    console.print(
        f"gain of the policy's first pick over the best fixed choice: {heldout.gain:+.4f} "
        f"(95 % interval {heldout.gain_low:+.4f} to {heldout.gain_high:+.4f})"
    )
    console.print(
        f"{summary.trials} trials, {summary.sources} sources, {summary.targets} targets, "
        f"{summary.strategies} strategies, {summary.seconds:.0f} s"
    )
