"""The gate of the meta loop: is what was learned not worse on targets that it was not learned from?"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from transmeta.core.experience import Experience, MetaFeatures
from transmeta.core.protocols import P, Policy, PolicyLearner
from transmeta.core.trial import TrialStatus
from transmeta.experiments.meta_train import Gate, GateReport
from transmeta.policies.table import WORST, RegretTable

PICKS: Final = 5
FOLDS: Final = 3


def left_out_gate(learner: PolicyLearner[P]) -> Gate:
    """Returns the gate that leaves each data set out once, in three parts, and compares the regret there.

    The figure is the mean over data sets of the regret of the first pick and of the best of five, both among the arms
    that were tried on the target. With fewer data sets than parts it lets everything pass.
    """
    learned: dict[tuple[int, frozenset[tuple[str, TrialStatus]]], P] = {}

    def policy_of(part: int, experience: Sequence[Experience]) -> P:
        key = (part, frozenset((row.id, row.result.status) for row in experience))  # a crashed trial may be mended
        if key not in learned:
            learned[key] = learner.update(learner.initial(), experience)
        return learned[key]

    def gate(before: Sequence[Experience], after: Sequence[Experience]) -> GateReport:
        datasets = sorted({row.result.spec.target.dataset for row in after})
        if not before or len(datasets) < FOLDS:
            return GateReport(before=WORST, after=WORST, tolerance=0.0)
        figures: dict[str, tuple[float, float]] = {}
        for part in range(FOLDS):
            left_out = datasets[part::FOLDS]
            table = RegretTable.from_experience([r for r in after if r.result.spec.target.dataset in left_out])
            olds, news = (
                replay_regret(policy_of(part, [r for r in rows if r.result.spec.target.dataset not in left_out]), table)
                for rows in (before, after)
            )
            figures |= {dataset: (olds[dataset], news[dataset]) for dataset in olds}
        if not figures:
            return GateReport(before=WORST, after=WORST, tolerance=0.0)
        old, new = np.array(list(figures.values())).T
        error = float(np.std(new - old, ddof=1)) / math.sqrt(len(old)) if len(old) > 1 else 0.0
        return GateReport(before=float(old.mean()), after=float(new.mean()), tolerance=error)

    return gate


def replay_regret(policy: Policy, table: RegretTable) -> dict[str, float]:
    """Returns data set → mean over its targets of (regret of the first pick + regret of the best of five) / 2.

    A pick without a record on the target is passed over, so all policies choose among the same arms.
    """
    columns = table.columns()
    figures: dict[str, list[float]] = {}
    for row, target in enumerate(table.targets):
        features = MetaFeatures(target_id=target.id, target=target.features, pairs=target.pairs)
        picks = policy.suggest(features, (), count=len(table.arms), seed=0)
        known = [columns[pick.arm.key] for pick in picks if pick.arm.key in columns]
        regrets = [float(table.regret[row, column]) for column in known if table.is_tried[row, column]][:PICKS]
        figures.setdefault(target.dataset, []).append((regrets[0] + min(regrets)) / 2 if regrets else WORST)
    return {dataset: float(np.mean(values)) for dataset, values in figures.items()}
