import dataclasses
from collections.abc import Iterator

import pytest

from transmeta.core.experience import MetaFeatures, Provenance
from transmeta.core.trial import Arm, StrategySpec, TrialResult, TrialStatus
from transmeta.errors import InputError
from transmeta.experiments.meta_train import GateReport, MetaTrainPlan, meta_train
from transmeta.experiments.run import Workbench
from transmeta.policies.portfolio import PortfolioLearner
from transmeta.stores.memory import MemoryExperienceStore
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


class NoFreshArms:
    def propose(self, *, sources, count, seed):
        return ()


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
                score = int(spec.id[:6], 16) / 16**6
                result = TrialResult(spec=spec, status=TrialStatus.COMPLETED, score=score, test_score=score, cost_s=1.0)
                search.tell(result)
                yield result


def run(store, machine, *, gate=lambda before, after: ACCEPT, targets=TARGETS, published=None, **changes):
    learner = PortfolioLearner(proposer=NoFreshArms())
    plan = MetaTrainPlan(**({"run": "r", "rounds": 2, "trials_per_round": 2, "arms": ARMS, "seed": 1} | changes))
    provenance = Provenance(version="1", run="r", executor="machine", created_at="2026-01-01T00:00:00Z")
    return meta_train(
        targets,
        features=FEATURES,
        plan=plan,
        learner=learner,
        gate=gate,
        log=store,
        bench=Workbench(executor=machine, store=store, provenance=lambda: provenance),
        publish=(published if published is not None else []).append,
    )


def trials(store):
    return sorted((row.id, row.result.score) for row in store.read())


def test_each_round_tries_the_stated_number_of_arms_on_each_target():
    store = MemoryExperienceStore()
    run(store, Machine())

    assert len(store.read()) == 2 * 2 * len(TARGETS)
    assert {len(store.proposals("r", index)) for index in (0, 1)} == {2 * len(TARGETS)}


def test_the_first_round_tries_the_beginning_of_the_pool_on_every_target():
    store = MemoryExperienceStore()
    run(store, Machine(), rounds=1)

    assert {spec.arm.key for spec in store.proposals("r", 0)} == {arm.key for arm in ARMS[:2]}


def test_killed_after_any_trial_and_run_again_it_ends_with_the_trials_of_an_undisturbed_run():
    undisturbed = MemoryExperienceStore()
    run(undisturbed, Machine())

    for breaks_after in range(len(undisturbed.read())):
        store, first = MemoryExperienceStore(), Machine(breaks_after=breaks_after)
        with pytest.raises(KeyboardInterrupt):
            run(store, first)
        second = Machine()
        run(store, second)
        assert trials(store) == trials(undisturbed)
        assert first.count + second.count == len(undisturbed.read())


def test_what_other_runs_left_in_the_store_changes_no_proposal():
    alone, shared = MemoryExperienceStore(), MemoryExperienceStore()
    run(shared, Machine(), run="other", trials_per_round=6, rounds=1)
    run(alone, Machine())
    run(shared, Machine())

    assert [shared.proposals("r", i) for i in (0, 1)] == [alone.proposals("r", i) for i in (0, 1)]


def test_a_policy_that_the_gate_refuses_is_not_published_and_the_rounds_go_on():
    published: list[object] = []
    verdicts = iter((ACCEPT, REFUSE, ACCEPT))
    store = MemoryExperienceStore()
    run(store, Machine(), gate=lambda before, after: next(verdicts), rounds=3, published=published)

    assert len(published) == 2
    assert store.proposals("r", 2) is not None


def test_a_source_that_is_barred_for_a_target_is_never_proposed():
    barred = FEATURES[TARGETS[0].id]
    features = MetaFeatures(target_id=barred.target_id, target=barred.target, pairs={"icons": {}})
    FEATURES_BEFORE = FEATURES[TARGETS[0].id]
    FEATURES[TARGETS[0].id] = features
    try:
        store = MemoryExperienceStore()
        run(store, Machine())
    finally:
        FEATURES[TARGETS[0].id] = FEATURES_BEFORE

    sources = {row.arm.source for row in store.read() if row.result.spec.target == TARGETS[0]}
    assert sources == {"icons"}


@pytest.mark.parametrize("changes", [{"rounds": 0}, {"trials_per_round": 0}, {"exploration": 1.5}, {"arms": ()}])
def test_a_plan_that_can_do_nothing_is_refused(changes):
    with pytest.raises(InputError, match="meta-train"):
        run(MemoryExperienceStore(), Machine(), **changes)
