"""What does bfloat16 cost in accuracy, and what does it save, where nothing but the precision differs?

Each trial runs in both precisions, one after the other, in one process with one thread, from the packaged source of the
target's domain and with default numbers.

    python benchmarks/precision.py [--targets NAME ...] [--strategies NAME ...] [--seeds N] [--json]
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence

import torch
from adapt_against_finetune import nearest_source

from transmeta.core import codec
from transmeta.core.plan import Precision
from transmeta.core.task import TaskPair
from transmeta.core.trial import StrategySpec, TrialResult, TrialSpec
from transmeta.strategies.catalogue import default_spec
from transmeta.tasks.catalogue import find_task
from transmeta.trials.environment import Environment
from transmeta.trials.run import THREADS, TrialRun
from transmeta.workspace import code_version

TARGETS = ("glyphs-grek@10", "glyphs-guru@10", "icons-nature@10", "icons-security@10")
STRATEGIES = ("full_finetune", "partial_freeze", "lora", "side_tuning", "linear_probe")
ENVIRONMENT = Environment()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One strategy over all targets and seeds; differences are bfloat16 − float32, of test accuracies.

    Attributes:
        cost_ratio: median of CPU seconds in bfloat16 over those in float32.
        moved: largest difference, either way.
    """

    strategy: str
    trials: int
    accuracy: float
    mean_difference: float
    moved: float
    cost_ratio: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="*", default=list(TARGETS))
    parser.add_argument("--strategies", nargs="*", default=list(STRATEGIES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    rows = [measured(name, targets=options.targets, seeds=options.seeds) for name in options.strategies]
    machine = (
        f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, "
        f"torch {torch.__version__}, transmeta {code_version()}"
    )
    if options.json:
        print(json.dumps({"machine": machine, "rows": codec.to_json(rows)}))
        return
    print("| strategy | trials | accuracy in float32 | mean difference | largest | CPU s, ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row.strategy} | {row.trials} | {row.accuracy:.3f} | {row.mean_difference:+.4f} | {row.moved:.3f} "
            f"| {row.cost_ratio:.2f} |"
        )
    print(f"\n{machine}")


def measured(strategy: str, *, targets: Sequence[str], seeds: int) -> Row:
    pairs = [(run(spec), run(dataclasses.replace(spec, precision=Precision.BFLOAT16)))
             for name in targets for spec in specs(name, strategy=strategy, seeds=seeds)]  # fmt: skip
    differences = [tested(mixed) - tested(plain) for plain, mixed in pairs]
    print(f"{strategy}: {statistics.fmean(differences):+.4f}", file=sys.stderr, flush=True)
    return Row(
        strategy=strategy,
        trials=len(pairs),
        accuracy=statistics.fmean(tested(plain) for plain, _ in pairs),
        mean_difference=statistics.fmean(differences),
        moved=max(abs(difference) for difference in differences),
        cost_ratio=statistics.median(mixed.cost_s / plain.cost_s for plain, mixed in pairs),
    )


def specs(name: str, *, strategy: str, seeds: int) -> Sequence[TrialSpec]:
    task = find_task(name)
    card = nearest_source(task, ENVIRONMENT.library())
    spec: StrategySpec = default_spec(strategy, card)
    return [TrialSpec(pair=TaskPair(source=card.id, target=task), strategy=spec, seed=seed) for seed in range(seeds)]


def run(spec: TrialSpec) -> TrialResult:
    trial = TrialRun(spec, environment=ENVIRONMENT)
    while not isinstance(step := trial.advance(), TrialResult):
        pass
    return step


def tested(result: TrialResult) -> float:
    assert result.test_score is not None, result.reason
    return result.test_score


if __name__ == "__main__":
    main()
