"""A resident worker in this process: what it answers, and what it keeps."""

import odd_units
import pytest

from transmeta.core import codec
from transmeta.core.trial import TrialStatus
from transmeta.errors import InputError
from transmeta.execution.ray import worker as worker_module
from transmeta.execution.ray.worker import Answer, Errand, Stops, UnitWorker
from transmeta.testing.executor_cases import probe, write_sources
from transmeta.trials.environment import Environment
from transmeta.trials.unit import Tier, UnitSpec

GO_ON = codec.dumps(Stops(trials=()))


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    write_sources(folder / "models")
    return Environment(model_folders=(str(folder / "models"),), checkpoint_folder=str(folder / "kept"))


@pytest.fixture
def worker():
    return UnitWorker(opener=odd_units.OPENER)


def errand(*specs, environment, rungs=()):
    unit = UnitSpec(members=specs, tier=Tier.STACK if len(specs) > 1 else Tier.SINGLE)
    return codec.dumps(Errand(unit=unit, environment=environment, rungs=rungs))


def read(text):
    return codec.loads(Answer, text)


def test_a_step_ends_at_a_rung_and_the_next_one_goes_on_from_there(worker, environment):
    first = read(worker.run(7, errand(probe(), environment=environment, rungs=(1 / 3,))))
    second = read(worker.go_on(7, GO_ON))

    assert first.measurements[-1].measurement.reaches(1 / 3)
    assert (first.is_done, first.ended) == (False, ())
    assert second.is_done
    assert second.measurements[0].measurement.progress_before == first.measurements[-1].measurement.progress
    (result,) = second.as_step([probe()]).results
    assert (result.spec, result.status, result.curve) == (probe(), TrialStatus.COMPLETED, ())
    assert result.score == second.measurements[-1].measurement.value
    assert worker.forget() == 0


def test_a_step_ends_after_some_time(worker, environment, monkeypatch):
    monkeypatch.setattr(worker_module, "STEP_S", 0.0)

    opened = read(worker.run(7, errand(probe(), environment=environment)))

    assert (opened.is_done, opened.measurements) == (False, ())
    assert worker.forget() == 1


def test_units_are_kept_apart_by_their_tickets_and_members_by_their_ids(worker, environment):
    specs = [probe(seed=seed) for seed in range(2)]
    worker.run(1, errand(*specs, environment=environment, rungs=(1 / 9,)))
    worker.run(2, errand(probe(seed=2), environment=environment, rungs=(1 / 9,)))

    ended = read(worker.go_on(1, codec.dumps(Stops(trials=(specs[0].id,)))))
    other = read(worker.go_on(2, GO_ON))

    results = ended.as_step(specs).results
    assert {result.spec.seed: result.status.value for result in results} == {0: "stopped", 1: "completed"}
    assert {shown.trial for shown in ended.measurements} == {specs[1].id}
    assert [one.trial for one in other.ended] == [probe(seed=2).id]


def test_a_unit_that_raises_is_dropped_and_the_others_stay(worker, environment):
    worker.run(1, errand(probe(), environment=environment, rungs=(1 / 9,)))

    with pytest.raises(RuntimeError, match="fell over"):
        worker.run(2, errand(probe(seed=odd_units.RAISER), environment=environment))

    assert read(worker.go_on(1, GO_ON)).is_done
    assert worker.forget() == 0


def test_what_cannot_be_run_is_refused_with_its_reason(worker, environment):
    answer = read(worker.run(1, errand(probe(source="nowhere"), environment=environment)))

    assert answer.is_done
    assert isinstance(answer.refusal.as_error(), InputError)
    assert "nowhere" in answer.refusal.message
