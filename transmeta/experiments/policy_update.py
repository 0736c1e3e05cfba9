"""Continual learning: a policy extended by new trials, and accepted if it is not worse on left-out targets."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import final

import numpy as np

from transmeta.core.experience import Experience
from transmeta.core.protocols import Policy
from transmeta.core.trial import TrialStatus
from transmeta.experiments.meta_train import GateReport
from transmeta.policies.adaptive.check import regret_on
from transmeta.policies.adaptive.learner import AdaptiveLearner
from transmeta.policies.adaptive.merging import known_curves, merged, table_curves
from transmeta.policies.adaptive.policy import AdaptivePolicy
from transmeta.policies.adaptive.protocol import Curves
from transmeta.policies.adaptive.trials import curves_of
from transmeta.policies.table import WORST, RegretTable


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PolicyUpdate:
    """What was learned, and how it compares with the policy before.

    Attributes:
        policy: not in force yet.
        targets, data_sets: that it knows.
        new_targets: of these, the ones that the policy before did not know, or with fewer configurations.
    """

    policy: AdaptivePolicy
    gate: GateReport
    targets: int
    data_sets: int
    new_targets: int


def extended(base: Policy, experience: Sequence[Experience], *, learner: AdaptiveLearner) -> PolicyUpdate | None:
    """Returns `base` with the targets of `experience` beside those that it knows. Takes some ten CPU seconds.

    None if `experience` says nothing that `base` does not know: a target counts with two finished trials of different
    choices. A base of another kind lends the table that it has; its decisions are not compared then.
    """
    known, new = known_by(base), curves_of(experience)
    both = known if not new.targets else merged(known, new)
    counts = dict(zip(known.targets, known.observed.sum(axis=1).tolist(), strict=True))
    grown = sum(
        int(line.sum()) > counts.get(target, 0) for target, line in zip(both.targets, both.observed, strict=True)
    )
    if not grown:
        return None
    start = base if isinstance(base, AdaptivePolicy) else learner.initial()
    policy = learner.learn(start, both)
    return PolicyUpdate(
        policy=policy,
        gate=compared(start, policy, both),
        targets=len(both.targets),
        data_sets=len(set(both.groups)),
        new_targets=grown,
    )


@final
class Remembering:
    """A learner that does not learn the same twice, with the gate that uses what it learned: for the outer loop.

    Each round then costs one learning, where the general gate costs six.
    """

    def __init__(self, learner: AdaptiveLearner) -> None:
        self._learner = learner
        self._learned: dict[frozenset[tuple[str, TrialStatus]], AdaptivePolicy] = {}

    def initial(self) -> AdaptivePolicy:
        """Returns the policy that knows nothing."""
        return self._learner.initial()

    def update(self, policy: AdaptivePolicy, experience: Sequence[Experience]) -> AdaptivePolicy:
        """Returns the policy learned from all of `experience`; `policy` does not matter."""
        key = frozenset((row.id, row.result.status) for row in experience)  # a crashed trial may be mended
        if key not in self._learned:
            self._learned[key] = self._learner.update(self._learner.initial(), experience)
        return self._learned[key]

    def gate(self, before: Sequence[Experience], after: Sequence[Experience]) -> GateReport:
        """Compares what is learned from `before` with what is learned from `after`, on left-out data sets."""
        start = self.initial()
        if not before:
            return GateReport(before=WORST, after=WORST, tolerance=0.0)
        return compared(self.update(start, before), self.update(start, after), curves_of(after))


def known_by(policy: Policy) -> Curves:
    """Returns the curves of what `policy` knows; empty for one without a table."""
    if isinstance(policy, AdaptivePolicy):
        return known_curves(policy.learned)
    table = getattr(policy, "table", None)
    return table_curves(table) if isinstance(table, RegretTable) else curves_of(())


def compared(before: AdaptivePolicy, after: AdaptivePolicy, curves: Curves) -> GateReport:
    """Returns the regret on data sets left out, of both, on those where both can be judged; nothing is trained.

    On data sets that `before` knows, its figure is the one that was kept when it was learned without them; on the
    others it is judged as it is. All figures of `after` are those without the data set. The tolerance is one standard
    error.
    """
    ours = {} if after.left_out is None else after.left_out.regret
    theirs: Mapping[str, float] = {
        **({} if before.left_out is None else before.left_out.regret),
        **(regret_on(before.learned, curves) if before.table.targets else {}),
    }
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return GateReport(before=WORST, after=WORST, tolerance=0.0)
    old, new = (np.array([figures[name] for name in both]) for figures in (theirs, ours))
    error = float(np.std(new - old, ddof=1)) / math.sqrt(len(both)) if len(both) > 1 else 0.0
    return GateReport(before=float(old.mean()), after=float(new.mean()), tolerance=error)
