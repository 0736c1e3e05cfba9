"""Which store, models, policy and executor a command works with."""

import functools
import shutil
from pathlib import Path

import pytest

from transmeta import workspace as composition
from transmeta.core.model import ModelCard
from transmeta.core.task import Task
from transmeta.errors import ConflictError, InputError, UnknownNameError
from transmeta.execution.local import LocalExecutor
from transmeta.policies.files import save_policy
from transmeta.policies.fixed import FixedLearner
from transmeta.stores.memory import MemoryExperienceStore
from transmeta.stores.sql import SqlExperienceStore
from transmeta.testing.store_cases import example_experience
from transmeta.trials import describe as description
from transmeta.workspace import (
    Compute,
    ExecutorKind,
    SchedulerKind,
    Workspace,
    check_scheduler,
    code_version,
    parse_executor,
    parse_scheduler,
)

LOCAL = Compute(executor=ExecutorKind.LOCAL)


@pytest.fixture
def place(tmp_path: Path, nothing_packaged: None) -> Workspace:
    """An empty workspace, with neither models nor a policy beside it."""
    return Workspace(folder=tmp_path / "place")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """The targets whose features were computed."""
    targets: list[Task] = []
    describe = description.describe

    @functools.wraps(describe)
    def counted(target: Task, **others: object) -> object:
        targets.append(target)
        return describe(target, **others)

    monkeypatch.setattr(description, "describe", counted)
    return targets


def keep_policy(folder: Path, *, strategy: str) -> Path:
    save_policy(FixedLearner(strategy=strategy, proposer=Workspace().proposer(())).initial(), folder)
    return folder


def test_the_policy_is_the_one_that_is_given_else_the_workspaces_own_else_the_packaged_one(
    place: Workspace, digits: Task, tmp_path: Path
) -> None:
    given = keep_policy(tmp_path / "given", strategy="lora")

    found = [place.policy(digits).name]
    keep_policy(composition.PACKAGED_POLICY, strategy="full_finetune")
    found.append(place.policy(digits).name)
    keep_policy(place.policy_folder, strategy="linear_probe")
    found.append(place.policy(digits).name)
    found.append(place.policy(digits, folder=given).name)

    assert found == ["portfolio", "fixed-full_finetune", "fixed-linear_probe", "fixed-lora"]


def test_a_folder_without_a_policy_is_refused_although_there_are_others(
    place: Workspace, digits: Task, tmp_path: Path
) -> None:
    keep_policy(place.policy_folder, strategy="linear_probe")

    with pytest.raises(InputError, match="policy"):
        place.policy(digits, folder=tmp_path)


def test_the_package_ships_a_policy_that_can_be_read(tmp_path: Path, digits: Task) -> None:
    place = Workspace(folder=tmp_path)

    assert place.found_policy() == composition.PACKAGED_POLICY
    assert place.policy(digits).name


def test_features_are_computed_once_for_the_same_sources(place: Workspace, digits: Task, calls: list[Task]) -> None:
    with place.store() as store:
        first = place.features(digits, store=store)
    with place.store() as store:
        again = place.features(digits, store=store)

    assert calls == [digits]
    assert again == first
    assert set(first.pairs) == {"scratch-small_cnn"}


def test_features_are_computed_anew_when_the_sources_change(
    place: Workspace, digits: Task, calls: list[Task], models: Path, greek: ModelCard
) -> None:
    with place.store() as store:
        before = place.features(digits, store=store)
        shutil.copytree(models, place.models)
        with_source = place.features(digits, store=store)
        shutil.rmtree(place.models)
        after = place.features(digits, store=store)

    assert calls == [digits] * 3
    assert set(with_source.pairs) == {greek.id, *before.pairs}
    assert after == before


def test_features_are_given_although_another_process_writes_the_store(
    place: Workspace, digits: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ConflictError("another process writes the file")

    monkeypatch.setattr(SqlExperienceStore, "save_features", refuse)

    with place.store() as store:
        assert place.features(digits, store=store).target
        assert store.features(digits.id) is None


def test_the_store_is_a_file_in_the_folder_that_the_first_write_makes(place: Workspace) -> None:
    with place.store() as store:
        assert store.count() == 0
        assert not place.folder.exists()
        store.append([example_experience()])

    assert (place.folder / "experience.db").is_file()


def test_the_store_is_at_the_url_where_one_is_given(place: Workspace, tmp_path: Path) -> None:
    elsewhere = Workspace(folder=place.folder, store_url=f"sqlite:///{tmp_path / 'elsewhere.db'}")

    with elsewhere.store() as store:
        store.append([example_experience()])

    assert (tmp_path / "elsewhere.db").is_file()
    assert not place.folder.exists()


def test_a_local_bench_runs_here_and_signs_what_it_runs(place: Workspace) -> None:
    with place.bench(LOCAL, run="trying", store=MemoryExperienceStore()) as bench:
        provenance = bench.provenance()

    assert isinstance(bench.executor, LocalExecutor)
    assert (provenance.run, provenance.executor, provenance.version) == ("trying", "local", code_version())
    assert provenance.created_at.endswith("+00:00")


def test_what_the_local_executor_has_not_is_refused(place: Workspace) -> None:
    with_gpu = Compute(executor=ExecutorKind.LOCAL, gpus=1.0)
    store = MemoryExperienceStore()

    with pytest.raises(InputError, match="use --executor ray"), place.bench(with_gpu, run="r", store=store):
        pass
    with (
        pytest.raises(InputError, match="scheduler asha: it is Ray Tune's"),
        place.bench(LOCAL, run="r", store=store, scheduler=SchedulerKind.ASHA),
    ):
        pass


def test_schedulers_of_tune_go_with_tune_alone() -> None:
    check_scheduler(SchedulerKind.ASHA, compute=Compute(executor=ExecutorKind.TUNE))
    check_scheduler(SchedulerKind.NONE, compute=LOCAL)
    with pytest.raises(InputError, match="--executor tune, or --scheduler none"):
        check_scheduler(SchedulerKind.ASHA, compute=Compute(executor=ExecutorKind.RAY))


def test_names_are_read_or_refused_with_the_nearest() -> None:
    assert parse_executor("local") is ExecutorKind.LOCAL
    assert parse_scheduler("asha") is SchedulerKind.ASHA
    with pytest.raises(UnknownNameError, match="did you mean 'local'"):
        parse_executor("locale")
    with pytest.raises(UnknownNameError, match="did you mean 'asha'"):
        parse_scheduler("asa")
