import dataclasses
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transmeta.core.protocols import Search
from transmeta.core.task import Direction, Metric
from transmeta.core.trial import TrialResult, TrialStatus, Verdict
from transmeta.experiments.search import GENERATION, Deadline, Halving, PolicySearch, Recall, ReplaySearch
from transmeta.testing.fakes import CountingClock, ListPolicy, ScriptedExecutor, scripted_result

from .cases import FEATURES, TARGET, arms, flat, ids, measurement, script, spec_of, specs, statuses

CONTINUE, STOP = Verdict.CONTINUE, Verdict.STOP
LOSS = Metric(name="log_loss", direction=Direction.MINIMISE)


def policy_search(
    *, trials: int = 12, halving: Halving | None = None, count: int = 30, target=TARGET, seed: int = 0
) -> PolicySearch:
    return PolicySearch(
        target, features=FEATURES, policy=ListPolicy(arms=arms(count)), trials=trials, halving=halving, seed=seed
    )


def outcome(search: PolicySearch) -> list[tuple[str, TrialStatus, float | None, int]]:
    """What a search found, without wall times."""
    return [(r.spec.id, r.status, r.score, len(r.curve)) for r in search.results]


# Halving


@pytest.mark.parametrize(
    ("utility", "earlier", "expected"),
    [
        (0.0, [], CONTINUE),
        (0.0, [0.9, 0.9], CONTINUE),
        (0.9, [0.1, 0.5, 0.9], CONTINUE),
        (0.89, [0.1, 0.5, 0.9], STOP),
        (1.0, [0.1, 0.5, 0.9], CONTINUE),
        (0.5, [0.1, 0.2, 0.5, 0.9], CONTINUE),
        (0.49, [0.1, 0.2, 0.5, 0.9], STOP),
        (0.8, [0.1, 0.2, 0.3, 0.4, 0.8, 0.9], CONTINUE),
        (0.7, [0.1, 0.2, 0.3, 0.4, 0.8, 0.9], STOP),
        (-0.3, [-0.3, -0.4, -0.5], CONTINUE),
        (-0.31, [-0.3, -0.4, -0.5], STOP),
        (0.5, [0.5, 0.5, 0.5], CONTINUE),
    ],
)
def test_a_trial_goes_on_if_it_is_among_the_best_third_of_those_before(utility, earlier, expected):
    assert Halving(eta=3).verdict(utility, earlier=earlier) is expected


@given(st.floats(0, 1), st.lists(st.floats(0, 1), max_size=20), st.randoms())
def test_a_verdict_does_not_depend_on_the_order_of_those_before(utility, earlier, shuffler):
    mixed = shuffler.sample(earlier, len(earlier))

    assert Halving().verdict(utility, earlier=earlier) is Halving().verdict(utility, earlier=mixed)


@given(st.lists(st.floats(0, 1), min_size=3, max_size=30), st.integers(2, 5))
def test_a_share_of_one_in_eta_goes_on_where_none_are_equal(earlier, eta):
    earlier = sorted(set(earlier))
    passed = [value for value in earlier if Halving(eta=eta).verdict(value, earlier=earlier) is CONTINUE]

    if len(earlier) >= eta:
        assert len(passed) == -(-len(earlier) // eta)


def test_the_best_so_far_always_goes_on():
    assert Halving(eta=3).verdict(0.91, earlier=[0.9] * 50) is CONTINUE


# Replay


def test_a_replay_runs_each_trial_of_its_list_once_and_to_its_end():
    first, second, third = specs(3)
    search = ReplaySearch([first, second, first, third])

    results = list(ScriptedExecutor(script, slots=2).drive(search))

    assert sorted(ids(results)) == sorted(spec.id for spec in (first, second, third))
    assert statuses(results) == [TrialStatus.COMPLETED] * 3
    assert search.results == results
    assert list(search.ask(count=3)) == []


def test_a_replay_hands_out_as_many_as_are_asked_for_in_order():
    listed = specs(5)
    search = ReplaySearch(listed)

    assert [list(search.ask(count=2)) for _ in range(4)] == [listed[:2], listed[2:4], listed[4:], []]


# Policy search


def test_a_search_asks_for_as_many_trials_as_it_may_and_not_one_more():
    for trials in (1, 3, 4, 5, 9):
        executor = ScriptedExecutor(script)
        search = policy_search(trials=trials)
        list(executor.drive(search))

        assert len(executor.started) == len(search.results) == trials


def test_a_generation_is_proposed_when_all_of_the_last_was_told():
    search = policy_search()
    first = search.ask(count=10)
    assert len(first) == GENERATION

    for spec in first[:-1]:
        search.tell(script(spec))
        assert list(search.ask(count=10)) == []
    search.tell(script(first[-1]))

    assert [spec.strategy.params["rank"] for spec in search.ask(count=10)] == [5, 6, 7, 8]


def test_later_generations_wait_for_all_before_them_but_the_last():
    search = policy_search(trials=40)
    for _ in range(3):
        for spec in search.ask(count=10):
            search.tell(script(spec))

    fourth, fifth = search.ask(count=10), search.ask(count=10)

    assert len(fourth) == len(fifth) == GENERATION
    assert [spec.strategy.params["rank"] for spec in fifth] == [17, 18, 19, 20]
    for spec in fifth:
        search.tell(script(spec))
    assert list(search.ask(count=10)) == []
    for spec in fourth:
        search.tell(script(spec))
    assert [spec.strategy.params["rank"] for spec in search.ask(count=10)] == [21, 22, 23, 24]


def test_generations_grow_to_an_eighth_of_all_before_them():
    search = policy_search(trials=70, count=70)
    sizes = []
    while asked := search.ask(count=100):
        sizes.append(len(asked))
        for spec in asked:
            search.tell(script(spec))

    assert sizes == [4] * 10 + [5, 5, 6, 7, 7]


def test_a_search_that_runs_out_of_arms_ends_the_same_on_any_number_of_slots():
    def run(slots: int) -> PolicySearch:
        search = policy_search(trials=24, count=18, halving=Halving())
        list(ScriptedExecutor(script, slots=slots, seed=slots).drive(search))
        return search

    reference = outcome(run(1))

    assert len(reference) == 18
    assert [outcome(run(slots)) for slots in (2, 3, 8)] == [reference] * 3


def test_a_generation_can_be_asked_for_one_by_one():
    search = policy_search()

    asked = [spec for _ in range(6) for spec in search.ask(count=1)]

    assert [spec.strategy.params["rank"] for spec in asked] == [1, 2, 3, 4]


@pytest.mark.parametrize("halving", [None, Halving(), Halving(eta=2, rungs=(1 / 3,))], ids=str)
def test_the_trials_are_the_same_on_any_number_of_slots_in_any_order(halving):
    def run(slots: int, seed: int) -> PolicySearch:
        search = policy_search(trials=24, halving=halving)
        list(ScriptedExecutor(script, slots=slots, seed=seed).drive(search))
        return search

    reference = outcome(run(slots=1, seed=0))

    assert len(reference) == 24
    if halving is not None:
        assert {status for _, status, _, _ in reference} == {TrialStatus.COMPLETED, TrialStatus.STOPPED}
    for slots, seed in ((1, 1), (2, 0), (4, 0), (4, 1), (16, 2)):
        assert outcome(run(slots, seed)) == reference


def test_results_come_in_the_order_of_their_proposal():
    search = policy_search(trials=4)
    asked = list(search.ask(count=4))
    for spec in reversed(asked):
        search.tell(script(spec))

    assert ids(search.results) == [spec.id for spec in asked]


def test_a_search_stops_what_is_not_among_the_best_at_a_rung():
    search = policy_search(halving=Halving(rungs=(1 / 9, 1 / 3)))
    first = search.ask(count=4)
    for spec, value in zip(first, (0.2, 0.4, 0.6, 0.8), strict=True):
        assert search.report(spec.id, measurement(value)) is CONTINUE, "nothing to compare with"
        search.tell(flat(spec, value))
    (spec, *_) = search.ask(count=4)

    assert search.report(spec.id, measurement(0.59)) is STOP
    assert search.report(spec.id, measurement(0.6)) is CONTINUE
    assert search.report(spec.id, measurement(0.1, at=1)) is CONTINUE, "between the rungs nobody is judged"
    assert search.report(spec.id, measurement(0.59, at=2)) is STOP
    assert search.report(spec.id, measurement(0.1, at=8)) is CONTINUE


def test_those_of_the_same_generation_are_not_compared():
    search = policy_search(halving=Halving())
    for spec in search.ask(count=4):
        search.tell(flat(spec, 0.5))
    asked = search.ask(count=4)
    for spec in asked[:3]:
        search.tell(flat(spec, 0.9))

    assert search.report(asked[3].id, measurement(0.5)) is CONTINUE


def test_a_measurement_that_passes_two_rungs_is_judged_at_both():
    search = policy_search(halving=Halving(rungs=(0.2, 0.4)))
    for spec in search.ask(count=4):
        search.tell(scripted_result(spec, values=[0.1, 0.9, 0.9, 0.9, 0.9]))  # good at the second rung only
    (spec, *_) = search.ask(count=4)
    whole = scripted_result(spec, values=[0.5, 0.5]).curve[0]

    assert whole.reaches(0.2)
    assert whole.reaches(0.4)
    assert search.report(spec.id, whole) is STOP


def test_a_trial_that_ends_with_its_first_measurement_stops_nobody_on_the_way_and_is_not_stopped_itself():
    search = policy_search(halving=Halving())
    first = search.ask(count=4)
    for spec in first:
        search.tell(scripted_result(spec, values=[0.9]))  # as a head in closed form
    (spec, *_) = search.ask(count=4)

    assert search.report(spec.id, measurement(0.1)) is CONTINUE, "nobody was seen on the way"
    assert search.report(spec.id, scripted_result(spec, values=[0.1]).curve[0]) is CONTINUE


def test_a_closed_form_head_is_not_stopped_by_trials_that_were_measured_on_the_way():
    search = policy_search(halving=Halving())
    for spec in search.ask(count=4):
        search.tell(flat(spec, 0.9))
    (spec, *_) = search.ask(count=4)

    assert search.report(spec.id, measurement(0.1)) is STOP
    assert search.report(spec.id, scripted_result(spec, values=[0.1]).curve[0]) is CONTINUE


def test_a_loss_is_better_when_it_is_lower():
    target = dataclasses.replace(TARGET, metric=LOSS)
    search = policy_search(halving=Halving(rungs=(1 / 9,)), target=target)
    for spec, value in zip(search.ask(count=4), (0.2, 0.4, 0.6, 0.8), strict=True):
        search.tell(flat(spec, value))
    (spec, *_) = search.ask(count=4)

    assert search.report(spec.id, measurement(0.4)) is CONTINUE
    assert search.report(spec.id, measurement(0.41)) is STOP


def test_a_crash_is_never_shown_to_the_policy_and_is_not_tried_again():
    seen = []

    class Watcher:
        name = "watcher"

        def suggest(self, features, history, *, count, seed):
            seen.append(statuses(history))
            return ListPolicy(arms=arms(30)).suggest(features, history, count=count, seed=seed)

    search = PolicySearch(TARGET, features=FEATURES, policy=Watcher(), trials=8, halving=None, seed=0)
    first = search.ask(count=4)
    for spec, status in zip(first, TrialStatus, strict=True):
        search.tell(scripted_result(spec, values=(), status=status))
    second = search.ask(count=4)

    assert seen == [[], [TrialStatus.COMPLETED, TrialStatus.STOPPED, TrialStatus.FAILED]]
    assert first[3].id not in [spec.id for spec in second]


def test_a_policy_with_nothing_new_ends_the_search():
    search = policy_search(trials=12, count=6)

    results = list(ScriptedExecutor(script).drive(search))

    assert len(results) == 6


class Doubtful:
    """A policy that expects less and less: 1 / trials."""

    name = "doubtful"

    def suggest(self, features, history, *, count, seed):
        return ListPolicy(arms=arms(30)).suggest(features, history, count=count, seed=seed)

    def expected_gain(self, features, history):
        return 1 / len(history) if history else None


@pytest.mark.parametrize(("min_gain", "expected"), [(0.0, 12), (0.05, 12), (0.2, 8), (0.9, 4)])
def test_a_search_ends_once_nothing_is_expected_to_gain_enough(min_gain, expected):
    search = PolicySearch(
        TARGET, features=FEATURES, policy=Doubtful(), trials=12, halving=None, seed=0, min_gain=min_gain
    )

    results = list(ScriptedExecutor(script).drive(search))

    assert len(results) == expected
    assert search.is_settled == (expected < 12)


def test_a_policy_that_cannot_tell_what_going_on_is_worth_goes_on():
    search = PolicySearch(
        TARGET, features=FEATURES, policy=ListPolicy(arms=arms(30)), trials=12, halving=None, seed=0, min_gain=0.9
    )

    assert len(list(ScriptedExecutor(script).drive(search))) == 12


def test_a_policy_that_repeats_itself_ends_the_search():
    class Stubborn:
        name = "stubborn"

        def suggest(self, features, history, *, count, seed):
            return ListPolicy(arms=arms(2)).suggest(features, (), count=count, seed=seed)

    search = PolicySearch(TARGET, features=FEATURES, policy=Stubborn(), trials=12, halving=None, seed=0)

    assert len(list(ScriptedExecutor(script).drive(search))) == 2


def test_each_generation_has_a_seed_of_its_own_and_the_search_reproduces_them():
    def seeds(seed: int) -> list[int]:
        seen: list[int] = []

        class Noting:
            name = "noting"

            def suggest(self, features, history, *, count, seed):
                seen.append(seed)
                return ListPolicy(arms=arms(30)).suggest(features, history, count=count, seed=seed)

        search = PolicySearch(TARGET, features=FEATURES, policy=Noting(), trials=12, halving=None, seed=seed)
        list(ScriptedExecutor(script).drive(search))
        return seen

    assert len(set(seeds(0))) == 3
    assert seeds(0) == seeds(0) != seeds(1)


def test_the_seed_of_the_trials_is_not_that_of_the_search():
    search = PolicySearch(
        TARGET, features=FEATURES, policy=ListPolicy(arms=arms(9)), trials=4, halving=None, seed=5, trial_seed=7
    )

    assert {spec.seed for spec in search.ask(count=4)} == {7}


def test_the_rungs_are_those_of_the_halving():
    assert policy_search(halving=None).rungs == ()
    assert policy_search(halving=Halving(rungs=(0.5,))).rungs == (0.5,)
    assert Recall(policy_search(halving=Halving(rungs=(0.5,))), known={}).rungs == (0.5,)
    assert Deadline(policy_search(halving=Halving(rungs=(0.5,))), clock=CountingClock(), at=1.0).rungs == (0.5,)


# Recall


class Strict:
    """Stops every trial at the measurement with this index; None for never."""

    rungs = (1 / 9,)

    def __init__(self, listed, *, at: int | None) -> None:
        self._inner = ReplaySearch(listed)
        self._at = at
        self.told: list[TrialResult] = []

    def ask(self, *, count):
        return self._inner.ask(count=count)

    def report(self, trial, measurement):
        return STOP if self._at is not None and measurement.epoch == self._at + 1 else CONTINUE

    def tell(self, result):
        self.told.append(result)


def recall(known: list[TrialResult], *, at: int | None = None, count: int = 1) -> tuple[Strict, Recall]:
    search = Strict(specs(count), at=at)
    return search, Recall(search, known={result.spec.id: result for result in known})


def cut_short(result: TrialResult, *, length: int) -> TrialResult:
    return dataclasses.replace(
        scripted_result(result.spec, values=[m.value for m in result.curve][:length], status=TrialStatus.STOPPED),
        curve=result.curve[:length],
    )


@pytest.mark.parametrize("status", [TrialStatus.COMPLETED, TrialStatus.FAILED])
def test_a_known_trial_is_told_as_it_was_and_not_run_again(status):
    known = flat(specs(1)[0], 0.5, status=status, reason="r")
    search, recalling = recall([known])

    assert list(ScriptedExecutor(script).drive(recalling)) == []
    assert search.told == recalling.recalled == [known]


def test_a_known_trial_that_failed_before_its_first_measurement_is_told():
    known = scripted_result(specs(1)[0], values=(), status=TrialStatus.FAILED, reason="no such stage")
    search, recalling = recall([known], at=0)

    assert list(recalling.ask(count=1)) == []
    assert search.told == [known]


def test_only_what_is_not_known_is_run():
    listed = specs(6)
    search, recalling = recall([script(spec) for spec in listed[1:6:2]], count=6)
    executor = ScriptedExecutor(script, slots=3)

    results = list(executor.drive(recalling))

    assert sorted(ids(results)) == sorted(spec.id for spec in listed[::2])
    assert sorted(ids(recalling.recalled)) == sorted(spec.id for spec in listed[1::2])
    assert sorted(ids(search.told)) == sorted(spec.id for spec in listed)


def test_a_crashed_trial_is_run_again():
    crashed = scripted_result(specs(1)[0], values=(), status=TrialStatus.CRASHED)
    search, recalling = recall([crashed])

    assert [spec.id for spec in recalling.ask(count=1)] == [crashed.spec.id]
    assert search.told == []


def test_a_stopped_trial_that_this_search_would_not_stop_is_run_again():
    stopped = cut_short(script(specs(1)[0]), length=3)
    search, recalling = recall([stopped], at=None)

    (result,) = ScriptedExecutor(script).drive(recalling)

    assert result.status is TrialStatus.COMPLETED
    assert search.told == [result]


def test_a_stopped_trial_that_this_search_would_stop_later_is_run_again():
    stopped = cut_short(script(specs(1)[0]), length=3)
    _, recalling = recall([stopped], at=5)

    (result,) = ScriptedExecutor(script).drive(recalling)

    assert (result.status, len(result.curve)) == (TrialStatus.STOPPED, 6)


def test_a_stopped_trial_that_this_search_stops_there_too_is_told_as_it_was():
    stopped = cut_short(script(specs(1)[0]), length=3)
    search, recalling = recall([stopped], at=2)

    assert list(recalling.ask(count=1)) == []
    assert search.told == [stopped]


@pytest.mark.parametrize("status", [TrialStatus.COMPLETED, TrialStatus.STOPPED, TrialStatus.FAILED])
def test_a_trial_that_this_search_would_have_stopped_earlier_is_told_as_if_it_had(status):
    known = dataclasses.replace(script(specs(1)[0]), status=status, checkpoint="somewhere")
    search, recalling = recall([known], at=2)

    assert list(recalling.ask(count=1)) == []

    (told,) = search.told
    assert (told.status, told.curve) == (TrialStatus.STOPPED, known.curve[:3])
    assert (told.score, told.test_score) == (known.curve[2].value, None)
    assert (told.cost_s, told.wall_s) == (3.0, 3.0)
    assert told.checkpoint is None, "the model that was kept is that of the end"
    assert told.reason == "stopped by the search"


@pytest.mark.parametrize("known_share", [0.0, 0.3, 1.0])
def test_a_search_that_recalls_decides_as_if_it_had_run_everything(known_share):
    halving = Halving()
    alone = policy_search(trials=20, halving=halving)
    list(ScriptedExecutor(script).drive(alone))
    complete = policy_search(trials=20, halving=None)
    list(ScriptedExecutor(script).drive(complete))
    chosen = random.Random(0).sample(complete.results, int(known_share * 20))

    again = policy_search(trials=20, halving=halving)
    executor = ScriptedExecutor(script, slots=3)
    list(executor.drive(Recall(again, known={result.spec.id: result for result in chosen})))

    assert outcome(again) == outcome(alone)
    assert len(executor.started) == 20 - len(chosen)


# Deadline


def test_nothing_starts_after_the_deadline():
    clock = CountingClock()
    search = Deadline(ReplaySearch(specs(5)), clock=clock, at=10.0)
    assert len(search.ask(count=1)) == 1

    clock.advance(10.0)

    assert list(search.ask(count=1)) == []


def test_a_running_trial_is_stopped_at_its_first_measurement_after_the_deadline():
    clock = CountingClock()
    search = Deadline(ReplaySearch(specs(1)), clock=clock, at=10.0)
    (spec,) = search.ask(count=1)

    clock.advance(9.9)
    assert search.report(spec.id, measurement(0.5)) is CONTINUE
    clock.advance(0.1)
    assert search.report(spec.id, measurement(0.5)) is STOP


def test_before_the_deadline_the_search_decides():
    search = Deadline(Strict(specs(1), at=0), clock=CountingClock(), at=10.0)

    assert search.report(specs(1)[0].id, measurement(0.5, at=0)) is STOP
    assert search.report(specs(1)[0].id, measurement(0.5, at=1)) is CONTINUE


def test_nothing_starts_that_would_not_be_half_done_by_the_deadline():
    clock = CountingClock()
    search = Deadline(ReplaySearch(specs(5)), clock=clock, at=20.0)
    (spec,) = search.ask(count=1)
    search.tell(flat(spec, 0.5))  # took 9 s

    clock.advance(15.4)
    assert len(search.ask(count=1)) == 1
    clock.advance(0.2)

    assert list(search.ask(count=1)) == []


def test_trials_that_did_not_complete_say_nothing_about_how_long_one_takes():
    clock = CountingClock()
    search = Deadline(ReplaySearch(specs(5)), clock=clock, at=20.0)
    for status in (TrialStatus.STOPPED, TrialStatus.FAILED, TrialStatus.CRASHED):
        (spec,) = search.ask(count=1)
        search.tell(dataclasses.replace(flat(spec, 0.5, status=status), wall_s=1e6))

    assert len(search.ask(count=1)) == 1


def test_a_search_under_a_deadline_ends_with_what_it_has():
    clock = CountingClock(step_s=1.0)
    inner = policy_search(trials=100)

    results = list(ScriptedExecutor(script, slots=2).drive(Deadline(inner, clock=clock, at=50.0)))

    assert 0 < len(results) < 100
    assert inner.results
    assert set(statuses(results)) == {TrialStatus.COMPLETED, TrialStatus.STOPPED}


@pytest.mark.parametrize(
    "wrap",
    [lambda inner: Recall(inner, known={}), lambda inner: Deadline(inner, clock=CountingClock(), at=1.0)],
    ids=["recall", "deadline"],
)
def test_a_wrapped_search_hears_of_its_results(wrap: Callable[[Search], Search]):
    inner = policy_search()
    search = wrap(inner)
    asked = list(search.ask(count=2))
    for spec in asked:
        search.tell(flat(spec, 0.5))

    assert ids(inner.results) == [spec.id for spec in asked]


def test_the_trial_of_an_arm_is_on_the_target_from_the_arms_source():
    (spec,) = policy_search().ask(count=1)

    assert spec == spec_of(arms(1)[0])
