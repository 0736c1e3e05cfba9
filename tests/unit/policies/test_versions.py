from pathlib import Path

import pytest

from transmeta.errors import InputError, UnsafeFileError
from transmeta.policies.fixed import FixedLearner
from transmeta.policies.versions import KEPT, PolicyVersions, VersionNote

from .cases import CountingProposer

PROPOSER = CountingProposer()


def note(origin: str = "update", parent: int | None = None) -> VersionNote:
    return VersionNote(origin=origin, created_at="2026-01-01T00:00:00Z", code="0", policy="fixed", parent=parent)


def policy(strategy: str):
    return FixedLearner(strategy=strategy, proposer=PROPOSER).initial()


@pytest.fixture
def versions(tmp_path: Path) -> PolicyVersions:
    kept = PolicyVersions(folder=tmp_path)
    for strategy in ("a", "b", "c"):
        kept.add(policy(strategy), note(strategy))
    return kept


def test_versions_are_numbered_from_one_and_the_newest_is_in_force(versions: PolicyVersions) -> None:
    found = [(version.number, version.note.origin, version.is_current) for version in versions.known()]

    assert found == [(1, "a", False), (2, "b", False), (3, "c", True)]


def test_a_number_that_another_process_is_writing_to_is_not_used(tmp_path: Path, versions: PolicyVersions) -> None:
    (tmp_path / "versions" / "0004").mkdir()

    assert versions.add(policy("d"), note()) == 5
    assert [version.number for version in versions.known()] == [1, 2, 3, 5]


def test_an_older_version_can_be_put_in_force_and_the_newer_one_again(versions: PolicyVersions) -> None:
    versions.restore(1, proposer=PROPOSER)
    first = versions.current()
    versions.restore(3, proposer=PROPOSER)

    assert (first, versions.current()) == (1, 3)
    assert len(versions.known()) == 3


def test_the_version_before_is_the_one_that_it_was_made_from(versions: PolicyVersions) -> None:
    assert versions.before_current() == 2

    versions.restore(1, proposer=PROPOSER)
    versions.add(policy("d"), note(parent=1))

    assert versions.before_current() == 1


def test_there_is_nothing_before_the_first(tmp_path: Path) -> None:
    kept = PolicyVersions(folder=tmp_path)
    kept.add(policy("a"), note())

    with pytest.raises(InputError, match="no older version"):
        kept.before_current()


def test_an_unknown_version_is_refused(versions: PolicyVersions) -> None:
    with pytest.raises(InputError, match="known: 1, 2, 3"):
        versions.restore(7, proposer=PROPOSER)


def test_a_damaged_version_is_refused_and_what_is_in_force_stays(versions: PolicyVersions, tmp_path: Path) -> None:
    (tmp_path / "versions" / "0001" / "policy.json").write_text("{}")

    with pytest.raises(UnsafeFileError):
        versions.restore(1, proposer=PROPOSER)
    assert versions.current() == 3


def test_a_policy_from_elsewhere_becomes_a_version_once(versions: PolicyVersions, tmp_path: Path) -> None:
    from transmeta.policies.files import save_policy

    save_policy(policy("elsewhere"), tmp_path)
    assert versions.current() is None

    numbers = [versions.keep_current(lambda found: note("found"), proposer=PROPOSER) for _ in range(2)]
    assert numbers == [4, 4]
    assert versions.known()[-1].note.origin == "found"


def test_without_a_policy_there_is_nothing_to_keep(tmp_path: Path) -> None:
    kept = PolicyVersions(folder=tmp_path)

    assert kept.keep_current(lambda found: note(), proposer=PROPOSER) is None
    assert kept.known() == ()


def test_only_the_newest_updates_are_kept_and_all_of_other_origins(tmp_path: Path) -> None:
    kept = PolicyVersions(folder=tmp_path)
    origins = ["packaged", *["update"] * 3, "meta-train", *["update"] * KEPT]
    for at, origin in enumerate(origins):
        kept.add(policy(str(at)), note(origin))

    numbers = [version.number for version in kept.known()]

    assert numbers == [1, *range(5, len(origins) + 1)]
    assert kept.current() == kept.newest() == len(origins)


def test_a_damaged_note_hides_no_version(versions: PolicyVersions, tmp_path: Path) -> None:
    (tmp_path / "versions" / "0002" / "version.json").write_text("{")

    assert [version.note.origin for version in versions.known()] == ["a", "damaged", "c"]
    assert versions.before_current() == 2
