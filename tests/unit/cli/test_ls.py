from pathlib import Path

from transmeta.strategies.catalogue import strategy_names

from .cases import Run


def test_strategies_have_a_summary(run: Run) -> None:
    items = run("ls", "strategies", "--json").json

    assert [item["name"] for item in items] == [*strategy_names()]
    assert all(item["summary"].endswith(".") for item in items)


def test_tasks_are_those_that_ship(run: Run) -> None:
    lines = run("ls", "tasks").out.splitlines()

    assert lines[0] == "name\tdomain\tclasses\tshape"
    assert "digits\tdigits\t10\t32×32×1" in lines


def test_models_are_those_of_the_workspace_too(run: Run, workspace: Path) -> None:
    items = run("ls", "models", "--workspace", workspace, "--json").json

    (greek,) = [item for item in items if item["id"].startswith("greek-")]
    assert greek["trained on"] == "glyphs-grek"
    assert greek["weights"] > 80_000


def test_the_policy_in_force_is_marked(run: Run, workspace: Path, tmp_path: Path) -> None:
    items = run("ls", "policies", "--workspace", workspace, "--json").json
    used = [item for item in items if item["used"] == "yes"]

    assert [(item["where"], item["policy"]) for item in used] == [("workspace", "fixed-linear_probe")]
    assert run("ls", "policies", "--workspace", tmp_path / "none").code == 0


def test_a_misspelt_kind_gets_the_nearest(refused: Run) -> None:
    assert "did you mean 'models'" in refused("ls", "model").err
