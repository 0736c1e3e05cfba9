"""Units between a search and workers that are made up: what is asked for, retried, split and told."""

import dataclasses
import random

import pytest

from transmeta.core.trial import Measurement, TrialResult, TrialStatus, Verdict
from transmeta.execution.dispatch import ATTEMPTS, BRISK_S, TRIALS_AHEAD, Dispatch
from transmeta.testing.executor_cases import RecordingSearch, probe
from transmeta.trials.planning import OneByOne
from transmeta.trials.unit import MemberMeasurement, Tier, UnitSpec, UnitStep

SHOWN = Measurement(epoch=1, progress=0.5, progress_before=0.0, value=0.5, train_loss=1.0, cost_s=0.1, wall_s=0.1)


class InStacks:
    """Makes stacks of a size, and remembers what it observed."""

    def __init__(self, size):
        self._size = size
        self.observed = []

    def units(self, specs, *, workers):
        return [
            UnitSpec(members=tuple(specs[begin : begin + self._size]), tier=Tier.STACK)
            for begin in range(0, len(specs), self._size)
        ]

    def observe(self, unit, *, results, busy_s):
        self.observed.append((unit, results, busy_s))


class Dividing:
    """Divides whatever it may, but for the first plans."""

    def __init__(self, *, whole=0):
        self._whole = whole

    def units(self, specs, *, workers):
        self._whole -= 1
        return [UnitSpec(members=(spec,)) for spec in specs]

    def divided(self, units, *, workers):
        return units if self._whole >= 0 else [dataclasses.replace(unit, tier=Tier.DIVIDED) for unit in units]

    def observe(self, unit, *, results, busy_s):
        """Learns nothing."""


class CountingSearch(RecordingSearch):
    """Remembers how many trials it was asked for."""

    def __init__(self, specs, **options):
        super().__init__(specs, at_once=10**6, **options)
        self.counts = []

    def ask(self, *, count):
        self.counts.append(count)
        return super().ask(count=count)


@pytest.fixture(scope="module")
def specs():
    return [probe(seed=seed) for seed in range(12)]


def dispatch_of(specs, *, size=1, workers=2, **options):
    search = CountingSearch(specs, **options)
    planner = OneByOne() if size == 1 else InStacks(size)
    dispatch = Dispatch(search, planner=planner, workers=workers)
    dispatch.replenish()
    return dispatch, search, planner


def completed(spec):
    return TrialResult(spec=spec, status=TrialStatus.COMPLETED, score=0.5, test_score=0.5)


def shown(*specs):
    return UnitStep(measurements=tuple(MemberMeasurement(trial=spec.id, measurement=SHOWN) for spec in specs))


def finish(dispatch, assignment, *, busy_s=0.1):
    step = UnitStep(results=tuple(completed(spec) for spec in assignment.running))
    return dispatch.absorb(assignment, step, is_done=True, busy_s=busy_s)


def sizes(dispatch):
    """Takes all that waits, and returns the units' sizes and tiers."""
    taken = []
    while assignment := dispatch.take(beside=()):
        taken.append((len(assignment.unit.members), assignment.unit.tier))
    return taken


def test_what_is_told_has_the_curve_that_was_shown_and_is_over_when_all_is_told(specs):
    dispatch, search, planner = dispatch_of(specs[:4], size=4)
    assignment = dispatch.take(beside=())

    dispatch.absorb(assignment, shown(*specs[:4]), is_done=False, busy_s=0.25)
    results, _ = finish(dispatch, assignment, busy_s=0.5)

    assert results == search.told
    assert [result.curve for result in results] == [(SHOWN,)] * 4
    assert dispatch.is_over
    assert planner.observed == [(assignment.unit, tuple(results), 0.75)]


def test_members_that_the_search_stops_are_named_unless_they_have_ended(specs):
    first, second, third = specs[:3]
    dispatch, search, _ = dispatch_of([first, second, third], size=3, stopped_at={first.id: 0.5, second.id: 0.5})
    assignment = dispatch.take(beside=())
    step = UnitStep(measurements=shown(first, second, third).measurements, results=(completed(second),))

    results, stops = dispatch.absorb(assignment, step, is_done=False, busy_s=0.1)

    assert stops == (first.id,)
    assert [result.spec for result in results] == [second]
    assert search.report(first.id, SHOWN) is Verdict.STOP


def test_a_unit_is_retried_whole_and_then_member_by_member_without_those_that_have_ended(specs):
    dispatch, search, _ = dispatch_of(specs[:4], size=4)
    first = dispatch.take(beside=())
    step = UnitStep(measurements=shown(*specs[:4]).measurements, results=(completed(specs[0]),))
    dispatch.absorb(first, step, is_done=False, busy_s=0.1)

    assert dispatch.lose(first, reason="killed") == ()
    second = dispatch.take(beside=())
    assert (second.unit.members, second.unit.tier) == (tuple(specs[1:4]), Tier.STACK)

    assert dispatch.lose(second, reason="killed") == ()
    assert sizes(dispatch) == [(1, Tier.SINGLE)] * 3
    assert [result.spec for result in search.told] == [specs[0]]


def test_a_member_that_fails_every_time_is_quarantined_and_told_once(specs):
    dispatch, search, planner = dispatch_of(specs[:3], size=3)
    culprit = specs[1]

    while not dispatch.is_over:
        assignment = dispatch.take(beside=())
        if culprit in assignment.running:
            dispatch.lose(assignment, reason="killed")
        else:
            finish(dispatch, assignment)

    told = {result.spec.id: result for result in search.told}
    assert len(told) == len(search.told) == 3
    assert told[culprit.id].status is TrialStatus.CRASHED
    assert told[culprit.id].reason == f"quarantined: its worker failed {ATTEMPTS} times, at last: killed"
    assert told[specs[0].id].status is told[specs[2].id].status is TrialStatus.COMPLETED
    assert planner.observed == [], "units that were disturbed say nothing about costs"


def test_divided_units_have_all_workers_one_after_another(specs):
    search = RecordingSearch(specs[:2])
    dispatch = Dispatch(search, planner=Dividing(), workers=4, divides=True)
    dispatch.replenish()

    assert dispatch.take(beside=()) is None
    first = dispatch.take_divided()
    assert dispatch.take_divided() is None, "the workers are taken"
    verdict = dispatch.show(first, shown(specs[0]).measurements[0])
    finish(dispatch, first)
    second = dispatch.take_divided()

    assert verdict is Verdict.CONTINUE
    assert [first.unit.members, second.unit.members] == [(specs[0],), (specs[1],)]
    assert search.told[0].curve == (SHOWN,)


@pytest.mark.parametrize(("divides", "whole"), [(False, 0), (True, 1)], ids=["it cannot be", "workers are busy"])
def test_nothing_is_divided_where(specs, divides, whole):
    search = RecordingSearch(specs[:3], at_once=2)
    dispatch = Dispatch(search, planner=Dividing(whole=whole), workers=2, divides=divides)
    dispatch.replenish()
    first, _ = dispatch.take(beside=()), dispatch.take(beside=())
    finish(dispatch, first)

    dispatch.replenish()

    assert dispatch.take_divided() is None
    assert dispatch.take(beside=()).unit == UnitSpec(members=(specs[2],))


def test_a_worker_that_was_taken_away_is_not_held_against_its_unit(specs):
    dispatch, search, _ = dispatch_of(specs[:2], size=2)

    for _ in range(5):
        dispatch.put_back(dispatch.take(beside=()))
    assignment = dispatch.take(beside=())
    finish(dispatch, assignment)

    assert not assignment.is_suspect
    assert [result.status for result in search.told] == [TrialStatus.COMPLETED] * 2


def test_a_suspect_has_its_worker_to_itself_and_goes_first(specs):
    dispatch, _, _ = dispatch_of(specs)
    finish(dispatch, dispatch.take(beside=()))
    lost, other = dispatch.take(beside=()), dispatch.take(beside=())
    dispatch.lose(lost, reason="killed")

    assert dispatch.take(beside=(other,)) is None
    again = dispatch.take(beside=())
    assert again.running == lost.running
    assert dispatch.take(beside=(again,)) is None
    assert dispatch.take(beside=(other,)) is not None


@pytest.mark.parametrize(("busy_s", "gets_second"), [(None, False), (BRISK_S / 10, True), (BRISK_S * 10, False)])
def test_a_worker_gets_a_second_unit_while_units_are_short(specs, busy_s, gets_second):
    dispatch, _, _ = dispatch_of(specs)
    first = dispatch.take(beside=())
    if busy_s is not None:
        finish(dispatch, first, busy_s=busy_s)
        first = dispatch.take(beside=())

    assert (dispatch.take(beside=(first,)) is not None) is gets_second


def test_few_trials_are_asked_for_once_they_are_known_to_be_long(specs):
    dispatch, search, _ = dispatch_of(specs)
    for _ in range(2):
        finish(dispatch, dispatch.take(beside=()), busy_s=100.0)
    while dispatch.take(beside=()):
        pass

    dispatch.replenish()

    assert search.counts[0] == 2 * TRIALS_AHEAD
    assert search.counts[-1] == 4


def test_nothing_is_asked_for_while_enough_waits(specs):
    dispatch, search, _ = dispatch_of(specs)
    asked = len(search.counts)

    dispatch.take(beside=())
    dispatch.replenish()

    assert len(search.counts) == asked


@pytest.mark.parametrize("seed", range(20))
def test_whatever_fails_each_trial_is_told_once_and_started_at_most_three_times(specs, seed):
    draw = random.Random(seed)
    dispatch, search, _ = dispatch_of(specs, size=draw.choice([1, 3, 5]))
    starts = dict.fromkeys((spec.id for spec in specs), 0)
    out = []

    while not dispatch.is_over:
        dispatch.replenish()
        while len(out) < 2 and (assignment := dispatch.take(beside=())):
            out.append(assignment)
            for spec in assignment.running:
                starts[spec.id] += 1
        assignment = out.pop(draw.randrange(len(out)))
        if draw.random() < 0.4:
            dispatch.lose(assignment, reason="killed")
        elif len(assignment.running) > 1 and draw.random() < 0.5:
            ended = draw.choice(assignment.running)
            dispatch.absorb(assignment, UnitStep(results=(completed(ended),)), is_done=False, busy_s=0.1)
            out.append(assignment)
        else:
            finish(dispatch, assignment)

    assert sorted(result.spec.id for result in search.told) == sorted(starts)
    assert max(starts.values()) <= ATTEMPTS
