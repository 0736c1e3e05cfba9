import pytest


@pytest.fixture(autouse=True)
def warmed(warm: None) -> None:
    """Every test here may be the first to take an optimiser step."""
