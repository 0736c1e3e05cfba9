import shutil
import sqlite3
from pathlib import Path

import pytest

from transmeta.cli.checks import CHECKS, Finding
from transmeta.workspace import Workspace

from .cases import Run


def states(run: Run, workspace: Path, *words: object) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in run("doctor", "--workspace", workspace, *words, "--json").json}


def finding(name: str, folder: Path, *, store: str | None = None) -> Finding:
    return dict(CHECKS)[name](Workspace(folder=folder, store_url=store))


def test_a_sound_installation_passes(run: Run, workspace: Path) -> None:
    outcome = run("doctor", "--workspace", workspace)

    assert outcome.code == 0
    assert outcome.out.startswith("state\tcheck\tfound\tremedy\n")
    assert "\nfail" not in outcome.out
    assert "glyphs, icons" in outcome.out
    assert "fixed-linear_probe" in outcome.out


def test_what_ships_with_the_package_is_whole(run: Run, tmp_path: Path) -> None:
    checks = states(run, tmp_path / "none")

    assert [checks[name]["state"] for name in ("packaged data", "source models", "policy")] == ["ok"] * 3


def test_what_is_not_well_has_a_remedy(run: Run, tmp_path: Path) -> None:
    checks = states(run, tmp_path / "none")

    assert checks["store"]["state"] == "ok"
    assert all(check["remedy"] for check in checks.values() if check["state"] != "ok")
    assert not any(check["remedy"] for check in checks.values() if check["state"] == "ok")
    assert not (tmp_path / "none").exists()


def test_a_damaged_source_model_is_found(run: Run, workspace: Path) -> None:
    (source,) = (workspace / "models").iterdir()
    (source / "weights.safetensors").write_bytes(b"no weights")

    outcome = run("doctor", "--workspace", workspace, "--json")

    assert outcome.code == 1
    (fault,) = [check for check in outcome.json if check["state"] == "fail"]
    assert fault["name"] == "source models"
    assert "differs from its manifest" in fault["found"]
    assert fault["remedy"] == "use another one"


def test_a_store_of_a_newer_schema_is_found(run: Run, workspace: Path) -> None:
    words = ("collect", "digits@3", "--strategies", "linear_probe", "--workspace", workspace, "--quiet")
    assert run(*words).code == 0
    with sqlite3.connect(workspace / "experience.db") as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'transmeta_schema'")
    connection.close()

    check = states(run, workspace)["store"]

    assert check["state"] == "fail"
    assert check["remedy"] == "upgrade transmeta"


def test_a_damaged_policy_is_found(run: Run, workspace: Path) -> None:
    (workspace / "policy" / "policy.json").write_text("{")

    assert states(run, workspace)["policy"]["state"] == "fail"


def test_changed_packaged_data_is_found(
    run: Run, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transmeta import tasks

    package = Path(tasks.__file__).parent
    shutil.copytree(package / "packs", tmp_path / "packs")
    listing = tmp_path / "packs" / "packs.json"
    digest = listing.read_text().partition('"group": "')[2][:64]
    listing.write_text(listing.read_text().replace(digest, "0" * 64))
    monkeypatch.setattr(tasks, "__file__", str(tmp_path / "__init__.py"))

    check = states(run, workspace)["packaged data"]

    assert check["state"] == "fail"
    assert "array group differs" in check["found"]


@pytest.mark.parametrize(("free", "state"), [(2**40, "ok"), (2**31, "warn"), (2**20, "fail")])
def test_a_full_disk_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(2**41, 0, free))

    assert finding("disk", tmp_path)[0] == state


@pytest.mark.parametrize(
    ("number", "state"),
    [((3, 40, 1), "warn"), ((3, 44, 6), "ok"), ((3, 50, 6), "warn"), ((3, 51, 3), "ok"), ((3, 53, 0), "ok")],
)
def test_the_reset_bug_of_sqlite_is_known_by_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: tuple[int, ...], state: str
) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", number)

    assert finding("sqlite", tmp_path)[0] == state


def test_many_torch_threads_are_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)

    state, found, remedy = finding("torch threads", tmp_path)

    assert state == "warn"
    assert found.startswith("8 torch thread")
    assert "OMP_NUM_THREADS=1" in remedy


def test_packages_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transmeta.cli.checks._version", lambda name: None)
    monkeypatch.setattr("transmeta.cli.checks.find_spec", lambda name: None)

    assert finding("packages", tmp_path)[0] == "fail"
    assert "--executor local" in finding("ray", tmp_path)[2]
    assert finding("postgresql", tmp_path)[0] == "warn"
    assert finding("postgresql", tmp_path, store="postgresql://here/there")[0] == "fail"
