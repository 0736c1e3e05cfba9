"""Guards for every unit test, and one small real task with one small real source for those that train."""

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from transmeta.core.model import ModelCard
    from transmeta.core.task import Task
    from transmeta.training.data import TaskData

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, which reads it once
settings.register_profile("unit", max_examples=50, deadline=None, derandomize=True)  # the same examples everywhere
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def no_implicit_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes Ray's start behind one's back fail; Ray itself need not be installed, and is not imported."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a unit test started Ray; hand in a fake, or move the test to tests/ray")

    monkeypatch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")  # for a test that is the first to import it
    ray = sys.modules.get("ray")
    was_running = ray is not None and ray.is_initialized()
    if ray is not None:
        monkeypatch.setattr(ray, "init", refuse)
    yield
    ray = sys.modules.get("ray")
    assert was_running or ray is None or not getattr(ray, "is_initialized", bool)(), "a unit test left Ray running"


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    """Sums depend on the number of threads, and two threads on a busy core are slower than one."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def warm() -> None:
    """Imports what the first optimiser step would import, about a second that belongs to no test."""
    importlib.import_module("torch._dynamo")


@pytest.fixture(scope="session")
def digits() -> "Task":
    """Handwritten digits, 3 training examples per class."""
    from transmeta.tasks.catalogue import find_task

    return find_task("digits@3")


@pytest.fixture(scope="session")
def digits_data(digits: "Task") -> "TaskData":
    """30 training, 100 validation and 250 test images."""
    from transmeta.tasks.catalogue import load_task

    return load_task(digits)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, warm: None) -> Path:
    """A folder with one source model: the small CNN after two epochs on Greek glyphs."""
    from transmeta.core.plan import OptimiserPlan
    from transmeta.tasks.catalogue import find_task
    from transmeta.trials.source import SourceSpec, open_source_training

    folder = tmp_path_factory.mktemp("models")
    spec = SourceSpec(
        name="greek",
        architecture="small_cnn",
        tasks=(find_task("glyphs-grek@3"),),
        optimiser=OptimiserPlan(learning_rate=3e-3, epochs=2),
    )
    training = open_source_training(spec)
    while not training.fit.is_done:
        report = training.fit.advance()
    training.save(folder, score=report.value)
    return folder


@pytest.fixture(scope="session")
def greek(models: Path, digits: "Task") -> "ModelCard":
    """The card of the source model in `models`."""
    from transmeta.models.library import ModelLibrary

    return ModelLibrary([models]).card("greek", target=digits)


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
