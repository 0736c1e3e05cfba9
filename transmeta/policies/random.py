"""Arms drawn from the strategies' spaces: the baseline that every policy must beat."""

import dataclasses
from collections.abc import Sequence
from typing import final

from transmeta.core.experience import Experience, History, MetaFeatures
from transmeta.core.outcome import Suggestion
from transmeta.core.space import Proposer
from transmeta.policies.fresh import fresh_suggestions


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RandomPolicy:
    """Draws from `proposer`, and never learns."""

    proposer: Proposer

    @property
    def name(self) -> str:
        """`random`."""
        return "random"

    def suggest(self, features: MetaFeatures, history: History, *, count: int, seed: int) -> Sequence[Suggestion]:
        """Returns up to `count` arms that `history` has not tried."""
        tried = {result.spec.arm.key for result in history}
        return fresh_suggestions(self.proposer, features, exclude=tried, count=count, seed=seed)


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RandomLearner:
    """Makes `RandomPolicy`, whatever the experience."""

    proposer: Proposer

    def initial(self) -> RandomPolicy:
        """Returns the policy."""
        return RandomPolicy(proposer=self.proposer)

    def update(self, policy: RandomPolicy, experience: Sequence[Experience]) -> RandomPolicy:
        """Returns `policy` as it is."""
        del experience
        return policy
