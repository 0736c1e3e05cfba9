"""The outer meta loop: propose, run, remember, learn, and accept what is not worse on targets that were left out."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from transmeta.core.experience import Experience, MetaFeatures
from transmeta.core.protocols import P, Policy, PolicyLearner, ProposalLog
from transmeta.core.task import Task, TaskPair
from transmeta.core.trial import Arm, TrialId, TrialSpec
from transmeta.errors import InputError
from transmeta.experiments.run import Workbench, run
from transmeta.experiments.search import ReplaySearch
from transmeta.training.seeding import derive_seed

Gate = Callable[[Sequence[Experience], Sequence[Experience]], "GateReport"]
"""Compares learning from the experience of the accepted policy with learning from all of it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """Mean regret on left-out targets, lower is better, of the policy in force and of the new one.

    Attributes:
        tolerance: one standard error of the difference: less than that is noise, and more experience is then preferred.
    """

    before: float
    after: float
    tolerance: float

    @property
    def is_accepted(self) -> bool:
        """Whether the new policy is not worse."""
        return self.after <= self.before + self.tolerance + 1e-9


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MetaTrainPlan:
    """How much is tried on which targets, and how boldly.

    Attributes:
        run: names the proposals in the store; running it again goes on with them.
        rounds: of propose, run, learn.
        trials_per_round: on each target.
        exploration: share of them that are the next untried arms of the pool, the same for all targets; the others are
            what the policy suggests. The first round explores only.
        arms: the pool; an arm that every target has tried makes targets comparable.
    """

    run: str
    rounds: int
    trials_per_round: int
    arms: tuple[Arm, ...]
    exploration: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.trials_per_round < 1:
            raise InputError(
                f"meta-train: {self.rounds} rounds of {self.trials_per_round} trials; give 1 or more of each"
            )
        if not 0 <= self.exploration <= 1:
            raise InputError(f"meta-train: exploration {self.exploration} is not a share; give 0 to 1")
        if not self.arms:
            raise InputError("meta-train: the pool of arms is empty; give sources and strategies that go together")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RoundReport:
    """What a round did.

    Attributes:
        trials: proposed in this round.
        fresh: of these, run now; the others were known.
    """

    round: int
    trials: int
    fresh: int
    gate: GateReport


def meta_train(
    targets: Sequence[Task],
    *,
    features: Mapping[str, MetaFeatures],
    plan: MetaTrainPlan,
    learner: PolicyLearner[P],
    gate: Gate,
    log: ProposalLog,
    bench: Workbench,
    publish: Callable[[P], None],
    on_round: Callable[[RoundReport], None] = lambda report: None,
) -> P:
    """Returns the policy learned over all rounds.

    Killed anywhere and run again, it goes on where it was: the trials are the same as in an undisturbed run, because
    each round's proposals are made from the results of earlier rounds only, and are stored before they are run.

    Args:
        publish: makes an accepted policy visible; called after each round that improves it.

    Raises:
        InputError: if the run was begun with targets that are not among these.
    """
    policy = learner.initial()
    accepted: tuple[Experience, ...] = ()
    seen: dict[TrialId, TrialSpec] = {}
    for index in range(plan.rounds):
        experience = _experience(bench, seen)
        specs = log.proposals(plan.run, index)
        if specs is None:
            proposed = _propose(
                targets, features=features, plan=plan, policy=policy, experience=experience, index=index
            )
            specs = log.save_proposals(plan.run, index, proposed)
        _check_targets(specs, targets=targets, run=plan.run)
        fresh = run(ReplaySearch(specs), bench=bench, features=features)
        seen |= {spec.id: spec for spec in specs}
        experience = _experience(bench, seen)
        report = gate(accepted, experience)
        if report.is_accepted:
            policy, accepted = learner.update(policy, experience), experience
            publish(policy)
        on_round(RoundReport(round=index, trials=len(specs), fresh=len(fresh), gate=report))
    return policy


def _check_targets(specs: Sequence[TrialSpec], *, targets: Sequence[Task], run: str) -> None:
    foreign = sorted({spec.target.id for spec in specs} - {target.id for target in targets})
    if foreign:
        raise InputError(
            f"meta-train: run {run!r} was begun with {foreign[0]}, which is no target now, or whose data has changed; "
            "give the same targets to go on, or another name for a new run"
        )


def _experience(bench: Workbench, seen: Mapping[TrialId, TrialSpec]) -> tuple[Experience, ...]:
    """Returns what is known of the trials in `seen`, and nothing of what other runs left in the store."""
    targets = sorted({spec.target.id for spec in seen.values()})
    return tuple(row for row in bench.store.read(targets=targets) if row.result.spec.id in seen) if targets else ()


def _propose(
    targets: Sequence[Task],
    *,
    features: Mapping[str, MetaFeatures],
    plan: MetaTrainPlan,
    policy: Policy,
    experience: Sequence[Experience],
    index: int,
) -> tuple[TrialSpec, ...]:
    specs: list[TrialSpec] = []
    for target in targets:
        history = [row.result for row in experience if row.result.spec.target.id == target.id and row.is_lesson]
        known = features[target.id]
        tried = {result.spec.arm.key for result in history}
        bold = plan.trials_per_round if index == 0 else _share_of(plan.trials_per_round, plan.exploration)
        untried = [arm for arm in plan.arms if arm.source in known.pairs and arm.key not in tried]
        chosen = {arm.key: arm for arm in untried[:bold]}
        missing = plan.trials_per_round - len(chosen)
        if missing:
            seed = derive_seed(plan.seed, "round", index, target.id)
            suggested = policy.suggest(known, history, count=plan.trials_per_round + bold, seed=seed)
            for arm in (*(suggestion.arm for suggestion in suggested), *untried):  # the pool where suggestions run out
                if len(chosen) < plan.trials_per_round:
                    chosen.setdefault(arm.key, arm)
        specs += [
            TrialSpec(pair=TaskPair(source=arm.source, target=target), strategy=arm.strategy, seed=0)
            for arm in chosen.values()
        ]
    return tuple(specs)


def _share_of(count: int, share: float) -> int:
    """Returns `share` of `count`, rounded up, but not for the noise of a product such as 20 * 0.55."""
    return math.ceil(round(count * share, 9))
