"""Costs of the meta-dataset's arms, each by itself."""

import importlib.util
import json
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from transmeta.config import load_config
from transmeta.trials.environment import Environment

FOLDER = Path(__file__).parents[3] / "benchmarks" / "meta_dataset"
ENVIRONMENT = Environment()


@pytest.fixture(scope="module")
def costs():
    sys.path.insert(0, str(FOLDER))
    spec = importlib.util.spec_from_file_location("meta_costs", FOLDER / "costs.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["meta_costs"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(FOLDER))
    del sys.modules["meta_costs"], sys.modules["meta_plan"]


@pytest.fixture(scope="module")
def cell(costs, tmp_path_factory):
    """The probes of one packaged target, as if collected with a source of another id."""
    config = load_config(costs.MetaDatasetConfig, FOLDER / "smoke.toml")
    target = costs.cells(config, packs=None)[1]
    known = ENVIRONMENT.library().cards()
    cards = costs.cards_of(config, [target], packs=None, known=known)
    arms = [
        arm
        for arm in costs.pools_of(config, [target], cards=cards)[target.modality]
        if arm.strategy.name == "linear_probe" and arm.source.startswith("digits")
    ]
    names = [arm.key.replace(arm.source, "digits-00000000", 1) for arm in arms]
    steps = [1, *range(1, 10)]  # the first arm was left early
    table = pa.table(
        {
            "target": [target.id] * len(steps),
            "config": [names[0], *([names[1]] * 9)],
            "step": steps,
            "cost_s": [99.0] * len(steps),
            "value": [0.5] * len(steps),
        }
    )
    folder = tmp_path_factory.mktemp("costs")
    (planned,) = costs.plan(config, packs=None, environment=ENVIRONMENT, table=table, folder=folder)
    return planned, table


def test_only_what_was_collected_is_measured_whatever_the_ids_of_the_sources(cell):
    planned, table = cell

    assert len(planned.arms) == len(set(table["config"].to_pylist())) == 2
    assert planned.environment.cache_folder is None


def test_measured_costs_take_the_place_of_those_in_the_table(costs, cell):
    planned, table = cell
    said = costs.measure(planned)

    written = costs.with_costs(table, folder=planned.file.parent)

    assert said.startswith(f"{planned.target.id}, 2 arms, ")
    assert written.column_names == table.column_names
    assert written["value"] == table["value"]
    paid = written["cost_s"].to_pylist()
    assert all(0.0 < cost < 20.0 for cost in paid)
    assert paid[1] > 2.0 * paid[2]  # the first measurement pays for the pass through the frozen stages


def test_no_trial_finds_what_another_has_computed(costs, cell, monkeypatch):
    planned, _ = cell
    found = []
    monkeypatch.setattr(
        costs, "TrialRun", lambda *args, **kw: found.append(costs.prefix_cache.cache_info().currsize) or Ended()
    )

    costs.measure(planned)

    assert len(found) >= 3
    assert set(found) == {0}


class Ended:
    """A trial that ends at once."""

    def advance(self):
        from transmeta.core.trial import Measurement, TrialResult, TrialStatus

        shown = Measurement(
            epoch=1, progress=1.0, progress_before=0.0, value=0.5, train_loss=1.0, cost_s=0.1, wall_s=0.1
        )
        return TrialResult(spec=None, status=TrialStatus.COMPLETED, curve=(shown,), cost_s=0.2)


def test_the_costs_of_a_trial_sum_to_what_it_cost(costs):
    assert costs._steps(Ended().advance()) == [0.2]


def test_a_file_for_each_cell_is_what_a_second_run_goes_on_from(costs, cell):
    planned, _ = cell
    costs.measure(planned)

    kept = json.loads(planned.file.read_bytes())

    assert set(kept) == {costs.DIGEST.sub("", arm.key) for arm in planned.arms}
