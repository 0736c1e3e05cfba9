import pytest

from transmeta.trials.environment import Environment


@pytest.fixture(autouse=True)
def warmed(warm: None) -> None:
    """Every test here may be the first to take an optimiser step."""


@pytest.fixture
def environment(models) -> Environment:
    """The source model at hand, and no trained model kept."""
    return Environment(model_folders=(str(models),))


@pytest.fixture
def keeping(models, tmp_path) -> Environment:
    """The source model at hand, and a folder where trained models are kept."""
    return Environment(model_folders=(str(models),), checkpoint_folder=str(tmp_path / "kept"))
