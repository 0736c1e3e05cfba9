"""What a policy proposes, and why."""

import dataclasses

from transmeta.core.trial import Arm


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A known target that speaks for a suggestion.

    Attributes:
        target: its task id.
        weight: its share in the decision, 0 to 1.
        regret: regret of the suggested arm there, in (best − y)/(best − median); 0 is the best arm.
    """

    target: str
    weight: float
    regret: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FeatureEffect:
    """A feature of the target, or of the target with the arm's source, that mattered for a suggestion.

    Attributes:
        effect: regret that would be predicted more, were the feature average: above 0 it speaks for the arm.
    """

    name: str
    value: float
    effect: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """An arm to try next.

    Attributes:
        predicted_score: expected validation utility, where the policy predicts one.
        low, high: bounds of its 90 % interval.
        predicted_cost_s: expected CPU seconds of the trial.
        evidence: the known targets that speak for it, heaviest first.
        features: that mattered most, where the policy has features and there was no trial yet.
    """

    arm: Arm
    predicted_score: float | None = None
    low: float | None = None
    high: float | None = None
    predicted_cost_s: float | None = None
    evidence: tuple[Evidence, ...] = ()
    features: tuple[FeatureEffect, ...] = ()
