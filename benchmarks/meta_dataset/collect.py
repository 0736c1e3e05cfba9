"""Collects the meta-dataset: every arm of a fixed pool on every target cell; run again, it goes on where it was.

python benchmarks/meta_dataset/collect.py --packs FOLDER --workspace DIR --out FILE [--domains a,b] [--smoke]
"""

import argparse
import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from meta_plan import MetaDatasetConfig, among, cards_of, cells, check_leaks, pools_of, repeats

from transmeta.config import load_config
from transmeta.core.experience import Experience
from transmeta.core.model import ModelCard
from transmeta.core.task import Modality, Task
from transmeta.core.trial import Arm, TrialStatus
from transmeta.execution.ray.session import session
from transmeta.execution.ray.trainer import train_source
from transmeta.experiments.collect import specs_for
from transmeta.experiments.run import Workbench, run
from transmeta.experiments.search import ReplaySearch
from transmeta.models.importer import import_model
from transmeta.stores.parquet import export_table
from transmeta.stores.sql import SqlExperienceStore
from transmeta.workspace import Compute, ExecutorKind, Workspace

HERE: Final = Path(__file__).parent


def main() -> None:
    """Collects, and writes the table."""
    options = _options()
    name = "smoke.toml" if options.smoke else "collect.toml"
    config = load_config(MetaDatasetConfig, options.config or HERE / name)
    domains = options.domains.split(",") if options.domains else None
    workspace = Workspace(folder=options.workspace)
    targets = cells(config, packs=options.packs, domains=domains)
    with session(cpus=config.workers), workspace.store() as store:
        cards = _cards(config, targets, workspace=workspace, packs=options.packs)
        pools = pools_of(config, targets, cards=cards)
        _say(f"{len(targets)} cells; arms: " + ", ".join(f"{len(arms)} ({kind})" for kind, arms in pools.items()))
        compute = Compute(executor=ExecutorKind.RAY, workers=config.workers)
        with workspace.bench(compute, run="meta-dataset", store=store) as bench:
            collection = Collection(
                config=config, workspace=workspace, store=store, bench=bench, cards=cards, pools=pools
            )
            collection.collect(targets, out=options.out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=Path, help="folder of packs (docs/data.md), with udhr1024.npz in it")
    parser.add_argument("--workspace", type=Path, required=True, help="keeps trials and sources; the same one resumes")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file; written anew after each batch of cells")
    parser.add_argument("--config", type=Path, help="a TOML file like collect.toml")
    parser.add_argument("--domains", metavar="NAME,...", help="targets of these alone")
    parser.add_argument("--smoke", action="store_true", help="a few trials on packaged data, without --packs")
    return parser.parse_args()


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def _cards(
    config: MetaDatasetConfig, targets: Sequence[Task], *, workspace: Workspace, packs: Path | None
) -> tuple[ModelCard, ...]:
    """Trains and imports what is not there yet, and returns the cards of all sources of the collection."""
    for name, file in config.imported.items():
        if name not in workspace.environment().library().cards():
            _say(f"source {name}: import")
            import_model(name, folder=workspace.models, weights=packs / file if file and packs else None)
    for source in config.sources:
        spec = source.spec(packs=packs, seed=config.seed)
        if spec.model_id not in workspace.environment().library().cards():
            _say(f"source {spec.model_id}: {source.epochs} epochs on {', '.join(source.tasks)}")
            train_source(spec, models=workspace.models, storage=workspace.folder / "train", workers=1)
    return cards_of(config, targets, packs=packs, known=workspace.environment().library().cards())


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A collection under way.

    Attributes:
        pools: the arms for targets of each modality.
    """

    config: MetaDatasetConfig
    workspace: Workspace
    store: SqlExperienceStore
    bench: Workbench
    cards: tuple[ModelCard, ...]
    pools: Mapping[Modality, tuple[Arm, ...]]

    def collect(self, targets: Sequence[Task], *, out: Path) -> None:
        """Runs all arms on all cells, then the best of each cell with more seeds; writes the table after each batch.

        Seeds come second, so that an early end leaves all cells with all arms.
        """
        rows: dict[str, Sequence[Experience]] = {}
        size = self.config.cells_at_once
        for is_repeat in (False, True):
            started_s = time.monotonic()
            _say(f"the best {self.config.repeated} of each cell with more seeds" if is_repeat else "all arms, one seed")
            for begin in range(0, len(targets), size):
                batch = targets[begin : begin + size]
                fresh = self._run(batch, known=rows if is_repeat else {})
                rows |= {target.id: self.store.read(targets=[target.id]) for target in batch}
                export_table([row for of_cell in rows.values() for row in of_cell], out, has_payload=False)
                done = begin + len(batch)
                left_min = (time.monotonic() - started_s) / done * (len(targets) - done) / 60
                _report(rows, batch, fresh=fresh)
                _say(f"{done} of {len(targets)} cells, about {left_min:.1f} min to go in this pass")
        _say(f"written: {out}, {sum(map(len, rows.values()))} trials")

    def _run(self, batch: Sequence[Task], *, known: Mapping[str, Sequence[Experience]]) -> int:
        """Runs the arms on the cells of a batch, those that were `known` to be best with other seeds.

        Returns:
            How many trials were new.
        """
        features = {
            target.id: among(self.workspace.features(target, store=self.store), cards=self.cards) for target in batch
        }
        if known:
            results = [row.result for target in batch for row in known[target.id]]
            specs = repeats(results, count=self.config.repeated, seeds=self.config.repeat_seeds)
        else:
            specs = tuple(
                spec
                for target in batch
                for spec in specs_for([target], arms=self.pools[target.modality], features=features)
            )
        check_leaks(specs, cards=self.cards)
        return len(run(ReplaySearch(specs), bench=self.bench, features=features))


def _report(rows: Mapping[str, Sequence[Experience]], batch: Sequence[Task], *, fresh: int) -> None:
    for target in batch:
        found = [row.result for row in rows[target.id]]
        failed = sum(result.status is TrialStatus.FAILED for result in found)
        best = max((one for one in found if one.utility is not None), key=lambda one: one.utility or 0.0)
        _say(
            f"  {target.id}: {len(found)} trials, {failed} failed, {sum(one.cost_s for one in found):.0f} CPU s, "
            f"best {best.score:.3f} by {best.spec.strategy.name} from {best.spec.pair.source}"
        )
    every = [row.result for of_cell in rows.values() for row in of_cell]
    _say(f"  {len(every)} trials ({fresh} new), {sum(one.cost_s for one in every):.0f} CPU s in all")


if __name__ == "__main__":
    main()
