import dataclasses

import pytest

from transmeta.core.experience import Experience, MetaFeatures, Provenance
from transmeta.core.trial import TrialStatus, Verdict
from transmeta.experiments.run import Workbench, known_results, run
from transmeta.experiments.search import Halving, PolicySearch, ReplaySearch
from transmeta.stores.memory import MemoryExperienceStore
from transmeta.testing.fakes import ListPolicy, ScriptedExecutor, scripted_result

from .cases import FEATURES, TARGET, arms, flat, ids, script, spec_of, specs, statuses

ALL = {TARGET.id: FEATURES}


class FullStore:
    """A store whose disk is full at the third row."""

    def __init__(self) -> None:
        self.inner = MemoryExperienceStore()

    def append(self, experience):
        if self.inner.count() == 2:
            raise OSError("disk full")
        return self.inner.append(experience)

    def read(self, *, targets=None):
        return self.inner.read(targets=targets)


class StopAt:
    """One trial, which is stopped after an epoch."""

    def __init__(self, spec, epoch) -> None:
        self.inner = ReplaySearch([spec])
        self.epoch = epoch
        self.rungs = (epoch / 9,)

    def ask(self, *, count):
        return self.inner.ask(count=count)

    def report(self, trial, measurement):
        return Verdict.STOP if measurement.epoch >= self.epoch else Verdict.CONTINUE

    def tell(self, result):
        self.inner.tell(result)


def provenance(run: str = "test") -> Provenance:
    return Provenance(version="0", run=run, executor="scripted", created_at="2026-01-01T00:00:00Z")


def bench(store=None, *, executor=None, on_result=lambda result: None) -> Workbench:
    return Workbench(
        executor=executor or ScriptedExecutor(script),
        store=MemoryExperienceStore() if store is None else store,
        provenance=provenance,
        on_result=on_result,
    )


def test_each_result_is_stored_with_what_was_known_before_it():
    store = MemoryExperienceStore()

    results = run(ReplaySearch(specs(3)), bench=bench(store), features=ALL)

    assert sorted(ids(results)) == [row.id for row in store.read()]
    for row in store.read():
        assert (row.target_features, row.pair_features) == ({"a": 1.0}, {"logme": 0.5})
        assert row.provenance == provenance()
        assert row.result == script(row.result.spec)


def test_a_source_without_features_is_stored_without_them():
    store = MemoryExperienceStore()
    features = MetaFeatures(target_id=TARGET.id, target={"a": 1.0}, pairs={})

    run(ReplaySearch(specs(1)), bench=bench(store), features={TARGET.id: features})

    assert store.read()[0].pair_features == {}


def test_a_result_is_stored_before_the_next_trial_starts():
    store = MemoryExperienceStore()
    counts = []

    def count_and_show(spec):
        counts.append(store.count())
        return script(spec)

    run(ReplaySearch(specs(4)), bench=bench(store, executor=ScriptedExecutor(count_and_show)), features=ALL)

    assert counts == [0, 1, 2, 3]


class AtOnce:
    """Ends all trials together."""

    def drive(self, search):
        results = [script(spec) for spec in search.ask(count=100)]
        for result in results:
            search.tell(result)
        yield from results


def test_results_that_come_together_are_stored_together_before_the_first_is_shown():
    store = MemoryExperienceStore()
    counts = []

    fresh = run(
        ReplaySearch(specs(4)),
        bench=bench(store, executor=AtOnce(), on_result=lambda result: counts.append(store.count())),
        features=ALL,
    )

    assert counts == [4, 4, 4, 4]
    assert sorted(ids(fresh)) == [row.id for row in store.read()]


def test_progress_is_shown_after_a_result_was_stored():
    store = MemoryExperienceStore()
    shown = []

    run(
        ReplaySearch(specs(3)),
        bench=bench(store, on_result=lambda result: shown.append((result.spec.id, store.count()))),
        features=ALL,
    )

    assert shown == [(spec.id, index + 1) for index, spec in enumerate(specs(3))]


def test_a_store_that_fails_ends_the_run_with_what_it_acknowledged():
    store, executor = FullStore(), ScriptedExecutor(script)
    shown = []

    with pytest.raises(OSError, match="disk full"):
        run(ReplaySearch(specs(5)), bench=bench(store, executor=executor, on_result=shown.append), features=ALL)

    assert store.inner.count() == 2
    assert len(shown) == 2
    assert len(executor.started) == 3, "nothing starts after the result that could not be stored"


def test_an_executor_is_closed_when_a_run_ends_early():
    closed = []

    class Closing:
        name = "closing"

        def drive(self, search):
            try:
                yield from ScriptedExecutor(script).drive(search)
            finally:
                closed.append(True)

    with pytest.raises(OSError, match="disk full") as caught:
        run(ReplaySearch(specs(5)), bench=bench(FullStore(), executor=Closing()), features=ALL)

    assert closed, "while the traceback still holds its frames"
    assert caught.value


def test_running_again_runs_only_what_is_missing():
    store = MemoryExperienceStore()
    run(ReplaySearch(specs(3)), bench=bench(store), features=ALL)
    executor = ScriptedExecutor(script)

    fresh = run(ReplaySearch(specs(5)), bench=bench(store, executor=executor), features=ALL)

    assert ids(fresh) == [spec.id for spec in executor.started] == [spec.id for spec in specs(5)[3:]]
    assert store.count() == 5


def test_a_run_that_was_killed_anywhere_goes_on_to_the_same_end():
    def search() -> PolicySearch:
        return PolicySearch(
            TARGET, features=FEATURES, policy=ListPolicy(arms=arms(30)), trials=12, halving=Halving(), seed=0
        )

    whole = search()
    run(whole, bench=bench(), features=ALL)
    for survived in (1, 4, 7):
        store = MemoryExperienceStore()

        def die(result, *, store=store, survived=survived):
            if store.count() == survived:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(search(), bench=bench(store, on_result=die), features=ALL)
        resumed = search()
        fresh = run(resumed, bench=bench(store), features=ALL)

        assert len(fresh) == 12 - survived
        assert resumed.results == whole.results


@pytest.mark.parametrize("status", [TrialStatus.FAILED, TrialStatus.CRASHED])
def test_a_trial_without_a_result_does_not_end_the_search(status):
    bad = specs(4)[1].id

    def show(spec):
        return scripted_result(spec, values=(), status=status, reason="r") if spec.id == bad else script(spec)

    store = MemoryExperienceStore()
    results = run(ReplaySearch(specs(4)), bench=bench(store, executor=ScriptedExecutor(show)), features=ALL)

    assert statuses(results) == [TrialStatus.COMPLETED, status, TrialStatus.COMPLETED, TrialStatus.COMPLETED]
    assert store.count() == 4


def test_where_the_model_was_kept_is_not_stored():
    store = MemoryExperienceStore()

    def show(spec):
        return dataclasses.replace(script(spec), checkpoint="/somewhere/on/this/machine")

    (result,) = run(ReplaySearch(specs(1)), bench=bench(store, executor=ScriptedExecutor(show)), features=ALL)

    assert result.checkpoint == "/somewhere/on/this/machine"
    assert store.read()[0].result.checkpoint is None


def test_a_stopped_trial_is_replaced_when_it_is_run_to_its_end():
    store = MemoryExperienceStore()
    stopped = flat(specs(1)[0], 0.5, status=TrialStatus.STOPPED)
    row = Experience(result=stopped, target_features={}, pair_features={}, provenance=provenance())
    store.append([row])

    run(ReplaySearch(specs(1)), bench=bench(store), features=ALL)

    assert statuses([row.result for row in store.read()]) == [TrialStatus.COMPLETED]


def test_a_trial_that_is_stopped_later_than_before_is_not_paid_for_again():
    store = MemoryExperienceStore()
    spec = specs(1)[0]

    def stop_at(epoch):
        executor = ScriptedExecutor(script)
        run(StopAt(spec, epoch), bench=bench(store, executor=executor), features=ALL)
        return len(executor.started)

    assert [stop_at(1), stop_at(3), stop_at(3), stop_at(2)] == [1, 1, 0, 0]
    assert [m.epoch for m in store.read()[0].result.curve] == [1, 2, 3]


def test_known_results_are_those_of_the_targets_by_id():
    store = MemoryExperienceStore()
    run(ReplaySearch(specs(2)), bench=bench(store), features=ALL)

    assert set(known_results(store, targets=(TARGET.id,))) == {spec.id for spec in specs(2)}
    assert known_results(store, targets=("other",)) == {}


def test_a_trial_of_another_seed_is_another_trial():
    store = MemoryExperienceStore()
    run(ReplaySearch([spec_of(arms(1)[0], seed=0)]), bench=bench(store), features=ALL)

    assert len(run(ReplaySearch([spec_of(arms(1)[0], seed=1)]), bench=bench(store), features=ALL)) == 1
