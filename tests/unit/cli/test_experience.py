import sqlite3
from pathlib import Path

import pytest

from .cases import Run


@pytest.fixture
def filled(run: Run, workspace: Path) -> Path:
    words = ("collect", "digits@3", "--strategies", "linear_probe", "--samples", 1, "--workspace", workspace)
    assert run(*words, "--quiet").code == 0
    return workspace


def test_trials_are_counted(run: Run, filled: Path) -> None:
    for_people = run("experience", "stats", "--workspace", filled)
    counted = run("experience", "stats", "--workspace", filled, "--json").json

    assert for_people.out.startswith("trials          2\n  completed     2\n")
    assert counted["count"] == 2
    assert counted["counted"]["strategies"] == {"linear_probe": 2}


def test_an_empty_workspace_holds_nothing_and_stays_so(run: Run, tmp_path: Path) -> None:
    assert run("experience", "stats", "--workspace", tmp_path / "new", "--json").json["count"] == 0
    assert run("experience", "verify", "--workspace", tmp_path / "new").code == 0
    assert not (tmp_path / "new").exists()


def test_what_is_exported_can_be_imported_elsewhere(run: Run, filled: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "trials.parquet", tmp_path / "other"

    exported = run("experience", "export", file, "--workspace", filled, "--json").json
    imported = run("experience", "import", file, "--workspace", other, "--json").json
    again = run("experience", "import", file, "--workspace", other)

    assert exported["exported"] == imported["imported"] == 2
    assert again.out == f"0 of 2 trials in {file} were new\n"
    assert "2 trials written" in run("experience", "export", file, "--workspace", other).out


def test_a_file_that_is_no_table_is_refused(refused: Run, tmp_path: Path) -> None:
    (tmp_path / "no.parquet").write_text("text")

    outcome = refused("experience", "import", tmp_path / "no.parquet", "--workspace", tmp_path / "w")

    assert outcome.code == 5
    assert "not a Parquet file" in outcome.err


def test_a_changed_row_is_found(run: Run, filled: Path) -> None:
    assert run("experience", "verify", "--workspace", filled).out == "2 trials, 0 faults\n"
    with sqlite3.connect(filled / "experience.db") as connection:
        connection.execute("UPDATE trial SET score = 0.99 WHERE id = (SELECT min(id) FROM trial)")
    connection.close()

    outcome = run("experience", "verify", "--workspace", filled, "--json")

    assert outcome.code == 1
    assert len(outcome.json["faults"]) == 1
    assert "the column score holds 0.99" in outcome.json["faults"][0]
