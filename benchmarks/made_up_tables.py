"""Is the adaptive policy ever worse than the greedy regret portfolio, on tables where nothing can be gained from it?

Families of made-up tables, some with features that say nothing: targets that order configurations alike, or by kinds,
or not at all; curves that rise at different speeds, late, with noise; records with holes or without ends. Prints the
anytime regret/(best − median) over 20 evaluations, one target left out, mean over the tables of a family.

    python benchmarks/made_up_tables.py [--tables 4] [--json]
"""

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from transmeta.experiments.table_test.run import Comparison, compare_on_table
from transmeta.stores.table import read_table

Array = npt.NDArray[np.float64]

METHODS: Final = ("adaptive", "greedy_regret")
SOURCES: Final = 5
STRATEGIES: Final = ("full_finetune", "linear_probe", "lora")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How tables of a family are drawn.

    Attributes:
        shared: share of the variance of final values, in log-odds, that targets have in common.
        kinds: of targets; each has its own common part.
        speed, speed_deviation: steps in which a curve comes near its end; deviation of their logarithm.
        noise: deviation of each value.
        is_late: curves are powers of time; the best configurations rise last.
        missing_steps, missing_cells: share of what was not recorded.
        is_cut: records end anywhere in their second half.
        dear: deviation of the logarithm of cost over configurations.
        has_features: of targets, sources and pairs, drawn without regard to values.
    """

    targets: int = 10
    configs: int = 60
    steps: int = 10
    shared: float = 0.6
    kinds: int = 1
    speed: float = 3.0
    speed_deviation: float = 0.0
    noise: float = 0.0
    is_late: bool = False
    missing_steps: float = 0.0
    missing_cells: float = 0.0
    is_cut: bool = False
    dear: float = 0.0
    has_features: bool = False


FAMILIES: Final[Mapping[str, Family]] = {
    "one order": Family(),
    "one order, one step": Family(steps=1),
    "one order, speeds differ": Family(speed_deviation=0.7),
    "one order, noise": Family(steps=20, speed=4.0, speed_deviation=0.5, noise=0.03),
    "one order, costs differ": Family(speed_deviation=0.5, dear=1.0),
    "one order, late curves": Family(steps=12, is_late=True),
    "one order, four targets": Family(targets=4, configs=30, speed_deviation=0.5),
    "one order, steps missing": Family(targets=8, configs=40, steps=8, missing_steps=0.3),
    "one order, cells missing": Family(steps=8, speed_deviation=0.5, missing_cells=0.4),
    "one order, ends missing": Family(steps=8, speed_deviation=0.5, is_cut=True),
    "one order, features": Family(has_features=True),
    "late curves, features": Family(steps=12, is_late=True, has_features=True),
    "three kinds": Family(targets=12, configs=80, shared=0.8, kinds=3, speed_deviation=0.7),
    "three kinds, one step": Family(targets=12, steps=1, shared=0.8, kinds=3),
    "four kinds, many configurations": Family(
        targets=20, configs=300, steps=5, shared=0.7, kinds=4, speed_deviation=0.5
    ),
    "no order": Family(shared=0.0, speed_deviation=0.5),
}


def draw(family: Family, *, seed: int) -> pa.Table:
    """Returns a table of `family` in the format of `meta-test --table`."""
    rng = np.random.default_rng(seed)
    shape = (family.targets, family.configs)
    common = rng.normal(size=(family.kinds, family.configs))[np.arange(family.targets) % family.kinds]
    odds = np.sqrt(family.shared) * common + np.sqrt(1 - family.shared) * rng.normal(size=shape)
    final = 1 / (1 + np.exp(-odds))
    values = final[:, :, None] * _rise(family, final, rng) + family.noise * rng.normal(size=(*shape, family.steps))
    cost = np.exp(family.dear * rng.normal(size=family.configs))
    t, c, s = np.nonzero(_recorded(family, rng))
    columns = {
        "target": pa.array([f"t{i}" for i in t]),
        "config": pa.array([f"c{i:03d}" for i in c]),
        "step": pa.array(s + 1),
        "value": pa.array(values[t, c, s]),
        "cost_s": pa.array(cost[c]),
    }
    if family.has_features:
        columns["source"] = pa.array([f"s{i % SOURCES}" for i in c])
        columns["strategy"] = pa.array([STRATEGIES[i // SOURCES % len(STRATEGIES)] for i in c])
        columns["param.lr"] = pa.array(10.0 ** -(1 + c % 4))
        columns["feature.logme"] = pa.array(rng.normal(size=(family.targets, SOURCES))[t, c % SOURCES])
        for name in ("a", "b", "c"):
            columns[f"target_feature.{name}"] = pa.array(rng.normal(size=family.targets)[t])
    return pa.table(columns)


def _rise(family: Family, final: Array, rng: np.random.Generator) -> Array:
    """Returns the share of the final value that is reached at each step, (1, C, S)."""
    time = np.arange(1, family.steps + 1)
    if family.is_late:
        power = np.exp(0.7 * rng.normal(size=family.configs) + 2 * (final.mean(axis=0) - 0.5))
        return np.asarray((time / family.steps) ** power[None, :, None], dtype=np.float64)
    speed = family.speed * np.exp(family.speed_deviation * rng.normal(size=family.configs))
    return np.asarray(1 - np.exp(-time / speed[None, :, None]), dtype=np.float64)


def _recorded(family: Family, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    shape = (family.targets, family.configs, family.steps)
    ends = rng.integers(family.steps // 2, family.steps + 1, size=shape[:2]) if family.is_cut else family.steps
    is_before_end = np.arange(family.steps) < np.broadcast_to(ends, shape[:2])[:, :, None]
    is_tried = rng.random(shape[:2]) >= family.missing_cells
    return np.asarray((rng.random(shape) >= family.missing_steps) & is_before_end & is_tried[:, :, None])


def _figures(family: Family, *, tables: int) -> dict[str, float]:
    """Returns the anytime regret of each method, and how much more ours has."""
    figures: dict[str, list[float]] = {name: [] for name in METHODS}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(tables):
            path = Path(folder) / f"{seed}.parquet"
            pq.write_table(draw(family, seed=seed), path)
            report = compare_on_table(read_table(path), Comparison(methods=METHODS), name=path.name).report
            for name in METHODS:
                figures[name].append(report.methods[name].anytime)
    means = {name: float(np.mean(values)) for name, values in figures.items()}
    return {**means, "worse_by": means[METHODS[0]] - means[METHODS[1]]}


def main() -> None:
    """Prints a row for each family."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tables", type=int, default=4, help="of each family")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    rows = {}
    for name, family in FAMILIES.items():
        rows[name] = _figures(family, tables=options.tables)
        if not options.json:
            figures = " | ".join(
                f"{value:+.4f}" if key == "worse_by" else f"{value:.4f}" for key, value in rows[name].items()
            )
            print(f"| {name} | {figures} |", flush=True)
    if options.json:
        print(json.dumps({"tables": options.tables, "families": rows}, indent=2))


if __name__ == "__main__":
    main()
