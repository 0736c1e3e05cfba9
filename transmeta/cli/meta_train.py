"""`transmeta meta-train`: the policy learned over many targets, round after round."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transmeta.cli.options import (
    DEFAULT_WORKSPACE,
    Address,
    AsJson,
    Cpus,
    DryRun,
    Gpus,
    Label,
    Quiet,
    Seed,
    StoreUrl,
    Workers,
    WorkspaceFolder,
    choose_compute,
    executor_option,
    open_workspace,
    parse_names,
)
from transmeta.cli.output import only_results_on_stdout, print_json, print_pairs, say, shown
from transmeta.cli.plan import Plan, print_plan
from transmeta.cli.progress import progress
from transmeta.core import codec
from transmeta.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from transmeta.core.experience import MetaFeatures
    from transmeta.core.protocols import P, PolicyLearner
    from transmeta.core.space import Proposer
    from transmeta.core.task import Task
    from transmeta.experiments.meta_train import Gate, MetaTrainPlan, RoundReport
    from transmeta.experiments.run import Workbench
    from transmeta.policies.versions import PolicyVersion
    from transmeta.stores.sql import SqlExperienceStore
    from transmeta.workspace import Compute, Workspace

Losses = tuple[float | None, float | None]
Learn = Callable[["_Loop", "Proposer", "Workspace"], Losses]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MetaTrainConfig:
    """What `meta-train` does; the keys of its TOML file.

    Attributes:
        targets: names of tasks, or paths, as other commands take them.
        strategies: names; empty for all.
        samples: random arms for each source and strategy, beside the defaults.
        label: the column to predict, in tables; the same in all of them.
        policy: kind of policy to learn: adaptive, network or portfolio.
    """

    targets: tuple[str, ...]
    rounds: int = 4
    trials_per_round: int = 6
    samples: int = 1
    exploration: float = 0.5
    strategies: tuple[str, ...] = ()
    seed: int = 0
    label: str = "label"
    policy: str = "adaptive"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MetaTrainReport:
    """What `meta-train` learned.

    Attributes:
        run: name under which the proposals are stored.
        trials: of all rounds.
        accepted: rounds whose policy was not worse on left-out targets.
        loss_initial, loss_final: regret on left-out targets without learning and with it. For `adaptive` the anytime
            regret over ten trials of the greedy portfolio and of the policy; for `network` the expected regret with
            random and with learned θ.
        version: of the workspace's policy; None if none was accepted.
    """

    run: str
    rounds: int
    trials: int
    fresh: int
    accepted: int
    loss_initial: float | None
    loss_final: float | None
    policy: str
    version: int | None


def meta_train(
    targets: Annotated[
        list[str] | None,
        typer.Argument(help="Tasks to learn from, such as glyphs-grek@3 or photos/.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="A TOML file with the settings, in place of options."),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", help="Rounds of propose, run, learn.")] = 4,
    trials_per_round: Annotated[int, typer.Option("--trials-per-round", help="Trials on each target in a round.")] = 6,
    samples: Annotated[int, typer.Option("--samples", help="Random choices for each source and strategy.")] = 1,
    exploration: Annotated[float, typer.Option("--exploration", help="Share of trials that explore, 0 to 1.")] = 0.5,
    strategies: Annotated[
        str | None, typer.Option("--strategies", help="Names with commas between. By default all.")
    ] = None,
    label: Label = "label",
    policy: Annotated[
        str, typer.Option("--policy", metavar="KIND", help="What is learned: adaptive, network or portfolio.")
    ] = "adaptive",
    run: Annotated[str | None, typer.Option("--run", help="Name of the run. By default made of the settings.")] = None,
    executor: Annotated[str | None, executor_option("ray")] = None,
    address: Address = None,
    workers: Workers = None,
    cpus: Cpus = 1.0,
    gpus: Gpus = 0.0,
    workspace: WorkspaceFolder = DEFAULT_WORKSPACE,
    store: StoreUrl = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Learns the policy that `recommend` and `adapt` use, from trials on many targets.

    Run it again after an interruption and it goes on where it was: each round's proposals are stored before they run.

    Example: transmeta meta-train glyphs-grek@3 glyphs-thai@10 icons-time@3 --rounds 3
    """
    from transmeta.config import load_config
    from transmeta.workspace import ExecutorKind

    if config is not None and targets:
        raise InputError(f"--config {config}: names the targets already; leave them out of the command")
    settings = (
        load_config(MetaTrainConfig, config)
        if config is not None
        else MetaTrainConfig(
            targets=tuple(targets or ()),
            rounds=rounds,
            trials_per_round=trials_per_round,
            samples=samples,
            exploration=exploration,
            strategies=parse_names(strategies, option="--strategies") or (),
            seed=seed,
            label=label,
            policy=policy,
        )
    )
    place = open_workspace(workspace, store=store)
    compute = choose_compute(executor, address=address, workers=workers, cpus=cpus, gpus=gpus, default=ExecutorKind.RAY)
    name = run or f"meta-{codec.digest(settings, length=10)}"
    with only_results_on_stdout():
        outcome = _run(settings, name=name, workspace=place, compute=compute, is_dry=dry_run, is_quiet=quiet)
    if isinstance(outcome, Plan):
        print_plan(outcome, as_json=as_json)
    elif as_json:
        print_json(outcome)
    else:
        print_pairs(
            [
                ("run", outcome.run),
                ("trials", f"{outcome.trials}, {outcome.fresh} of them new"),
                ("accepted", f"{outcome.accepted} of {outcome.rounds} rounds"),
                ("regret left out", f"{shown(outcome.loss_initial)} before, {shown(outcome.loss_final)} learned"),
                ("policy", outcome.policy),
            ]
        )


def _run(
    config: MetaTrainConfig, *, name: str, workspace: "Workspace", compute: "Compute", is_dry: bool, is_quiet: bool
) -> MetaTrainReport | Plan:
    from transmeta.experiments.meta_train import MetaTrainPlan
    from transmeta.policies.files import POLICY_FILE
    from transmeta.strategies.pool import arm_pool

    learn = _learner(config.policy)
    tasks = _tasks(config)
    library = workspace.environment().library()
    cards = {card.id: card for task in tasks for card in library.candidates(task)}
    arms = arm_pool(
        tuple(cards.values()), samples=config.samples, seed=config.seed, strategies=config.strategies or None
    )
    plan = MetaTrainPlan(
        run=name,
        rounds=config.rounds,
        trials_per_round=config.trials_per_round,
        arms=arms,
        exploration=config.exploration,
        seed=config.seed,
    )
    trials = config.rounds * config.trials_per_round * len(tasks)
    if is_dry:
        names = tuple(task.id for task in tasks)
        return Plan(targets=names, sources=tuple(cards), trials=trials, executor=compute.executor.value)
    if not (workspace.policy_folder / POLICY_FILE).is_file():
        workspace.keep_policy()  # the packaged one, to go back to
    reports: list[RoundReport] = []

    def on_round(report: "RoundReport") -> None:
        reports.append(report)
        if not is_quiet:
            verdict = "accepted" if report.gate.is_accepted else "not accepted"
            compared = f"regret on left-out targets {report.gate.before:.3f} -> {report.gate.after:.3f}, {verdict}"
            first = "the first policy, nothing to compare with"
            what = compared if report.round else first
            say(f"round {report.round + 1}/{config.rounds}: {report.trials} trials, {what}")

    proposer = workspace.proposer(tuple(cards.values()), strategies=config.strategies or None)
    with workspace.store() as store, progress(total=trials, is_quiet=is_quiet) as on_result:
        features = {task.id: workspace.features(task, store=store) for task in tasks}
        with workspace.bench(compute, run=name, store=store, on_result=on_result) as bench:
            loop = _Loop(tasks=tasks, features=features, plan=plan, store=store, bench=bench, on_round=on_round)
            initial, final = learn(loop, proposer, workspace)
    workspace.policy_versions.keep_current(
        lambda policy: workspace.note(policy, origin="meta-train"), proposer=workspace.proposer(())
    )
    if not is_quiet and (advice := _advice(workspace.policy_versions.known())):
        say(advice)
    return MetaTrainReport(
        run=name,
        rounds=config.rounds,
        trials=sum(report.trials for report in reports),
        fresh=sum(report.fresh for report in reports),
        accepted=sum(report.gate.is_accepted for report in reports),
        loss_initial=initial,
        loss_final=final,
        policy=str(workspace.policy_folder),
        version=workspace.policy_versions.current(),
    )


def _advice(versions: Sequence["PolicyVersion"]) -> str | None:
    """Returns what to do if the packaged policy knows more than the one that takes its place."""
    packaged = next((version for version in versions if version.note.origin == "packaged"), None)
    learned = next((version for version in versions if version.is_current), None)
    if packaged is None or learned is None or learned.note.data_sets >= packaged.note.data_sets:
        return None
    return (
        f"this policy knows {learned.note.data_sets} data sets; the packaged one, in whose place it is now, knows "
        f"{packaged.note.data_sets}; to learn from these trials beside what that knows: "
        f"transmeta policy rollback --to {packaged.number}, then transmeta policy update"
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Loop:
    """What the outer loop needs, whatever policy it learns."""

    tasks: "tuple[Task, ...]"
    features: "Mapping[str, MetaFeatures]"
    plan: "MetaTrainPlan"
    store: "SqlExperienceStore"
    bench: "Workbench"
    on_round: "Callable[[RoundReport], None]"

    def learn(self, learner: "PolicyLearner[P]", *, workspace: "Workspace", gate: "Gate | None" = None) -> "P":
        """Returns what `learner` makes of it, published after each round that passes `gate` (or the general one)."""
        from transmeta.experiments.gate import left_out_gate
        from transmeta.experiments.meta_train import meta_train
        from transmeta.policies.files import save_policy

        return meta_train(
            self.tasks,
            features=self.features,
            plan=self.plan,
            learner=learner,
            gate=gate or left_out_gate(learner),
            log=self.store,
            bench=self.bench,
            publish=lambda policy: save_policy(policy, workspace.policy_folder),
            on_round=self.on_round,
        )


def _learner(name: str) -> Learn:
    """Returns what learns policies of the kind `name`, and tells their regret without learning and with it."""
    learners: Mapping[str, Learn] = {"adaptive": _adaptive, "network": _network, "portfolio": _portfolio}
    if name not in learners:
        raise UnknownNameError("kind of policy", name=name, known=learners)
    return learners[name]


def _adaptive(loop: _Loop, proposer: "Proposer", workspace: "Workspace") -> Losses:
    from transmeta.experiments.policy_update import Remembering
    from transmeta.policies.adaptive.learner import AdaptiveLearner

    learner = Remembering(AdaptiveLearner(proposer=proposer, seed=loop.plan.seed))
    policy = loop.learn(learner, workspace=workspace, gate=learner.gate)
    left_out = policy.left_out
    return (None, None) if left_out is None else (_mean(left_out.portfolio), _mean(left_out.regret))


def _network(loop: _Loop, proposer: "Proposer", workspace: "Workspace") -> Losses:
    from transmeta.policies.network.learner import NetworkLearner

    policy = loop.learn(NetworkLearner(proposer=proposer, seed=loop.plan.seed), workspace=workspace)
    progress = policy.progress
    return (None, None) if progress is None else (progress.loss_initial, progress.loss_final)


def _portfolio(loop: _Loop, proposer: "Proposer", workspace: "Workspace") -> Losses:
    from transmeta.policies.portfolio import PortfolioLearner

    loop.learn(PortfolioLearner(proposer=proposer), workspace=workspace)
    return None, None


def _mean(figures: "Mapping[str, float]") -> float:
    return sum(figures.values()) / len(figures)


def _tasks(config: MetaTrainConfig) -> "tuple[Task, ...]":
    from transmeta.tasks.catalogue import find_task

    found = [find_task(name, seed=config.seed, label=config.label) for name in config.targets]
    tasks = tuple({task.id: task for task in found}.values())  # whoever names a target twice means it once
    if len({task.dataset for task in tasks}) < 2:
        raise InputError(
            f"meta-train: {len(tasks)} target(s) of fewer than 2 data sets; name more, such as icons-time@3"
        )
    return tasks
