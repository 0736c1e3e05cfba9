"""Always the same strategy, with the sources and numbers that did best on the known targets."""

import dataclasses
from collections.abc import Sequence
from typing import final

import numpy as np

from transmeta.core.experience import Experience, History, MetaFeatures
from transmeta.core.outcome import Suggestion
from transmeta.core.space import Proposer
from transmeta.core.trial import Arm
from transmeta.policies.forecast import describe
from transmeta.policies.fresh import fresh_suggestions
from transmeta.policies.greedy import filled, situation
from transmeta.policies.ranking import equal_rows
from transmeta.policies.table import RegretTable


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FixedPolicy:
    """Arms of one strategy by mean regret over the known targets, then fresh ones of the same strategy."""

    strategy: str
    table: RegretTable
    proposer: Proposer

    @property
    def name(self) -> str:
        """Such as `fixed-full_finetune`."""
        return f"fixed-{self.strategy}"

    def suggest(self, features: MetaFeatures, history: History, *, count: int, seed: int) -> Sequence[Suggestion]:
        """Returns up to `count` arms; fewer where the strategy has no more."""
        now = situation(self.table, features, history)
        columns = [
            column for column, arm in enumerate(self.table.arms) if now.is_available[column] and self._is_wanted(arm)
        ]
        means = filled(self.table.regret).mean(axis=0) if self.table.targets else np.zeros(0)
        columns.sort(key=lambda column: (means[column], column))
        known = describe(
            self.table, equal_rows(self.table), features=features, now=now, columns=columns[: max(count, 0)]
        )
        fresh = fresh_suggestions(
            self.proposer,
            features,
            exclude=now.tried | {suggestion.arm.key for suggestion in known},
            count=count - len(known),
            seed=seed,
            is_wanted=self._is_wanted,
        )
        return known + fresh

    def _is_wanted(self, arm: Arm) -> bool:
        return arm.strategy.name == self.strategy


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FixedLearner:
    """Learns which sources and numbers suit one strategy."""

    strategy: str
    proposer: Proposer

    def initial(self) -> FixedPolicy:
        """Returns the policy that knows only its strategy."""
        return FixedPolicy(strategy=self.strategy, table=RegretTable.from_experience(()), proposer=self.proposer)

    def update(self, policy: FixedPolicy, experience: Sequence[Experience]) -> FixedPolicy:
        """Returns the policy over the table of `experience`."""
        return dataclasses.replace(policy, table=RegretTable.from_experience(experience))
