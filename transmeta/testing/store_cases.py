"""What every experience store must do, as tests to inherit.

Example:
    class TestMyStore(ExperienceStoreCases):
        def make_store(self, folder: Path) -> RunStore:
            return MyStore(folder / "experience")
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from transmeta.core.experience import Experience, MetaFeatures, Provenance
from transmeta.core.task import Modality, Params, Task, TaskPair
from transmeta.core.trial import Measurement, StrategySpec, TrialResult, TrialSpec, TrialStatus
from transmeta.errors import InputError
from transmeta.stores.contract import RunStore
from transmeta.stores.memory import MemoryExperienceStore

ENDINGS: Final = (TrialStatus.COMPLETED, TrialStatus.FAILED)


def example_task(name: str = "glyphs-grek", *, shots: int | None = 10) -> Task:
    """Returns a small image task."""
    return Task(
        name=name,
        provider="glyphs",
        params={"script": "grek"},
        dataset=name,
        domain="scripts",
        modality=Modality.IMAGE,
        shape=(32, 32, 1),
        class_count=24,
        fingerprint="0123456789abcdef",
        shots=shots,
    )


def example_spec(
    *,
    seed: int = 0,
    target: Task | None = None,
    source: str = "glyphs-latn",
    strategy: str = "lora",
    params: Params | None = None,
) -> TrialSpec:
    """Returns a trial to run; another seed makes another trial."""
    return TrialSpec(
        pair=TaskPair(source=source, target=target or example_task()),
        strategy=StrategySpec(name=strategy, params={"rank": 4, "learning_rate": 1e-3} if params is None else params),
        seed=seed,
    )


def example_experience(
    spec: TrialSpec | None = None,
    *,
    status: TrialStatus = TrialStatus.COMPLETED,
    epochs: int = 3,
    reason: str = "",
) -> Experience:
    """Returns a row as a run would append it; its curve has `epochs` measurements that cost 0.5 s each."""
    curve = tuple(
        Measurement(
            epoch=epoch,
            progress=epoch / max(epochs, 3),
            progress_before=(epoch - 1) / max(epochs, 3),
            value=0.5 + 0.1 * epoch / epochs,
            train_loss=1 / epoch,
            cost_s=0.5 * epoch,
            wall_s=0.75 * epoch,
        )
        for epoch in range(1, epochs + 1)
    )
    has_score = bool(curve) and status in (TrialStatus.COMPLETED, TrialStatus.STOPPED)
    result = TrialResult(
        spec=spec or example_spec(),
        status=status,
        curve=curve,
        score=curve[-1].value if has_score else None,
        test_score=0.55 if status is TrialStatus.COMPLETED else None,
        cost_s=0.5 * epochs + 0.25,
        wall_s=0.75 * epochs + 0.25,
        parameter_count=1000,
        reason=reason,
    )
    return Experience(
        result=result,
        target_features={"log_examples": 5.48, "class_count": 24.0},
        pair_features={"logme": 0.31, "leep": -1.2},
        provenance=Provenance(version="0.1.0", run="example", executor="local", created_at="2026-01-01T00:00:00+00:00"),
    )


class ExperienceStoreCases(ABC):
    """Tests that every store passes."""

    @abstractmethod
    def make_store(self, folder: Path) -> RunStore:
        """Returns the store that belongs to `folder`: an empty one at first, the same data whenever asked again."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[RunStore]:
        """An empty store."""
        made = self.make_store(tmp_path)
        yield made
        made.close()

    def test_a_new_store_is_empty(self, store: RunStore) -> None:
        """Nothing has to exist before it is read."""
        assert store.read() == ()
        assert store.count() == 0
        assert store.get([example_spec().id]) == {}
        assert store.stats().count == 0
        assert store.stats().cost_s == 0
        assert store.proposals("run", 0) is None
        assert store.features("task") is None
        assert store.verify() == ()
        assert store.snapshot().rows == ()

    def test_what_was_appended_is_read_back_equal(self, store: RunStore) -> None:
        """Every field survives, for every status, with awkward texts."""
        rows = [
            example_experience(
                example_spec(seed=seed, target=example_task(shots=None)),
                status=status,
                epochs=seed,
                reason="naïve\x00 'quote\" \n \u202e <script> ' OR 1=1",
            )
            for seed, status in enumerate(TrialStatus)
        ]
        rows[0] = dataclasses.replace(rows[0], result=dataclasses.replace(rows[0].result, score=0.1 + 0.2))

        appended = store.append(rows)

        assert appended == len(rows)
        assert list(store.read()) == sorted(rows, key=lambda row: row.id)
        assert store.get([row.result.spec.id for row in rows]) == {row.id: row for row in rows}

    def test_a_second_opening_finds_the_same_rows(self, tmp_path: Path) -> None:
        """What `append` acknowledged outlives the object."""
        row = example_experience()
        first = self.make_store(tmp_path)
        first.append([row])
        first.close()

        second = self.make_store(tmp_path)

        assert list(second.read()) == [row]
        second.close()

    def test_a_known_trial_is_a_no_op(self, store: RunStore) -> None:
        """Asked twice, paid once: the first result stays."""
        first = example_experience()
        second = dataclasses.replace(first, result=dataclasses.replace(first.result, score=0.99))
        store.append([first])

        appended = store.append([second, second])

        assert appended == 0
        assert list(store.read()) == [first]

    @pytest.mark.parametrize("before", [TrialStatus.STOPPED, TrialStatus.CRASHED])
    @pytest.mark.parametrize("after", ENDINGS)
    def test_an_unfinished_trial_gives_way_to_its_finished_re_run(
        self, store: RunStore, before: TrialStatus, after: TrialStatus
    ) -> None:
        """Stopped and crashed rows are replaced, all columns of them."""
        store.append([example_experience(status=before, epochs=1)])
        finished = example_experience(status=after)

        appended = store.append([finished])

        assert appended == 1
        assert list(store.read()) == [finished]
        assert store.stats().trials == {after.value: 1}
        assert store.verify() == ()

    def test_a_crashed_trial_gives_way_to_a_stopped_one(self, store: RunStore) -> None:
        """A part of a curve says more than a crash."""
        store.append([example_experience(status=TrialStatus.CRASHED, epochs=0)])
        stopped = example_experience(status=TrialStatus.STOPPED, epochs=1)

        appended = store.append([stopped])

        assert appended == 1
        assert list(store.read()) == [stopped]

    @pytest.mark.parametrize("before", ENDINGS)
    @pytest.mark.parametrize("after", list(TrialStatus))
    def test_a_finished_trial_never_changes(self, store: RunStore, before: TrialStatus, after: TrialStatus) -> None:
        """Whatever a zombie reports later."""
        finished = example_experience(status=before)
        store.append([finished])

        appended = store.append([example_experience(status=after, epochs=1)])

        assert appended == 0
        assert list(store.read()) == [finished]

    def test_a_stopped_trial_does_not_give_way_to_a_crash_or_to_a_curve_that_is_not_longer(
        self, store: RunStore
    ) -> None:
        """They say nothing that is not known."""
        stopped = example_experience(status=TrialStatus.STOPPED)
        store.append([stopped])

        appended = store.append(
            [
                example_experience(status=TrialStatus.CRASHED, epochs=0),
                example_experience(status=TrialStatus.STOPPED, epochs=2),
                dataclasses.replace(stopped, pair_features={}),
            ]
        )

        assert appended == 0
        assert list(store.read()) == [stopped]

    def test_a_stopped_trial_gives_way_to_one_that_was_stopped_later(self, store: RunStore) -> None:
        """All columns of it; else each run that goes on longer would pay for the trial again."""
        early, late = (example_experience(status=TrialStatus.STOPPED, epochs=epochs) for epochs in (1, 2))
        store.append([early])

        appended = store.append([late, early])

        assert appended == 1
        assert list(store.read()) == [late]
        assert store.stats().cost_s == late.result.cost_s
        assert store.verify() == ()

    def test_rows_of_one_call_count_one_after_another(self, store: RunStore) -> None:
        """A call may hold a trial and its re-run."""
        stopped, completed = example_experience(status=TrialStatus.STOPPED), example_experience()

        appended = store.append([stopped, completed, stopped])

        assert appended == 2
        assert list(store.read()) == [completed]

    def test_a_row_that_cannot_be_stored_leaves_the_others_unstored(self, store: RunStore) -> None:
        """A call is all or nothing, and the message names the trial."""
        good = example_experience(example_spec(seed=1))
        bad = dataclasses.replace(good, pair_features={"logme": float("nan")})

        with pytest.raises(InputError, match=bad.id):
            store.append([good, bad])

        assert store.count() == 0

    @pytest.mark.parametrize("name", ["", "a\x00b", "x" * 501, "\u202egnp.exe", "\ud800"])
    def test_names_that_could_mislead_are_refused(self, store: RunStore, name: str) -> None:
        """Names are shown to people and typed by them."""
        with pytest.raises(InputError, match="the source is"):
            store.append([example_experience(example_spec(source=name))])

    def test_reading_can_be_restricted_to_targets(self, store: RunStore) -> None:
        """By task id; unknown ones give nothing."""
        greek, thai = example_task("glyphs-grek"), example_task("glyphs-thai")
        rows = [
            example_experience(example_spec(seed=seed, target=target)) for target in (greek, thai) for seed in range(3)
        ]
        store.append(rows)

        assert {row.id for row in store.read(targets=[thai.id, "unknown"])} == {row.id for row in rows[3:]}
        assert store.read(targets=[]) == ()
        assert list(store.read()) == sorted(rows, key=lambda row: row.id)

    def test_more_rows_than_one_query_can_name_are_found(self, store: RunStore) -> None:
        """Databases limit the parameters of a query; callers need not know."""
        rows = [example_experience(example_spec(seed=seed), epochs=0) for seed in range(1001)]

        assert store.append(rows) == len(rows)
        assert set(store.get([row.result.spec.id for row in rows])) == {row.id for row in rows}

    def test_stats_count_trials_by_what_they_are(self, store: RunStore) -> None:
        """And sum their cost."""
        store.append(
            [
                example_experience(example_spec(seed=0)),
                example_experience(example_spec(seed=1), status=TrialStatus.FAILED, epochs=0),
                example_experience(example_spec(seed=2, source="icons-all", strategy="linear_probe")),
            ]
        )

        stats = store.stats()

        assert stats.trials == {"completed": 2, "failed": 1}
        assert stats.targets == {example_task().id: 3}
        assert stats.sources == {"glyphs-latn": 2, "icons-all": 1}
        assert stats.strategies == {"linear_probe": 1, "lora": 2}
        assert stats.count == store.count() == 3
        assert stats.cost_s == pytest.approx(1.75 + 0.25 + 1.75)

    def test_a_snapshot_does_not_change_with_its_store(self, store: RunStore) -> None:
        """It is read like a store, and its digest tells whether the rows are the same."""
        rows = [example_experience(example_spec(seed=seed)) for seed in range(3)]
        store.append(rows[:2])
        before = store.snapshot()
        store.append(rows[2:])
        after = store.snapshot()

        assert list(before.read()) == sorted(rows[:2], key=lambda row: row.id)
        assert list(before.read(targets=[example_task().id])) == list(before.rows)
        assert before.get([rows[0].result.spec.id, rows[2].result.spec.id]) == {rows[0].id: rows[0]}
        assert before.stats().count == before.count() == 2
        assert before.digest != after.digest
        assert store.snapshot().digest == after.digest

    def test_a_snapshot_of_equal_rows_has_the_same_digest_in_every_store(self, store: RunStore) -> None:
        """The digest belongs to the rows, not to the store or to the order in which they came."""
        rows = [example_experience(example_spec(seed=seed)) for seed in range(3)]
        other = MemoryExperienceStore()
        other.append(rows)

        store.append([rows[2], rows[0], rows[1]])

        assert store.snapshot() == other.snapshot()

    def test_the_proposals_of_a_round_are_those_that_were_saved_first(self, store: RunStore) -> None:
        """So a resumed run repeats its choices, in their order."""
        first = [example_spec(seed=seed) for seed in (3, 1, 2)]

        saved = store.save_proposals("run", 7, first)
        again = store.save_proposals("run", 7, [example_spec(seed=9)])

        assert list(saved) == list(again) == first
        assert list(store.proposals("run", 7) or ()) == first
        assert store.proposals("run", 8) is None
        assert store.proposals("other", 7) is None
        assert store.verify() == ()

    def test_a_round_without_proposals_is_remembered(self, store: RunStore) -> None:
        """Nothing to propose is not the same as not asked."""
        store.save_proposals("run", 0, [])

        assert store.proposals("run", 0) == ()
        assert store.save_proposals("run", 0, [example_spec()]) == ()
        assert store.verify() == ()

    def test_features_are_those_that_were_saved_last(self, store: RunStore) -> None:
        """For each target alone; sources that are no longer named are gone."""
        old = MetaFeatures(
            target_id="t", target={"log_examples": 1.0}, pairs={"a": {"leep": -1.0}, "b": {"leep": -2.0}}
        )
        new = MetaFeatures(target_id="t", target={"log_examples": 1.5}, pairs={"a": {"leep": -1.25}, "c": {}})
        other = dataclasses.replace(old, target_id="u")
        store.save_features(other)
        store.save_features(old)
        store.save_features(new)

        assert store.features("t") == new
        assert store.features("u") == other

    def test_features_that_are_not_finite_are_refused(self, store: RunStore) -> None:
        """And what was stored stays."""
        good = MetaFeatures(target_id="t", target={"log_examples": 1.0}, pairs={})
        store.save_features(good)

        with pytest.raises(InputError, match="cannot write inf"):
            store.save_features(dataclasses.replace(good, pairs={"a": {"leep": float("inf")}}))

        assert store.features("t") == good

    def test_verify_names_rows_that_cannot_be_true(self, store: RunStore) -> None:
        """Such as an accuracy above 1."""
        row = example_experience()
        store.append([dataclasses.replace(row, result=dataclasses.replace(row.result, test_score=1.5))])

        (fault,) = store.verify()

        assert row.id in fault
        assert "accuracy" in fault

    def test_closing_twice_is_harmless(self, store: RunStore) -> None:
        """So that it may stand in a `finally`."""
        store.close()
        store.close()
