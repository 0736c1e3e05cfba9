"""Learns the adaptive policy from trials, all of it anew."""

import dataclasses
from collections.abc import Sequence
from typing import final

from transmeta.core.experience import Experience
from transmeta.core.space import Proposer
from transmeta.policies.adaptive.check import left_out
from transmeta.policies.adaptive.files import assembled
from transmeta.policies.adaptive.method import AdaptiveMethod, Study
from transmeta.policies.adaptive.policy import AdaptivePolicy, LeftOut
from transmeta.policies.adaptive.protocol import Curves
from transmeta.policies.adaptive.session import PORTFOLIO
from transmeta.policies.adaptive.trials import curves_of
from transmeta.policies.network.training import TrainingPlan


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveLearner:
    """Makes adaptive policies; deterministic by `seed`, whatever the order of the experience."""

    proposer: Proposer
    seed: int = 0
    plan: TrainingPlan = dataclasses.field(default_factory=TrainingPlan)

    def initial(self) -> AdaptivePolicy:
        """Returns the policy that knows no target, and draws fresh arms."""
        return self._policy(self._study(curves_of(())), proposer=self.proposer)

    def update(self, policy: AdaptivePolicy, experience: Sequence[Experience]) -> AdaptivePolicy:
        """Returns the policy learned from all of `experience`.

        With fewer than 3 data sets, or where it is worse on left-out ones, its choices are the greedy portfolio's.
        """
        return self.learn(policy, curves_of(experience))

    def learn(self, policy: AdaptivePolicy, curves: Curves) -> AdaptivePolicy:
        """Returns the policy learned from `curves`; `policy` gives the proposer."""
        return self._policy(self._study(curves), proposer=policy.proposer)

    def _study(self, curves: Curves) -> Study:
        return AdaptiveMethod(by_domain=True, plan=self.plan).study(curves, seed=self.seed)

    def _policy(self, study: Study, *, proposer: Proposer) -> AdaptivePolicy:
        learned, knobs = study.learned, study.learned.knobs
        checked = left_out(study.cases, knobs)
        if checked is not None and checked.gain < 0:  # few targets: never worse than where it started from
            knobs, checked = PORTFOLIO, LeftOut(regret=checked.portfolio, portfolio=checked.portfolio)
        return AdaptivePolicy(
            learned=assembled(
                targets=learned.table.targets,
                arms=learned.table.arms,
                utility=learned.table.utility,
                cost_s=learned.table.cost_s,
                rungs=learned.rungs,
                residuals=learned.residuals,
                knobs=knobs,
                encoder=learned.encoder,
                ensemble=learned.ensemble,
                width=learned.width,
                feature_names=learned.feature_names,
            ),
            proposer=proposer,
            left_out=checked,
        )
