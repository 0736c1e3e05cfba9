"""Learns the adaptive policy from trials: all of it anew, with the knobs of the policy before unless told otherwise."""

import dataclasses
from collections.abc import Sequence
from typing import final

from transmeta.core.experience import Experience
from transmeta.core.space import Proposer
from transmeta.policies.adaptive.check import left_out
from transmeta.policies.adaptive.files import assembled
from transmeta.policies.adaptive.method import FEWEST_UNITS, AdaptiveMethod, Study
from transmeta.policies.adaptive.policy import AdaptivePolicy, LeftOut
from transmeta.policies.adaptive.protocol import Curves
from transmeta.policies.adaptive.session import DEFAULT, FEATURED, PORTFOLIO, Knobs
from transmeta.policies.adaptive.trials import curves_of
from transmeta.policies.network.training import TrainingPlan


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveLearner:
    """Makes adaptive policies; deterministic by `seed`, whatever the order of the experience.

    Attributes:
        refit_knobs: whether the knobs are chosen anew, which takes minutes; otherwise those of the given policy stay,
            or the default ones where it has none.
    """

    proposer: Proposer
    seed: int = 0
    refit_knobs: bool = False
    plan: TrainingPlan = dataclasses.field(default_factory=TrainingPlan)

    def initial(self) -> AdaptivePolicy:
        """Returns the policy that knows no target, and draws fresh arms."""
        return self._policy(self._method(PORTFOLIO).study(curves_of(()), seed=self.seed), proposer=self.proposer)

    def update(self, policy: AdaptivePolicy, experience: Sequence[Experience]) -> AdaptivePolicy:
        """Returns the policy learned from all of `experience`.

        With fewer than 3 data sets, or where it is worse on left-out ones, its choices are the greedy portfolio's.
        """
        return self.learn(policy, curves_of(experience))

    def learn(self, policy: AdaptivePolicy, curves: Curves) -> AdaptivePolicy:
        """Returns the policy learned from `curves`; `policy` gives the proposer, and knobs that were chosen."""
        study = self._method(self._knobs(policy, curves)).study(curves, seed=self.seed)
        return self._policy(study, proposer=policy.proposer)

    def _knobs(self, policy: AdaptivePolicy, curves: Curves) -> Knobs | None:
        if len(set(curves.groups)) < FEWEST_UNITS:
            return PORTFOLIO
        if self.refit_knobs:
            return None
        is_chosen = policy.left_out is not None and policy.learned.knobs != PORTFOLIO
        return policy.learned.knobs if is_chosen else FEATURED if curves.target_features else DEFAULT

    def _method(self, knobs: Knobs | None) -> AdaptiveMethod:
        return AdaptiveMethod(knobs=knobs, by_domain=True, plan=self.plan)

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
