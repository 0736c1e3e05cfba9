"""What a policy would try on a new target, and why, without training anything."""

import dataclasses
from collections.abc import Sequence

from transmeta.core.experience import MetaFeatures
from transmeta.core.outcome import Evidence, FeatureEffect, Suggestion
from transmeta.core.protocols import Policy
from transmeta.core.task import Params
from transmeta.policies.table import is_scratch


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """One choice for a target, best first.

    Attributes:
        predicted_score: expected validation score; None where the policy knows nothing.
        interval: its 90 % interval.
        predicted_cost_s: expected CPU seconds of training.
        evidence: the known targets that speak for it.
        features: that mattered most for what the policy expects.
        transfer: False for training from scratch: do not transfer.
    """

    source: str
    strategy: str
    params: Params
    predicted_score: float | None
    interval: tuple[float, float] | None
    predicted_cost_s: float | None
    evidence: tuple[Evidence, ...]
    features: tuple[FeatureEffect, ...]
    transfer: bool


def recommend(features: MetaFeatures, *, policy: Policy, count: int, seed: int = 0) -> Sequence[Recommendation]:
    """Returns the `count` choices that `policy` would try first on the target that `features` describe."""
    return [described(suggestion) for suggestion in policy.suggest(features, (), count=count, seed=seed)]


def described(suggestion: Suggestion) -> Recommendation:
    """Returns the suggestion as it is told to people and programs."""
    low, high = suggestion.low, suggestion.high
    return Recommendation(
        source=suggestion.arm.source,
        strategy=suggestion.arm.strategy.name,
        params=suggestion.arm.strategy.params,
        predicted_score=suggestion.predicted_score,
        interval=None if low is None or high is None else (low, high),
        predicted_cost_s=suggestion.predicted_cost_s,
        evidence=suggestion.evidence,
        features=suggestion.features,
        transfer=not is_scratch(suggestion.arm.source),
    )
