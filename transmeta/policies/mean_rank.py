"""Arms in the order of their mean rank over the known targets."""

import dataclasses
from collections.abc import Sequence
from typing import final

import numpy as np
from scipy.stats import rankdata

from transmeta.core.experience import Experience, History, MetaFeatures
from transmeta.core.outcome import Suggestion
from transmeta.core.space import Proposer
from transmeta.policies.greedy import filled, situation
from transmeta.policies.ranking import suggest_in_order
from transmeta.policies.table import Array, RegretTable


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MeanRankPolicy:
    """A static order; blind to the size of differences, to the target and to the history's scores."""

    table: RegretTable
    proposer: Proposer

    @property
    def name(self) -> str:
        """`mean_rank`."""
        return "mean_rank"

    def suggest(self, features: MetaFeatures, history: History, *, count: int, seed: int) -> Sequence[Suggestion]:
        """Returns up to `count` arms, least mean rank first, then fresh ones."""
        ranks = mean_ranks(self.table)
        return suggest_in_order(
            self.table,
            sorted(range(len(ranks)), key=lambda column: (ranks[column], column)),
            features=features,
            now=situation(self.table, features, history),
            proposer=self.proposer,
            count=count,
            seed=seed,
        )


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MeanRankLearner:
    """Ranks the arms of past trials."""

    proposer: Proposer

    def initial(self) -> MeanRankPolicy:
        """Returns the policy without experience, which draws fresh arms."""
        return MeanRankPolicy(table=RegretTable.from_experience(()), proposer=self.proposer)

    def update(self, policy: MeanRankPolicy, experience: Sequence[Experience]) -> MeanRankPolicy:
        """Returns the policy over the table of `experience`."""
        return dataclasses.replace(policy, table=RegretTable.from_experience(experience))


def mean_ranks(table: RegretTable) -> Array:
    """Returns each arm's mean rank over targets (A,), in [1, A]; untried cells are filled pessimistically first."""
    if not table.targets:
        return np.zeros(0)
    return np.asarray(rankdata(filled(table.regret), axis=1).mean(axis=0), dtype=np.float64)
