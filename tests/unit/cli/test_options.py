from pathlib import Path

import pytest

from transmeta.api import SHORT_S, default_compute
from transmeta.cli.collect import MANY
from transmeta.cli.options import choose_compute, open_workspace, parse_names, parse_params, parse_seeds
from transmeta.core.trial import Budget
from transmeta.errors import ConfigError, InputError
from transmeta.workspace import Compute, ExecutorKind

from .cases import Run


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


@pytest.mark.parametrize(
    ("command", "default"),
    [
        ("adapt", f"ray for a --budget of {SHORT_S:g}s or more, else local"),
        ("search", f"tune for a --budget of {SHORT_S:g}s or more or --scheduler asha, else local"),
        ("search", "worker mean tune."),
        ("adapt", "worker mean ray."),
        ("collect", f"ray for {MANY} new trials or more, else local"),
        ("transfer", "By default local."),
        ("meta-train", "By default ray."),
    ],
)
def test_the_help_says_where_trials_run_by_default(run: Run, command: str, default: str) -> None:
    text = " ".join(run(command, "--help").out.split())

    assert default in text
    assert "|".join(ExecutorKind) in text


def test_only_a_long_time_means_ray_by_default() -> None:
    assert default_compute(Budget(trials=1000)).executor is ExecutorKind.LOCAL
    assert default_compute(Budget(wall_s=SHORT_S - 1)).executor is ExecutorKind.LOCAL
    assert default_compute(Budget(wall_s=SHORT_S)).executor is ExecutorKind.RAY
    assert default_compute(Budget(trials=2, wall_s=SHORT_S)).executor is ExecutorKind.RAY


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
