"""A workspace with one real source, a folder of real images, and a way to run commands in this process."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from .cases import Outcome, Run, write_images


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command as `main` does."""
    from transmeta.cli import main

    def run(*words: object) -> Outcome:
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


@pytest.fixture
def nothing_packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the models and the policy that ship with transmeta, which are not what these tests are about."""
    monkeypatch.setattr("transmeta.models.library.PACKAGED", tmp_path / "packaged" / "models")
    monkeypatch.setattr("transmeta.workspace.PACKAGED_POLICY", tmp_path / "packaged" / "policy")


@pytest.fixture
def workspace(tmp_path: Path, models: Path, nothing_packaged: None) -> Path:
    """A workspace with one source, and a policy that probes it linearly: the cheapest trials there are."""
    from transmeta.policies.files import save_policy
    from transmeta.policies.fixed import FixedLearner
    from transmeta.workspace import Workspace

    workspace = Workspace(folder=tmp_path / "workspace")
    shutil.copytree(models, workspace.models)
    save_policy(
        FixedLearner(strategy="linear_probe", proposer=workspace.proposer(())).initial(), workspace.policy_folder
    )
    return workspace.folder


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
