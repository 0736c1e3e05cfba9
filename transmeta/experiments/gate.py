"""The gate of the meta loop: is what was learned not worse on targets that it was not learned from?"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from transmeta.core.experience import Experience, MetaFeatures
from transmeta.core.protocols import P, Policy, PolicyLearner
from transmeta.experiments.meta_train import Gate, GateReport
from transmeta.policies.table import WORST, RegretTable

PICKS: Final = 5
EVERY: Final = 4
"""One data set in this many is left out."""


def left_out_gate(learner: PolicyLearner[P]) -> Gate:
    """Returns the gate that learns without every fourth data set, and compares regret there.

    The figure is the mean over the left-out targets of the regret of the first pick and of the best of five, both among
    the arms that were tried there. Without enough data sets it lets everything pass.
    """

    def gate(before: Sequence[Experience], after: Sequence[Experience]) -> GateReport:
        datasets = sorted({row.result.spec.target.dataset for row in after})
        left_out = frozenset(datasets[::EVERY]) if len(datasets) >= EVERY else frozenset[str]()
        table = RegretTable.from_experience([row for row in after if row.result.spec.target.dataset in left_out])
        if not table.targets:
            return GateReport(before=WORST, after=WORST)

        def regret(experience: Sequence[Experience]) -> float:
            known = [row for row in experience if row.result.spec.target.dataset not in left_out]
            return replay_regret(learner.update(learner.initial(), known), table=table) if known else WORST

        return GateReport(before=regret(before), after=regret(after))

    return gate


def replay_regret(policy: Policy, *, table: RegretTable) -> float:
    """Returns the mean over the targets of `table` of (regret of the first pick + regret of the best of five) / 2.

    A pick without a record on the target is passed over, so all policies choose among the same arms.
    """
    columns = table.columns()
    figures = []
    for row, target in enumerate(table.targets):
        features = MetaFeatures(target_id=target.id, target=target.features, pairs=target.pairs)
        picks = policy.suggest(features, (), count=len(table.arms), seed=0)
        known = [columns[pick.arm.key] for pick in picks if pick.arm.key in columns]
        regrets = [table.regret[row, column] for column in known if table.is_tried[row, column]][:PICKS]
        figures.append((regrets[0] + min(regrets)) / 2 if regrets else WORST)
    return float(np.mean(figures))
