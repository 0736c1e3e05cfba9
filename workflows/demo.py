"""The main job, from nothing to advice on unseen targets: `python -m workflows.demo`, or `make demo`.

Every step resumes: run it again after an interruption and it goes on where it was.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, final

from rich.console import Console

from transmeta import api
from transmeta.config import load_config
from transmeta.core import codec
from transmeta.core.experience import Experience, MetaFeatures
from transmeta.core.model import ModelCard
from transmeta.core.plan import OptimiserPlan
from transmeta.core.protocols import Policy
from transmeta.core.task import Task
from transmeta.core.trial import Arm, TrialResult
from transmeta.execution.ray.session import session
from transmeta.execution.ray.trainer import train_source
from transmeta.experiments.collect import collect
from transmeta.experiments.figures import MetaTestReport, compare
from transmeta.experiments.gate import left_out_gate
from transmeta.experiments.meta_test import BEST_FIXED, ORACLE, SCRATCH, evaluate
from transmeta.experiments.meta_train import MetaTrainPlan, RoundReport, meta_train
from transmeta.experiments.run import Workbench
from transmeta.policies.adaptive.learner import AdaptiveLearner
from transmeta.policies.files import save_policy
from transmeta.policies.network.learner import NetworkLearner
from transmeta.policies.network.policy import NetworkPolicy
from transmeta.policies.portfolio import PortfolioLearner
from transmeta.stores.sql import SqlExperienceStore
from transmeta.strategies.pool import arm_pool
from transmeta.tasks.catalogue import find_task
from transmeta.training.files import write_atomically
from transmeta.trials.source import SourceSpec
from transmeta.workspace import Compute, ExecutorKind, Workspace, code_version
from workflows.summary import HeldOut, Summary, show

HERE: Final = Path(__file__).parent


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """One source model."""

    name: str
    architecture: str
    tasks: tuple[str, ...]
    epochs: int
    learning_rate: float = 3e-3
    batch_size: int = 64

    def spec(self, *, seed: int) -> SourceSpec:
        """Returns what Ray Train is given."""
        return SourceSpec(
            name=self.name,
            architecture=self.architecture,
            tasks=tuple(find_task(name) for name in self.tasks),
            optimiser=OptimiserPlan(
                learning_rate=self.learning_rate, epochs=self.epochs, batch_size=self.batch_size, weight_decay=0.01
            ),
            seed=seed,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """The whole job; see demo.toml.

    Attributes:
        note: what must be known to read the figures.
    """

    workers: int
    strategies: tuple[str, ...]
    samples: int
    rounds: int
    trials_per_round: int
    exploration: float
    seed: int
    training: tuple[str, ...]
    held_out: tuple[str, ...]
    sources: tuple[SourceConfig, ...]
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all steps work with.

    Attributes:
        features: by target id, of training and held-out targets.
        arms: the pool that is tried on every target.
    """

    config: DemoConfig
    workspace: Workspace
    store: SqlExperienceStore
    bench: Workbench
    training: tuple[Task, ...]
    held_out: tuple[Task, ...]
    features: Mapping[str, MetaFeatures]
    cards: tuple[ModelCard, ...]
    arms: tuple[Arm, ...]


def main() -> None:
    """Runs the main job and writes `summary.json`."""
    parser = argparse.ArgumentParser(prog="python -m workflows.demo", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/demo"), help="folder of the run; the same one resumes it"
    )
    parser.add_argument("--config", type=Path, help="a TOML file like workflows/demo.toml")
    parser.add_argument("--smoke", action="store_true", help="a short job, for a first look and for CI")
    options = parser.parse_args()
    started_s = time.monotonic()
    config = load_config(DemoConfig, options.config or HERE / ("smoke.toml" if options.smoke else "demo.toml"))
    console = Console(stderr=False, highlight=False)
    workspace = Workspace(folder=options.out)
    targets = [find_task(name, seed=config.seed) for name in (*config.training, *config.held_out)]
    with session(cpus=config.workers), workspace.store() as store:
        _train_sources(config, workspace, console)
        ours = {source.spec(seed=config.seed).model_id for source in config.sources}
        candidates = workspace.environment().library().candidates(targets[0])
        cards = tuple(card for card in candidates if card.id in ours or not card.is_pretrained)
        features = {target.id: _among(workspace.features(target, store=store), cards=cards) for target in targets}
        arms = arm_pool(cards, samples=config.samples, seed=config.seed, strategies=config.strategies)
        progress = Progress(console, every=50)
        with workspace.bench(
            Compute(executor=ExecutorKind.TUNE, workers=config.workers),
            run="demo",
            store=store,
            on_result=progress.count,
        ) as bench:
            setting = Setting(
                config=config,
                workspace=workspace,
                store=store,
                bench=bench,
                training=tuple(targets[: len(config.training)]),
                held_out=tuple(targets[len(config.training) :]),
                features=features,
                cards=cards,
                arms=arms,
            )
            policy = _learn(setting, console)
            console.print(f"trying all {len(arms)} choices on the held-out targets, to know what is best there")
            collect(setting.held_out, arms=arms, features=features, bench=bench)
        summary = _evaluate(setting, policy)
        _advise(setting, console)
    _adapt(setting, console)
    summary = dataclasses.replace(summary, seconds=round(time.monotonic() - started_s, 1))
    write_atomically(options.out / "summary.json", json.dumps(codec.to_json(summary), indent=1).encode())
    show(summary, console)
    if config.note:
        console.print(config.note)
    console.print(f"written: {options.out / 'summary.json'}")


def _among(features: MetaFeatures, *, cards: Sequence[ModelCard]) -> MetaFeatures:
    """Returns `features` without sources that are not the job's own, such as those that ship with the package."""
    ids = {card.id for card in cards}
    return dataclasses.replace(features, pairs={key: pair for key, pair in features.pairs.items() if key in ids})


@final
class Progress:
    """Prints a line for every so many trials."""

    def __init__(self, console: Console, *, every: int) -> None:
        self._console = console
        self._every = every
        self._count = 0
        self._started_s = time.monotonic()

    def count(self, result: TrialResult) -> None:
        """Counts a trial that ended."""
        self._count += 1
        if self._count % self._every == 0:
            rate = self._count / (time.monotonic() - self._started_s)
            self._console.print(f"  {self._count} trials, {rate:.1f} per second; last: {result.spec.target.name}")


def _train_sources(config: DemoConfig, workspace: Workspace, console: Console) -> None:
    for source in config.sources:
        spec = source.spec(seed=config.seed)
        known = workspace.environment().library().cards()
        if spec.model_id in known and (workspace.models / spec.model_id).is_dir():
            console.print(f"source {spec.model_id}: already trained")
            continue
        console.print(f"source {spec.model_id}: Ray Train, {config.workers} workers, on {', '.join(source.tasks)}")
        trained = train_source(
            spec, models=workspace.models, storage=workspace.folder / "train", workers=config.workers
        )
        console.print(f"source {spec.model_id}: validation accuracy {trained.card.score:.3f}")


def _learn(setting: Setting, console: Console) -> NetworkPolicy:
    config = setting.config
    learner = NetworkLearner(
        proposer=setting.workspace.proposer(setting.cards, strategies=config.strategies), seed=config.seed
    )
    plan = MetaTrainPlan(
        run="demo",
        rounds=config.rounds,
        trials_per_round=config.trials_per_round,
        arms=setting.arms,
        exploration=config.exploration,
        seed=config.seed,
    )
    console.print(
        f"meta-training: {len(setting.training)} targets, {len(setting.arms)} choices, {plan.rounds} rounds of "
        f"{plan.trials_per_round} trials on each"
    )
    return meta_train(
        setting.training,
        features=setting.features,
        plan=plan,
        learner=learner,
        gate=left_out_gate(learner),
        log=setting.store,
        bench=setting.bench,
        publish=lambda policy: save_policy(policy, setting.workspace.policy_folder),
        on_round=lambda report: console.print(
            f"round {report.round + 1}: {report.trials} trials ({report.fresh} new); " + _compared(report)
        ),
    )


def _compared(report: RoundReport) -> str:
    if not report.round:
        return "the first policy, nothing to compare with"
    verdict = "accepted" if report.gate.is_accepted else "not accepted, the old policy stays"
    return f"regret on left-out targets {report.gate.before:.3f} -> {report.gate.after:.3f}: {verdict}"


def _evaluate(setting: Setting, policy: NetworkPolicy) -> Summary:
    known = setting.store.read(targets=[target.id for target in setting.training])
    pool = {arm.key for arm in setting.arms}
    # the store of an earlier call also holds the trials of its last step, on the first of these targets
    held_out = setting.store.read(targets=[target.id for target in setting.held_out])
    unseen = [row for row in held_out if row.arm.key in pool]
    pretrained = tuple(card.id for card in setting.cards if card.is_pretrained)
    return Summary(
        seconds=0.0,
        sources=len(pretrained),
        targets=len(setting.training) + len(setting.held_out),
        strategies=len({row.arm.strategy.name for row in (*known, *unseen)}),
        trials=len(known) + len(unseen),
        heldout=_judge((*known, *unseen), setting=setting, policy=policy),
        loss_initial=policy.progress.loss_initial if policy.progress else None,
        loss_final=policy.progress.loss_final if policy.progress else None,
        commit=code_version(),
        source_ids=pretrained,
        held_out_targets=tuple(target.id for target in setting.held_out),
    )


def _judge(experience: Sequence[Experience], *, setting: Setting, policy: NetworkPolicy) -> HeldOut:
    """Returns how the learned policy does on the held-out targets, from the record of all choices on them."""
    held_out = {target.dataset for target in setting.held_out}
    leaked = held_out & {target.dataset for target in policy.table.targets}
    assert not leaked, f"held-out data sets were learned from: {sorted(leaked)}"
    portfolio = PortfolioLearner(proposer=policy.proposer)
    adaptive = AdaptiveLearner(proposer=policy.proposer, seed=setting.config.seed)

    def tested(*policies: Policy) -> MetaTestReport:
        return evaluate(
            lambda training: policies, experience, held_out=sorted(held_out), features=setting.features, budgets=(1, 5)
        )

    known = [row for row in experience if row.result.spec.target.dataset not in held_out]
    report = tested(policy, portfolio.update(portfolio.initial(), known), adaptive.update(adaptive.initial(), known))
    network_alone = dataclasses.replace(policy, knobs=dataclasses.replace(policy.knobs, blend=1.0))
    (against_fixed,) = compare(report, policy.name, budget=1, rivals=[(BEST_FIXED, 1)], seed=setting.config.seed)
    gain = against_fixed.test.gain

    def score(name: str, budget: int, found: MetaTestReport = report) -> float:
        return round(found.find(name, budget=budget).test_score.mean, 4)

    return HeldOut(
        scratch=score(SCRATCH, 1),
        best_fixed=score(BEST_FIXED, 1),
        policy_1=score(policy.name, 1),
        policy_5=score(policy.name, 5),
        network_1=score(policy.name, 1, tested(network_alone)),
        portfolio_5=score("portfolio", 5),
        adaptive_1=score("adaptive", 1),
        adaptive_5=score("adaptive", 5),
        oracle=score(ORACLE, 1),
        gain=round(gain.mean, 4),
        gain_low=round(gain.low, 4),
        gain_high=round(gain.high, 4),
    )


def _advise(setting: Setting, console: Console) -> None:
    """Shows what a user sees for an unseen target: advice, and a fine-tuned model."""
    target = setting.held_out[0]
    console.print(f"\nadvice for {target.name}, which the policy has never seen:")
    for advice in api.recommend(target, count=3, workspace=setting.workspace):
        expected = "" if advice.predicted_score is None else f", expected {advice.predicted_score:.3f}"
        numbers = ", ".join(f"{name} {value}" for name, value in advice.params.items())
        console.print(f"  {advice.strategy} from {advice.source}{expected} ({numbers})")


def _adapt(setting: Setting, console: Console) -> None:
    target = setting.held_out[0]
    report = api.adapt(
        target,
        trials=5,
        out=setting.workspace.folder / "model",
        workspace=setting.workspace,
        compute=Compute(executor=ExecutorKind.LOCAL),
    )
    console.print(
        f"adapted to {target.name} in 5 trials: {report.strategy} from {report.source}, "
        f"test accuracy {report.test_score:.3f}, model in {report.model_path}"
    )


if __name__ == "__main__":
    main()
