"""The greedy portfolio over the known targets that are like the present one: by features, then by observed ranks."""

import dataclasses
from collections.abc import Sequence
from typing import Final, final

from transmeta.core.experience import Experience, History, MetaFeatures
from transmeta.core.outcome import Suggestion
from transmeta.core.space import Proposer
from transmeta.policies.forecast import Rows
from transmeta.policies.greedy import filled, situation
from transmeta.policies.ranking import suggest_greedily
from transmeta.policies.similarity import closeness, distances, misranking, reweighted
from transmeta.policies.table import RegretTable

TAU: Final = 1.0
"""A known target one standard deviation away in every feature has weight 1/e."""
BETA: Final = 1.0


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NearestTaskPolicy:
    """Known target t counts w_t ∝ exp(−d²/τ²) · exp(−β · misranked pairs / √pairs).

    Attributes:
        tau: width of the neighbourhood, in standard deviations per feature; ∞ makes all targets equal.
        beta: how fast targets that rank the observed arms differently lose their weight; 0 for never.
    """

    table: RegretTable
    proposer: Proposer
    tau: float = TAU
    beta: float = BETA

    @property
    def name(self) -> str:
        """`nearest_task`."""
        return "nearest_task"

    def suggest(self, features: MetaFeatures, history: History, *, count: int, seed: int) -> Sequence[Suggestion]:
        """Returns up to `count` arms, in greedy order over the reweighted targets, then fresh ones."""
        now = situation(self.table, features, history)
        regret = filled(self.table.regret)
        near = closeness(distances(self.table.targets, features), tau=self.tau)
        mistakes = misranking(regret[:, list(now.observed)], now.utility)
        return suggest_greedily(
            self.table,
            Rows(regret=regret, weights=reweighted(near, mistakes, beta=self.beta)),
            features=features,
            now=now,
            proposer=self.proposer,
            count=count,
            seed=seed,
        )


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NearestTaskLearner:
    """Makes the table and the features that nearness is measured by."""

    proposer: Proposer
    tau: float = TAU
    beta: float = BETA

    def initial(self) -> NearestTaskPolicy:
        """Returns the policy without experience, which draws fresh arms."""
        table = RegretTable.from_experience(())
        return NearestTaskPolicy(table=table, proposer=self.proposer, tau=self.tau, beta=self.beta)

    def update(self, policy: NearestTaskPolicy, experience: Sequence[Experience]) -> NearestTaskPolicy:
        """Returns the policy over the table of `experience`."""
        return dataclasses.replace(policy, table=RegretTable.from_experience(experience))
