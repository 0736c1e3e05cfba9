"""Does `adapt` beat full fine-tuning with default settings, given the same wall time, on targets that are new to it?

The rival fully fine-tunes the nearest source by card (same domain, else most classes) with default numbers, and is
stopped at the same time. A tie is a difference within one standard error of the rival's test score.

    python benchmarks/adapt_against_finetune.py --budget 2m [--packs FOLDER] [--json]
"""

import argparse
import dataclasses
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from transmeta.api import parse_duration
from transmeta.core import codec
from transmeta.core.model import ModelCard
from transmeta.core.task import Task, TaskPair
from transmeta.core.trial import TrialResult, TrialSpec
from transmeta.execution.local import LocalExecutor
from transmeta.experiments.search import Deadline, ReplaySearch
from transmeta.models.library import ModelLibrary
from transmeta.strategies.catalogue import default_spec
from transmeta.tasks.catalogue import find_task, load_task
from transmeta.trials.environment import Environment
from transmeta.trials.predict import AdaptedModel
from transmeta.workspace import code_version

PACKAGED = (
    "glyphs-grek@3", "glyphs-grek@10", "glyphs-guru@3", "glyphs-guru@10", "glyphs-mlym@10",
    "icons-nature@3", "icons-nature@10", "icons-places@3", "icons-places@10", "icons-security@10",
)  # fmt: skip
"""Held out of the training of the packaged policy."""
PACKS = (
    "omniglot32.npz#omniglot-angelic@3", "omniglot32.npz#omniglot-keble@10", "emoji32.npz#emoji-twemoji@10",
    "usps_test32.npz#usps@10", "tinyimagenet_32.npz#tinyimagenet-g00@10",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One target; scores are test accuracies, `single` of adapt's best model alone; wall seconds with start-up."""

    target: str
    adapt: float
    single: float
    rival: float
    standard_error: float
    adapt_s: float
    rival_s: float
    strategy: str
    source: str
    trials: int

    @property
    def is_at_least(self) -> bool:
        return self.adapt >= self.rival - self.standard_error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="2m")
    parser.add_argument("--packs", type=Path, help="folder with packs, for targets of other domains as well")
    parser.add_argument("--targets", nargs="*", help="names, in place of the built-in list")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    names = list(options.targets or PACKAGED)
    if options.packs:
        names += [str(options.packs / name) for name in PACKS]
    rows = []
    for name in names:
        rows.append(compare(name, budget_s=parse_duration(options.budget)))
        print(f"{rows[-1].target}: adapt {rows[-1].adapt:.3f}, rival {rows[-1].rival:.3f}", file=sys.stderr, flush=True)
    wins = sum(row.is_at_least for row in rows)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, transmeta {code_version()}"
    if options.json:
        print(json.dumps({"at_least": wins, "targets": len(rows), "machine": machine, "rows": codec.to_json(rows)}))
        return
    print(
        "| target | adapt | its best model alone | full fine-tuning | ± | adapt s | chosen | trials |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    for row in rows:
        print(
            f"| {row.target} | {row.adapt:.3f} | {row.single:.3f} | {row.rival:.3f} | {row.standard_error:.3f} "
            f"| {row.adapt_s:.1f} | {row.strategy} from {row.source} | {row.trials} |"
        )
    print(f"\nat least as good on {wins} of {len(rows)} targets, budget {options.budget} ({machine})")


def compare(name: str, *, budget_s: float) -> Comparison:
    task = find_task(name)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "transmeta", "adapt", "--data", name, "--budget", f"{budget_s:g}s", "--json"]
        command += ["--workspace", f"{folder}/workspace", "--out", f"{folder}/model", "--no-learn"]
        started_s = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        adapt_s = time.monotonic() - started_s
        if done.returncode:
            raise SystemExit(f"{name}: adapt ended with {done.returncode}: {done.stderr[-2000:]}")
        report = json.loads(done.stdout)
        started_s = time.monotonic()
        rival = fine_tuned(name, budget_s=budget_s, folder=Path(folder) / "rival")
        rival_s = time.monotonic() - started_s
    count = len(load_task(task).test)
    return Comparison(
        target=task.id,
        adapt=report["test_score"],
        single=report["single_test_score"],
        rival=rival,
        standard_error=math.sqrt(max(rival * (1 - rival), 1e-12) / count),
        adapt_s=round(adapt_s, 1),
        rival_s=round(rival_s, 1),
        strategy=report["strategy"],
        source=report["source"],
        trials=report["trials"],
    )


def nearest_source(task: Task, library: ModelLibrary) -> ModelCard:
    """Returns the card of the same domain, or else of the most classes."""
    cards = [card for card in library.candidates(task) if card.is_pretrained]
    return max(cards, key=lambda card: (any(t.domain == task.domain for t in card.trained_on), card.class_count))


def fine_tuned(name: str, *, budget_s: float, folder: Path) -> float:
    task = find_task(name)
    environment = Environment(checkpoint_folder=str(folder))
    nearest = nearest_source(task, environment.library())
    pair = TaskPair(source=nearest.id, target=task)
    spec = TrialSpec(pair=pair, strategy=default_spec("full_finetune", nearest), seed=0)
    search = Deadline(ReplaySearch([spec]), clock=time.monotonic, at=time.monotonic() + budget_s)
    (result,) = LocalExecutor(environment=environment).drive(search)
    return _test_score(result)


def _test_score(result: TrialResult) -> float:
    assert result.checkpoint is not None, result.reason
    target = result.spec.target
    return AdaptedModel.load(Path(result.checkpoint)).score(load_task(target).test, metric=target.metric)


if __name__ == "__main__":
    main()
