from pathlib import Path

import pytest

from transmeta.cli.options import choose_compute, open_workspace, parse_names, parse_params, parse_seeds
from transmeta.errors import ConfigError, InputError
from transmeta.workspace import Compute, ExecutorKind


def chosen(
    executor: str | None = None, *, address: str | None = None, workers: int | None = None, gpus: float = 0.0
) -> Compute:
    return choose_compute(executor, address=address, workers=workers, cpus=1.0, gpus=gpus, default=ExecutorKind.LOCAL)


def test_what_only_ray_gives_means_ray() -> None:
    assert chosen().executor is ExecutorKind.LOCAL
    assert chosen("ray").executor is ExecutorKind.RAY
    assert chosen(workers=1).executor is ExecutorKind.LOCAL
    assert chosen(workers=2).executor is ExecutorKind.RAY
    assert chosen(address="auto").executor is ExecutorKind.RAY
    assert chosen(gpus=0.5).executor is ExecutorKind.RAY


def test_amounts_go_on_as_they_are() -> None:
    assert chosen("ray", address="auto", workers=3, gpus=0.5) == Compute(
        executor=ExecutorKind.RAY, address="auto", cpus=1.0, gpus=0.5, workers=3
    )


def test_hyperparameters_are_numbers_truth_values_or_texts() -> None:
    texts = ["rank=4", "learning_rate=1e-3", "flag=true", "schedule=cosine", "odd=[1]", "empty="]

    assert parse_params(texts) == {
        "rank": 4,
        "learning_rate": 1e-3,
        "flag": True,
        "schedule": "cosine",
        "odd": "[1]",
        "empty": "",
    }
    with pytest.raises(ConfigError, match="write name=value"):
        parse_params(["=3"])


def test_names_and_seeds_are_separated_by_commas() -> None:
    assert parse_names(None, option="--sources") is None
    assert parse_names("lora, linear_probe,lora", option="--strategies") == ("lora", "linear_probe")
    assert parse_seeds("0,2") == (0, 2)
    with pytest.raises(InputError, match="no names in it"):
        parse_names(",", option="--sources")
    with pytest.raises(InputError, match="such as 0,1,2"):
        parse_seeds("one")
    with pytest.raises(InputError, match="no names in it"):
        parse_seeds("")


def test_a_workspace_is_not_made_by_being_opened(tmp_path: Path) -> None:
    assert open_workspace(tmp_path / "new", store=None).folder == tmp_path / "new"
    assert not (tmp_path / "new").exists()
