import dataclasses
import random
from collections.abc import Iterator

import pytest

from transmeta.core.experience import Experience, MetaFeatures, Provenance
from transmeta.core.outcome import Suggestion
from transmeta.core.task import TaskPair
from transmeta.core.trial import Arm, StrategySpec, TrialResult, TrialSpec, TrialStatus
from transmeta.errors import InputError
from transmeta.experiments.meta_train import GateReport, MetaTrainPlan, meta_train
from transmeta.experiments.run import Workbench
from transmeta.policies.portfolio import PortfolioLearner
from transmeta.stores.memory import MemoryExperienceStore
from transmeta.testing.fakes import ScriptedExecutor
from transmeta.testing.store_cases import example_task

ARMS = tuple(
    Arm(source=source, strategy=StrategySpec(name=name, params={}))
    for name in ("linear_probe", "lora", "lp_ft")
    for source in ("latin", "icons")
)
TARGETS = tuple(dataclasses.replace(example_task(), name=name, dataset=name) for name in ("grek", "thai", "time"))
FEATURES = {
    target.id: MetaFeatures(target_id=target.id, target={"size": 1.0}, pairs={"latin": {}, "icons": {}})
    for target in TARGETS
}
ACCEPT = GateReport(before=1.0, after=1.0, tolerance=0.0)
REFUSE = GateReport(before=1.0, after=2.0, tolerance=0.0)
ROUNDS = 3
TRIALS = ROUNDS * 2 * len(TARGETS)
"""Of the run that most tests make: three rounds of two trials on each target."""


@dataclasses.dataclass(frozen=True)
class TouchyPolicy:
    """Suggests other arms if anything that it may depend on is different: a score, an order, a seed."""

    experience: tuple = ()
    name = "touchy"

    def suggest(self, features, history, *, count, seed):
        known = [(row.id, row.result.score) for row in self.experience]
        shown = [(result.spec.id, result.score) for result in history]
        rng = random.Random(repr((features, known, shown, seed)))
        ranks = rng.sample(range(1, 1000), count)
        sources = sorted(features.pairs)
        return [
            Suggestion(arm=Arm(source=rng.choice(sources), strategy=StrategySpec(name="lora", params={"rank": rank})))
            for rank in ranks
        ]


class TouchyLearner:
    def initial(self):
        return TouchyPolicy()

    def update(self, policy, experience):
        return TouchyPolicy(tuple(experience))


class Machine:
    """Runs trials at once, and breaks down after so many."""

    name = "machine"

    def __init__(self, *, breaks_after: int | None = None) -> None:
        self.count = 0
        self.breaks_after = breaks_after

    def drive(self, search) -> Iterator[TrialResult]:
        while specs := search.ask(count=1):
            for spec in specs:
                if self.count == self.breaks_after:
                    raise KeyboardInterrupt
                self.count += 1
                result = shown(spec)
                search.tell(result)
                yield result


class KilledAtWrite:
    """A store whose process is killed at one of its writes, just before or just after that is durable."""

    def __init__(self, inner, *, writes_left: int, is_durable: bool) -> None:
        self.inner = inner
        self.writes_left = writes_left
        self.is_durable = is_durable

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def append(self, experience):
        return self._write(lambda: self.inner.append(experience))

    def save_proposals(self, run, round, specs):
        return self._write(lambda: self.inner.save_proposals(run, round, specs))

    def _write(self, write):
        if self.writes_left == 0:
            if self.is_durable:
                write()
            raise KeyboardInterrupt
        self.writes_left -= 1
        return write()


@dataclasses.dataclass(frozen=True)
class SpyPolicy:
    """Suggests what another does, and notes what it was shown."""

    inner: object
    histories: list
    name = "spy"

    def suggest(self, features, history, *, count, seed):
        self.histories.append((features.target_id, tuple(history)))
        return self.inner.suggest(features, history, count=count, seed=seed)


class SpyLearner:
    def __init__(self) -> None:
        self.histories: list = []
        self.lessons: list = []

    def initial(self):
        return SpyPolicy(TouchyPolicy(), self.histories)

    def update(self, policy, experience):
        self.lessons.append(tuple(experience))
        return SpyPolicy(TouchyPolicy(tuple(experience)), self.histories)


def shown(spec: TrialSpec, status: TrialStatus = TrialStatus.COMPLETED) -> TrialResult:
    score = int(spec.id[:6], 16) / 16**6 if status is not TrialStatus.CRASHED else None
    return TrialResult(spec=spec, status=status, score=score, test_score=score, cost_s=1.0)


def provenance(run: str = "r") -> Provenance:
    return Provenance(version="1", run=run, executor="machine", created_at="2026-01-01T00:00:00Z")


def run(
    store,
    machine,
    *,
    gate=lambda before, after: ACCEPT,
    targets=TARGETS,
    features=FEATURES,
    learner=None,
    publish=lambda policy: None,
    on_round=lambda report: None,
    **changes,
):
    plan = MetaTrainPlan(**({"run": "r", "rounds": ROUNDS, "trials_per_round": 2, "arms": ARMS, "seed": 1} | changes))
    return meta_train(
        targets,
        features=features,
        plan=plan,
        learner=learner or TouchyLearner(),
        gate=gate,
        log=store,
        bench=Workbench(executor=machine, store=store, provenance=provenance),
        publish=publish,
        on_round=on_round,
    )


def trials(store):
    return sorted((row.id, row.result.status, row.result.score) for row in store.read())


def proposed(store, *, rounds=ROUNDS):
    return [store.proposals("r", index) for index in range(rounds)]


def arms_on(specs, target):
    return [spec.arm for spec in specs if spec.target == target]


@pytest.fixture(scope="module")
def undisturbed():
    store = MemoryExperienceStore()
    run(store, Machine())
    return store


# What is proposed


def test_each_round_tries_the_stated_number_of_arms_on_each_target(undisturbed):
    assert undisturbed.count() == TRIALS
    for specs in proposed(undisturbed):
        assert [len({arm.key for arm in arms_on(specs, target)}) for target in TARGETS] == [2, 2, 2]


def test_no_arm_is_tried_twice_on_a_target(undisturbed):
    tried = [(row.result.spec.target.id, row.arm.key) for row in undisturbed.read()]

    assert len(tried) == len(set(tried))


@pytest.mark.parametrize("exploration", [0.0, 0.5, 1.0])
def test_the_first_round_tries_the_beginning_of_the_pool_on_every_target(exploration):
    store, learner = MemoryExperienceStore(), SpyLearner()
    run(store, Machine(), rounds=1, exploration=exploration, learner=learner)

    assert all(arms_on(store.proposals("r", 0), target) == [*ARMS[:2]] for target in TARGETS)
    assert learner.histories == [], "an ignorant policy was asked"


def test_bold_rounds_go_through_the_pool_and_do_not_ask_the_policy():
    store, learner = MemoryExperienceStore(), SpyLearner()
    run(store, Machine(), exploration=1.0, learner=learner)

    for index, specs in enumerate(proposed(store)):
        assert all(arms_on(specs, target) == [*ARMS[2 * index : 2 * index + 2]] for target in TARGETS)
    assert learner.histories == []


def test_a_pool_that_is_used_up_leaves_bold_rounds_to_the_policy():
    store = MemoryExperienceStore()
    fresh = Arm(source="latin", strategy=StrategySpec(name="surgical", params={}))

    class OneFreshArm:
        def propose(self, *, sources, count, seed):
            return (fresh,)

    learner = PortfolioLearner(proposer=OneFreshArm())
    run(store, Machine(), rounds=2, trials_per_round=6, exploration=1.0, learner=learner)

    first, second = proposed(store, rounds=2)
    assert all(arms_on(first, target) == [*ARMS] for target in TARGETS)
    assert all(arms_on(second, target) == [fresh] for target in TARGETS)


def test_without_exploration_the_policy_alone_decides_after_the_first_round():
    class Backwards:
        """Suggests the end of the pool first."""

        name = "backwards"

        def suggest(self, features, history, *, count, seed):
            tried = {result.spec.arm.key for result in history}
            return [Suggestion(arm=arm) for arm in reversed(ARMS) if arm.key not in tried][:count]

    class Learner:
        def initial(self):
            return Backwards()

        def update(self, policy, experience):
            return policy

    store = MemoryExperienceStore()
    run(store, Machine(), rounds=2, exploration=0.0, learner=Learner())

    assert all(arms_on(store.proposals("r", 1), target) == [ARMS[5], ARMS[4]] for target in TARGETS)

    store = MemoryExperienceStore()
    run(store, Machine(), rounds=2, exploration=0.5, learner=Learner())

    assert all(arms_on(store.proposals("r", 1), target) == [ARMS[2], ARMS[5]] for target in TARGETS)


def test_the_share_that_explores_is_not_raised_by_the_noise_of_a_product():
    """0.55 × 20 is 11.000000000000002 in floating point."""
    arms = tuple(Arm(source="latin", strategy=StrategySpec(name="lora", params={"rank": rank})) for rank in range(60))

    class Picky:
        name = "picky"

        def suggest(self, features, history, *, count, seed):
            return [Suggestion(arm=arm) for arm in arms[40:][:count]]

    class Learner:
        def initial(self):
            return Picky()

        def update(self, policy, experience):
            return policy

    store = MemoryExperienceStore()
    plan = {"rounds": 2, "arms": arms, "trials_per_round": 20, "exploration": 0.55}
    run(store, Machine(), learner=Learner(), targets=TARGETS[:1], **plan)

    second = arms_on(store.proposals("r", 1), TARGETS[0])
    assert second == [*arms[20:31], *arms[40:49]]


def test_a_source_that_is_barred_for_a_target_is_never_proposed():
    barred = TARGETS[0]
    features = FEATURES | {barred.id: dataclasses.replace(FEATURES[barred.id], pairs={"icons": {}})}
    store = MemoryExperienceStore()
    run(store, Machine(), features=features)

    sources = [{row.arm.source for row in store.read(targets=[target.id])} for target in TARGETS]
    assert sources == [{"icons"}, {"latin", "icons"}, {"latin", "icons"}]


def test_the_policy_sees_what_was_tried_on_the_same_target_in_earlier_rounds_and_no_crash():
    crashed = TrialSpec(pair=TaskPair(source=ARMS[0].source, target=TARGETS[0]), strategy=ARMS[0].strategy, seed=0)

    def script(spec):
        return shown(spec, TrialStatus.CRASHED if spec == crashed else TrialStatus.COMPLETED)

    learner = SpyLearner()
    run(MemoryExperienceStore(), ScriptedExecutor(script), rounds=2, learner=learner)

    seen = {target: [result.spec.arm for result in history] for target, history in learner.histories}
    assert sorted(arm.key for arm in seen[TARGETS[0].id]) == [ARMS[1].key]
    assert sorted(arm.key for arm in seen[TARGETS[1].id]) == sorted(arm.key for arm in ARMS[:2])


def test_proposals_do_not_depend_on_how_many_trials_run_at_once(undisturbed):
    several = MemoryExperienceStore()
    run(several, ScriptedExecutor(shown, slots=4, seed=3))

    assert proposed(several) == proposed(undisturbed)
    assert trials(several) == trials(undisturbed)


def test_each_round_is_stored_before_its_first_trial_runs():
    store = MemoryExperienceStore()
    stored_at_start: list[list[bool]] = []

    class Watched(Machine):
        def drive(self, search):
            stored_at_start.append([store.proposals("r", index) is not None for index in range(3)])
            yield from super().drive(search)

    run(store, Watched())

    assert stored_at_start == [[True, False, False], [True, True, False], [True, True, True]]


# Being killed


def test_killed_after_any_trial_and_run_again_it_ends_with_the_trials_of_an_undisturbed_run(undisturbed):
    for breaks_after in range(TRIALS):
        store, first, second = MemoryExperienceStore(), Machine(breaks_after=breaks_after), Machine()
        with pytest.raises(KeyboardInterrupt):
            run(store, first)
        assert store.count() == breaks_after, "what was finished is stored"
        run(store, second)
        assert trials(store) == trials(undisturbed)
        assert first.count + second.count == TRIALS, "a trial ran twice"


@pytest.mark.parametrize("is_durable", [False, True])
def test_killed_at_any_write_and_run_again_it_ends_with_the_trials_of_an_undisturbed_run(undisturbed, is_durable):
    writes = TRIALS + ROUNDS  # a row for each trial, and the proposals of each round
    for writes_left in range(writes):
        store = MemoryExperienceStore()
        with pytest.raises(KeyboardInterrupt):
            run(KilledAtWrite(store, writes_left=writes_left, is_durable=is_durable), Machine())
        run(store, Machine())
        assert trials(store) == trials(undisturbed)
        assert proposed(store) == proposed(undisturbed)

    run(KilledAtWrite(MemoryExperienceStore(), writes_left=writes, is_durable=False), Machine())  # no other moments


def test_killed_again_and_again_after_every_single_trial_it_ends_the_same(undisturbed):
    store = MemoryExperienceStore()
    for _ in range(TRIALS - 1):
        with pytest.raises(KeyboardInterrupt):
            run(store, Machine(breaks_after=1))
    run(store, Machine(breaks_after=1))

    assert trials(store) == trials(undisturbed)


def test_killed_while_a_policy_is_published_it_goes_on_with_the_next_round(undisturbed):
    def killed(policy):
        raise KeyboardInterrupt

    store = MemoryExperienceStore()
    with pytest.raises(KeyboardInterrupt):
        run(store, Machine(), publish=killed)
    assert store.count() == TRIALS / ROUNDS
    second = Machine()
    run(store, second)

    assert trials(store) == trials(undisturbed)
    assert second.count == TRIALS - TRIALS / ROUNDS


def test_a_run_that_has_ended_learns_the_same_again_and_runs_nothing():
    store, machine = MemoryExperienceStore(), Machine()
    learners = [SpyLearner(), SpyLearner()]
    for learner in learners:
        run(store, machine, learner=learner)

    assert machine.count == TRIALS
    assert learners[0].lessons == learners[1].lessons


def test_a_crashed_trial_is_tried_once_more_when_the_run_goes_on():
    def crashing(spec):
        return shown(spec, TrialStatus.CRASHED if spec.arm == ARMS[0] else TrialStatus.COMPLETED)

    store = MemoryExperienceStore()
    run(store, ScriptedExecutor(crashing), rounds=1)
    mended = ScriptedExecutor(shown)
    run(store, mended, rounds=1)

    assert [spec.arm for spec in mended.started] == [ARMS[0]] * len(TARGETS)
    assert {status for _, status, _ in trials(store)} == {TrialStatus.COMPLETED}


# What other runs left


def test_what_other_runs_left_in_the_store_changes_no_proposal(undisturbed):
    shared = MemoryExperienceStore()
    run(shared, Machine(), run="other", trials_per_round=6, rounds=1)
    reports = []
    run(shared, Machine(), on_round=reports.append)

    assert proposed(shared) == proposed(undisturbed)
    assert [(report.trials, report.fresh) for report in reports] == [(6, 0), (6, 3), (6, 3)], "the pool is known"


@pytest.mark.parametrize("status", [TrialStatus.STOPPED, TrialStatus.CRASHED])
def test_a_trial_that_a_search_left_unfinished_is_run_to_its_end(undisturbed, status):
    shared, machine = MemoryExperienceStore(), Machine()
    for spec in undisturbed.proposals("r", 0):
        result = dataclasses.replace(shown(spec, status), test_score=None)
        row = Experience(result=result, target_features={}, pair_features={}, provenance=provenance("search"))
        shared.append([row])
    run(shared, machine)

    assert proposed(shared) == proposed(undisturbed)
    assert trials(shared) == trials(undisturbed)
    assert machine.count == TRIALS


def test_two_runs_of_different_names_keep_their_own_proposals():
    store = MemoryExperienceStore()
    run(store, Machine())
    run(store, Machine(), run="bold", exploration=1.0)

    assert store.proposals("bold", 1) != store.proposals("r", 1)


def test_a_run_that_was_begun_with_other_targets_is_not_gone_on_with():
    store, machine = MemoryExperienceStore(), Machine()
    run(store, Machine(), rounds=1)

    with pytest.raises(InputError, match=r"run 'r' was begun with grek\..*another name"):
        run(store, machine, targets=TARGETS[1:])
    assert machine.count == 0


# What is learned


def test_a_policy_that_the_gate_refuses_is_not_published_and_the_rounds_go_on():
    published: list[object] = []
    reports = []
    verdicts = iter((ACCEPT, REFUSE, ACCEPT))
    store, learner = MemoryExperienceStore(), SpyLearner()
    last = run(
        store,
        Machine(),
        gate=lambda before, after: next(verdicts),
        learner=learner,
        publish=published.append,
        on_round=reports.append,
    )

    assert [report.gate.is_accepted for report in reports] == [True, False, True]
    assert len(published) == 2
    assert published[-1] is last
    assert [len(lesson) for lesson in learner.lessons] == [6, 18], "all three rounds are learned from in the end"
    assert [len(specs) for specs in proposed(store)] == [6, 6, 6]


def test_the_policy_in_force_stays_where_the_last_round_is_refused():
    published: list[object] = []
    verdicts = iter((ACCEPT, REFUSE, REFUSE))
    last = run(MemoryExperienceStore(), Machine(), gate=lambda before, after: next(verdicts), publish=published.append)

    assert published == [last]


def test_the_gate_compares_with_the_experience_of_the_policy_in_force():
    compared = []

    def gate(before, after):
        compared.append((len(before), len(after)))
        return REFUSE if len(compared) == 2 else ACCEPT

    run(MemoryExperienceStore(), Machine(), gate=gate)

    assert compared == [(0, 6), (6, 12), (6, 18)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": 0}, "give 1 or more"),
        ({"trials_per_round": 0}, "give 1 or more"),
        ({"exploration": 1.5}, "give 0 to 1"),
        ({"exploration": -0.1}, "give 0 to 1"),
        ({"exploration": float("nan")}, "give 0 to 1"),
        ({"arms": ()}, "pool of arms is empty"),
    ],
)
def test_a_plan_that_can_do_nothing_is_refused(changes, message):
    with pytest.raises(InputError, match=f"meta-train: .*{message}"):
        run(MemoryExperienceStore(), Machine(), **changes)
