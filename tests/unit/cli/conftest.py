"""Real images and a real table in files, models of them, and a way to run commands in this process."""

from pathlib import Path

import numpy as np
import pytest

from .cases import Outcome, Run, write_images


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command as `main` does; searches do not teach the policy, which takes seconds, unless told to."""
    from transmeta.cli import main

    def run(*words: object) -> Outcome:
        if words[:1] in [("adapt",), ("search",)] and "--learn" not in words:
            words += ("--no-learn",)
        capsys.readouterr()
        code = main([str(word) for word in words])
        printed = capsys.readouterr()
        return Outcome(code=code, out=printed.out, err=printed.err)

    return run


@pytest.fixture
def refused(run: Run) -> Run:
    """Runs a command that has to fail with one clear line, and returns its outcome."""

    def refused(*words: object) -> Outcome:
        outcome = run(*words)
        assert outcome.code not in (0, 1), outcome
        assert outcome.out == ""
        assert len(outcome.lines) == 1, outcome.err
        assert outcome.err.startswith("error: ")
        return outcome

    return refused


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of PNGs: four digits, 12 images of each."""
    from transmeta.tasks.catalogue import find_task, load_task

    folder = tmp_path_factory.mktemp("data") / "photos"
    write_images(load_task(find_task("digits")), folder, count=12)
    return folder


@pytest.fixture(scope="session")
def new_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More of them, 5 images of each, from the test split."""
    from transmeta.tasks.catalogue import find_task, load_task

    folder = tmp_path_factory.mktemp("data") / "new"
    write_images(load_task(find_task("digits")), folder, count=5, of_test=True)
    return folder


@pytest.fixture(scope="session")
def adapted(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """A model of the photos, trained from scratch."""
    return _adapted(photos, tmp_path_factory.mktemp("adapted"))


@pytest.fixture(scope="session")
def adapted_table(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Path:
    """A model of the table, trained from scratch."""
    return _adapted(table, tmp_path_factory.mktemp("adapted"))


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of real measurements: 30 irises of each kind."""
    from sklearn.datasets import load_iris

    iris = load_iris()
    chosen = np.concatenate([np.flatnonzero(iris.target == kind)[:30] for kind in range(3)])
    names = [name.removesuffix(" (cm)").replace(" ", "_") for name in iris.feature_names]
    lines = [",".join([*names, "label"])]
    lines += [",".join([*map(str, iris.data[row]), str(iris.target_names[iris.target[row]])]) for row in chosen]
    path = tmp_path_factory.mktemp("tables") / "iris.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def _adapted(data: Path, folder: Path) -> Path:
    from transmeta.cli import main

    out = folder / "model"
    words = ["transfer", data, "--source", "scratch", "--strategy", "from_scratch", "--param", "epochs=20"]
    assert main([*map(str, words), "--out", str(out), "--workspace", str(folder / "workspace"), "--quiet"]) == 0
    return out
