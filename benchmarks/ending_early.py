"""What does `--min-gain` save, and what does it lose? Replayed on the shipped meta-dataset, targets left out.

A search of twenty full runs by the adaptive policy, as `adapt` has it; after its first generation it ends once the best
configuration that is left is expected to raise the best validation score by less than the least gain. Prints, per least
gain, how many trials were run, and what was lost against all twenty.

    python benchmarks/ending_early.py [--split family] [--json]
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import Final

import numpy as np

from transmeta.experiments.search import GENERATION
from transmeta.experiments.table_test.folds import folds
from transmeta.experiments.table_test.ground import Ground, Target
from transmeta.experiments.table_test.shipped import shipped_meta_dataset
from transmeta.experiments.table_test.split import Split
from transmeta.policies.adaptive.method import AdaptiveMethod
from transmeta.policies.adaptive.protocol import Allowance
from transmeta.policies.adaptive.session import AdaptiveSession
from transmeta.stores.table import read_table
from transmeta.training.seeding import derive_seed

GAINS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01)
TRIALS: Final = 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Means over the targets.

    Attributes:
        trials: of twenty.
        lost: validation score, against all twenty; `most_lost` on any target.
    """

    min_gain: float
    trials: float
    lost: float
    most_lost: float


def played(session: AdaptiveSession, target: Target) -> Sequence[tuple[float, float]]:
    """Returns best value so far and expected gain after each trial."""
    best, after = -np.inf, []
    while len(after) < TRIALS and (move := session.next()) is not None:
        value, is_failed = float(target.final[move.config]), bool(np.isneginf(target.final[move.config]))
        session.tell(move, np.array([value]), target.step_cost_s[move.config], failed=is_failed)
        best = max(best, value)
        gain = session.expected_gain()
        after.append((best, np.inf if gain is None else gain))
    return after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=[Split.TARGET.value, Split.FAMILY.value], default=Split.FAMILY.value)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    ground, split = Ground(read_table(shipped_meta_dataset())), Split(chosen.split)
    searches: list[Sequence[tuple[float, float]]] = []
    for fold in folds(ground, split):
        curves = ground.curves([ground.rows[index] for index in fold.known])
        learned = AdaptiveMethod(by_domain=split is Split.FAMILY).learn(curves, seed=derive_seed(0, "learn", fold.name))
        for index in fold.test:
            present = ground.present(index, allowance=Allowance(evaluations=float(TRIALS)))
            searches.append(played(learned.start(present, seed=0, is_partial=False), ground.targets[index]))
    endings = []
    for least in GAINS:
        ends = [
            next((n for n, (_, gain) in enumerate(search, start=1) if n >= GENERATION and gain < least), len(search))
            for search in searches
        ]
        lost = [search[-1][0] - search[end - 1][0] for search, end in zip(searches, ends, strict=True)]
        endings.append(
            Ending(
                min_gain=least, trials=float(np.mean(ends)), lost=float(np.mean(lost)), most_lost=float(np.max(lost))
            )
        )
    if chosen.json:
        print(json.dumps([dataclasses.asdict(ending) for ending in endings], indent=1))
        return
    print(f"{len(searches)} targets, {TRIALS} trials each, split {split.value}\nleast gain  trials  lost    most lost")
    for ending in endings:
        print(f"{ending.min_gain:<11g} {ending.trials:<7.1f} {ending.lost:<7.4f} {ending.most_lost:.3f}")


if __name__ == "__main__":
    main()
