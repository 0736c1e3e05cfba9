"""The greedy portfolio on regret: the rival that a learned policy must beat, and what the network starts from."""

import dataclasses
from collections.abc import Sequence
from typing import final

from transmeta.core.experience import Experience, History, MetaFeatures
from transmeta.core.outcome import Suggestion
from transmeta.core.space import Proposer
from transmeta.policies.greedy import situation
from transmeta.policies.ranking import equal_rows, suggest_greedily
from transmeta.policies.table import RegretTable


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioPolicy:
    """Each next arm removes the most regret over the known targets, all counted alike.

    What the history tried counts as chosen; its scores do not matter.
    """

    table: RegretTable
    proposer: Proposer

    @property
    def name(self) -> str:
        """`portfolio`."""
        return "portfolio"

    def suggest(self, features: MetaFeatures, history: History, *, count: int, seed: int) -> Sequence[Suggestion]:
        """Returns up to `count` arms, in greedy order, then fresh ones."""
        return suggest_greedily(
            self.table,
            equal_rows(self.table),
            features=features,
            now=situation(self.table, features, history),
            proposer=self.proposer,
            count=count,
            seed=seed,
        )


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioLearner:
    """Makes the table that the portfolio is chosen from."""

    proposer: Proposer

    def initial(self) -> PortfolioPolicy:
        """Returns the policy without experience, which draws fresh arms."""
        return PortfolioPolicy(table=RegretTable.from_experience(()), proposer=self.proposer)

    def update(self, policy: PortfolioPolicy, experience: Sequence[Experience]) -> PortfolioPolicy:
        """Returns the policy over the table of `experience`."""
        return dataclasses.replace(policy, table=RegretTable.from_experience(experience))
