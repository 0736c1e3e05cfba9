"""Measures what each arm costs by itself on each cell of the meta-dataset, and writes the table with these costs.

By itself: nobody trains beside it in a stack, and no outputs of frozen stages are at hand; the cell's data are in
memory. Run again, it goes on where it was.

python benchmarks/meta_dataset/costs.py --packs FOLDER --workspace DIR --table FILE --out FILE
"""

import argparse
import concurrent.futures
import dataclasses
import json
import multiprocessing
import random
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from meta_plan import MetaDatasetConfig, cards_of, cells, pools_of

from transmeta.config import load_config
from transmeta.core.task import Task, TaskPair
from transmeta.core.trial import Arm, TrialResult, TrialSpec
from transmeta.stores.parquet import step_costs
from transmeta.stores.table_file import write_table
from transmeta.training.files import write_atomically
from transmeta.training.frozen import process_cache
from transmeta.training.seeding import derive_seed
from transmeta.trials.environment import Environment
from transmeta.trials.run import THREADS, TrialRun, prefix_cache
from transmeta.workspace import Workspace

HERE: Final = Path(__file__).parent
SEED: Final = 0
DIGEST: Final = re.compile(r"-[0-9a-f]{8}(?=\||$)")
"""The end of a trained source's id, which depends on where the packs are."""

Costs = Mapping[str, Sequence[float]]
"""CPU seconds of each step, by configuration."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A target, and what is measured on it.

    Attributes:
        file: where its costs are kept.
    """

    target: Task
    arms: tuple[Arm, ...]
    environment: Environment
    file: Path


def main() -> None:
    """Measures what was not measured yet, and writes the table."""
    options = _options()
    if not options.table.is_file():
        raise SystemExit(f"{options.table}: no such file; give the table that collect.py wrote")
    config = load_config(MetaDatasetConfig, options.config)
    environment = Workspace(folder=options.workspace).environment()
    folder = options.workspace / "costs"
    table = pq.read_table(options.table)
    every = plan(config, packs=options.packs, environment=environment, table=table, folder=folder)
    todo = [cell for cell in every if not cell.file.is_file()]
    _say(f"{len(todo)} of {len(every)} cells to measure")
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(config.workers, mp_context=context) as pool:
        for done, said in enumerate(pool.map(measure, todo), start=1):
            _say(f"{done} of {len(todo)}: {said}")
    write_table(with_costs(table, folder=folder), path=options.out)
    _say(f"written: {options.out}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=Path, help="folder of packs (docs/data.md)")
    parser.add_argument("--workspace", type=Path, required=True, help="of collect.py: holds the sources; keeps costs")
    parser.add_argument("--table", type=Path, required=True, help="what collect.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="the same table with the costs measured here")
    parser.add_argument("--config", type=Path, default=HERE / "collect.toml", help="that of collect.py")
    return parser.parse_args()


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def plan(
    config: MetaDatasetConfig, *, packs: Path | None, environment: Environment, table: pa.Table, folder: Path
) -> Sequence[Cell]:
    """Returns the cells of `table` with the arms that it has there, in the order in which they were collected."""
    tried: dict[str, set[str]] = {}
    for target, name in zip(table["target"].to_pylist(), table["config"].to_pylist(), strict=True):
        tried.setdefault(target, set()).add(DIGEST.sub("", name))
    targets = [target for target in cells(config, packs=packs) if target.id in tried]
    cards = cards_of(config, targets, packs=packs, known=environment.library().cards())
    pools = pools_of(config, targets, cards=cards)
    return [
        Cell(
            target=target,
            arms=tuple(arm for arm in pools[target.modality] if DIGEST.sub("", arm.key) in tried[target.id]),
            environment=dataclasses.replace(environment, cache_folder=None),
            file=folder / f"{target.id}.json",
        )
        for target in targets
    ]


def measure(cell: Cell) -> str:
    """Runs the arms of a cell, in an order of its own, and keeps their costs; returns what there is to say of it."""
    torch.set_num_threads(THREADS)
    arms = list(cell.arms)
    random.Random(derive_seed(0, cell.target.id)).shuffle(arms)  # a slow minute is not one strategy's
    for source in sorted({arm.source for arm in arms}):  # pays for what later trials of a process find at hand
        _alone(cell, next(arm for arm in arms if arm.source == source))
    costs = {DIGEST.sub("", arm.key): _steps(_alone(cell, arm)) for arm in arms}
    cell.file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(cell.file, json.dumps(costs, indent=0).encode())
    return f"{cell.target.id}, {len(costs)} arms, {sum(map(sum, costs.values())):.0f} CPU s"


def _alone(cell: Cell, arm: Arm) -> TrialResult:
    prefix_cache.cache_clear()
    process_cache.cache_clear()
    spec = TrialSpec(pair=TaskPair(source=arm.source, target=cell.target), strategy=arm.strategy, seed=SEED)
    run = TrialRun(spec, environment=cell.environment)
    while not isinstance(step := run.advance(), TrialResult):
        pass
    return step


def _steps(result: TrialResult) -> Sequence[float]:
    """Returns the CPU seconds of each step, to a microsecond."""
    return [round(cost_s, 6) for cost_s in step_costs(result)]


def with_costs(table: pa.Table, *, folder: Path) -> pa.Table:
    """Returns `table` with the measured costs; those of seed 0 count for other seeds of the same arm."""
    known: dict[str, Costs] = {file.stem: json.loads(file.read_bytes()) for file in folder.glob("*.json")}
    rows = zip(table["target"].to_pylist(), table["config"].to_pylist(), table["step"].to_pylist(), strict=True)
    costs = pa.array([known[target][DIGEST.sub("", name)][step - 1] for target, name, step in rows], pa.float64())
    return table.set_column(table.column_names.index("cost_s"), "cost_s", costs)


if __name__ == "__main__":
    main()
