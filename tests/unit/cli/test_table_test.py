"""`transmeta meta-test --table`: what it prints, and what it refuses."""

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .cases import Run

TARGETS = {"a.k3": "a", "a.k9": "a", "b": "b", "c": "c", "d": "d"}
CONFIGS = {"x": ("scratch-cnn", 0.1), "y": ("cats", 0.2), "z": ("cats", 0.3), "w": ("dogs", 0.9)}


@pytest.fixture
def curves(tmp_path: Path) -> Path:
    """Five targets of four data sets, four configurations, three steps; one configuration diverges on one target."""
    rows = [
        {
            "target": target,
            "config": config,
            "step": step,
            "value": math.nan if (target, config, step) == ("b", "w", 3) else level * step / 3 + 0.01 * index,
            "cost_s": 0.5,
            "test_value": level,
            "source": source,
            "strategy": "full_finetune",
            "family": family,
            "domain": "even" if index % 2 else "odd",
        }
        for index, (target, family) in enumerate(TARGETS.items())
        for config, (source, level) in CONFIGS.items()
        for step in (1, 2, 3)
    ]
    path = tmp_path / "curves.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_the_document_has_what_other_programs_read(run: Run, curves: Path) -> None:
    words = ("--methods", "greedy_regret,random", "--evaluations", 3, "--seeds", 2, "--split", "target", "--json")
    printed = run("meta-test", "--table", curves, *words)

    assert printed.code == 0, printed.err
    figures = printed.json["methods"]["greedy_regret"]
    assert {"anytime", "at", "low", "high", "per_target", "seconds"} <= figures.keys()
    assert figures["at"].keys() == {"1", "2", "3"}
    assert figures["per_target"].keys() == TARGETS.keys()
    assert figures["per_target"]["c"] == pytest.approx([0.6 / 0.65, 0, 0])  # w failed once, so z comes first
    assert figures["seconds"] == pytest.approx(figures["learn_seconds"] + figures["decide_seconds"])
    assert printed.json["split"] == "target"
    assert printed.json["units"] == 4
    assert [versus["rival"] for versus in printed.json["comparisons"]] == ["random"]


def test_domains_are_left_out_unless_asked_otherwise(run: Run, curves: Path) -> None:
    words = ("--table", curves, "--methods", "mean_rank", "--json")

    assert run("meta-test", *words).json["split"] == "family"
    assert run("meta-test", *words).json["folds"] == 2
    assert run("meta-test", *words, "--split", "source").json["folds"] == 12
    assert run("meta-test", *words, "--split", "time").json["folds"] == 2


def test_alone_it_replays_what_is_shipped_whatever_was_tried_here(
    run: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--strategies", "linear_probe,from_scratch", "--executor", "local", "--quiet")
    monkeypatch.chdir(workspace)
    assert run("collect", "digits@3", "icons-shapes@3", *words).code == 0

    alone = run("meta-test", "--dry-run", "--json").json
    own = run("meta-test", "--workspace", ".transmeta", "--dry-run", "--json").json

    assert len(alone["targets"]) == 117
    assert own["targets"] == ["digits", "icons-shapes"]


def test_methods_that_the_table_has_no_columns_for_are_left_out_with_a_notice(run: Run, curves: Path) -> None:
    printed = run("meta-test", "--table", curves, "--evaluations", 2, "--seeds", 1, "--json")

    assert printed.code == 0, printed.err
    assert "nearest" not in printed.json["methods"]
    assert "adaptive" in printed.json["methods"]
    assert any("without nearest" in line for line in printed.lines)


def test_people_get_a_table_with_the_best_first(run: Run, curves: Path) -> None:
    printed = run("meta-test", "--table", curves, "--methods", "random,greedy_regret", "--cost-budget", 3)

    assert printed.out.splitlines()[1].startswith("greedy_regret")
    assert "3 of cost" in printed.err


def test_plots_are_drawn_into_a_folder(run: Run, curves: Path, tmp_path: Path) -> None:
    words = ("--methods", "random,greedy_regret,mean_rank", "--evaluations", 2, "--plots", tmp_path / "plots")

    assert run("meta-test", "--table", curves, *words).code == 0
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "regret_by_evaluations.png",
        "regret_by_cost_seconds.png",
        "critical_differences.png",
    }


def test_what_cannot_be_compared_is_refused(refused: Run, curves: Path, tmp_path: Path, workspace: Path) -> None:
    table = ("meta-test", "--table", curves)
    one = tmp_path / "one.parquet"
    pq.write_table(pq.read_table(curves, filters=[("family", "=", "a")]), one)

    assert "no such file" in refused("meta-test", "--table", tmp_path / "none.parquet").err.lower()
    assert "needs 2" in refused("meta-test", "--table", one, "--split", "target").err
    assert "did you mean 'greedy_rank'" in refused(*table, "--methods", "gredy_rank").err
    assert "target_feature" in refused(*table, "--methods", "nearest").err
    assert "--cost-budget 0" in refused(*table, "--cost-budget", 0).err
    assert "--held-out" in refused(*table, "--held-out", "a").err
