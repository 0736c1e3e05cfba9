import dataclasses
from pathlib import Path

import pytest

from transmeta.core.trial import TrialResult, TrialStatus
from transmeta.errors import InputError
from transmeta.experiments.ensemble import check_ensemble, members_of, with_models
from transmeta.experiments.run import Workbench
from transmeta.stores.memory import MemoryExperienceStore
from transmeta.testing.fakes import CountingClock, ScriptedExecutor

from .cases import flat, script, specs
from .test_run import provenance


def some(score: float, *, status: TrialStatus = TrialStatus.COMPLETED, number: int = 0) -> TrialResult:
    return dataclasses.replace(flat(specs(number + 1)[number], score, status=status), score=score)


def of_strategy(result: TrialResult, name: str) -> TrialResult:
    strategy = dataclasses.replace(result.spec.strategy, name=name)
    return dataclasses.replace(result, spec=dataclasses.replace(result.spec, strategy=strategy))


class KeepingExecutor:
    """Keeps a folder for each trial that ends, and notes what it ran."""

    def __init__(self, folder: Path) -> None:
        self.ran: list[str] = []
        self._folder = folder
        self._inner = ScriptedExecutor(script)

    def drive(self, search):
        for result in self._inner.drive(search):
            self.ran.append(result.spec.id)
            kept = self._folder / result.spec.id
            kept.mkdir()
            yield dataclasses.replace(result, checkpoint=str(kept))


def bench(executor: KeepingExecutor) -> Workbench:
    return Workbench(executor=executor, store=MemoryExperienceStore(), provenance=provenance)


def kept(result: TrialResult, folder: Path) -> TrialResult:
    (folder / result.spec.id).mkdir()
    return dataclasses.replace(result, checkpoint=str(folder / result.spec.id))


def test_members_are_the_best_first_and_only_the_first_may_have_been_stopped():
    best, stopped = some(0.9, status=TrialStatus.STOPPED), some(0.8, status=TrialStatus.STOPPED)
    third, fourth, last = some(0.7), some(0.6), some(0.1)

    assert members_of([last, fourth, stopped, third, best], count=3) == [best, third, fourth]
    assert members_of([last, best], count=5) == [best, last]
    assert members_of([last, best], count=1) == [best]


def test_a_source_and_strategy_takes_part_once_before_any_takes_part_twice():
    best, alike, worst = some(0.9), some(0.8), some(0.1)
    other = of_strategy(some(0.3), "linear_probe")

    assert members_of([worst, alike, other, best], count=2) == [best, other]
    assert members_of([worst, alike, other, best], count=3) == [best, alike, other]


def test_models_that_were_not_kept_are_made_again_and_others_are_not(tmp_path):
    members = [some(0.9 - number / 10, number=number) for number in range(4)]
    members[1] = kept(members[1], tmp_path)
    executor = KeepingExecutor(tmp_path)

    found = with_models(members, bench=bench(executor), clock=CountingClock(), at=None)

    assert [result.spec for result in found] == [result.spec for result in members]
    assert sorted(executor.ran) == sorted(members[number].spec.id for number in (0, 2, 3))
    assert all(Path(result.checkpoint or "").is_dir() for result in found)


def test_nothing_runs_where_all_models_are_at_hand(tmp_path):
    members = [kept(some(0.9, number=number), tmp_path) for number in range(2)]
    executor = KeepingExecutor(tmp_path)

    assert with_models(members, bench=bench(executor), clock=CountingClock(), at=0.0) == members
    assert executor.ran == []


def test_once_the_time_is_over_the_best_model_alone_is_made_again(tmp_path):
    members = [some(0.9 - number / 10, number=number) for number in range(3)]
    executor = KeepingExecutor(tmp_path)

    (found,) = with_models(members, bench=bench(executor), clock=lambda: 10.0, at=9.0)

    assert found.spec == members[0].spec
    assert executor.ran == [members[0].spec.id]


@pytest.mark.parametrize("count", [0, -1, 101])
def test_an_ensemble_of_none_or_of_too_many_is_refused(count):
    with pytest.raises(InputError, match=f"an ensemble of {count} models; give 1, for the best one alone, to 100"):
        check_ensemble(count)
