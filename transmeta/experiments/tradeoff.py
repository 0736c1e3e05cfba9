"""Several objectives at once: recommendations by their weighted sum, or those that no other beats in all of them."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from transmeta.core.experience import MetaFeatures
from transmeta.core.protocols import Policy
from transmeta.core.trial import Arm
from transmeta.errors import InputError, UnknownNameError
from transmeta.experiments.recommend import Recommendation, described

SCORE: Final = "score"
COST: Final = "cost_s"
OBJECTIVES: Final[Mapping[str, str]] = {
    SCORE: "predicted validation score",
    COST: "predicted CPU seconds of training",
    "parameters": "weights that are trained",
    "macs": "multiply-accumulate operations for one example at inference",
    "memory_bytes": "weights, gradients and optimiser state in training",
}
"""All but the score are costs: less is better."""
PARETO: Final = "pareto"
MOST_CANDIDATES: Final = 2000

Sizes = Callable[[Arm], Mapping[str, float] | None]
"""What is known of an arm beside the policy's predictions; None where it does not go with the target."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is wanted.

    Attributes:
        weights: objective → weight, 0 or more; relative to the range of each over all choices, of costs on a
            logarithmic scale. None for the Pareto front.
    """

    weights: Mapping[str, float] | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TradeOff:
    """A recommendation with its figures, by objective."""

    recommendation: Recommendation
    objectives: Mapping[str, float]


def parse_objective(text: str) -> Objective:
    """Returns the objective for a text such as `score=1,cost_s=0.2`, or `pareto`.

    Raises:
        InputError: for a weight that is none, or no weight above 0.
        UnknownNameError: for an objective that there is not.
    """
    if text.strip().lower() == PARETO:
        return Objective(weights=None)
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name.lower() == PARETO:
            raise InputError(f"objective {text!r}: {PARETO} stands alone; it needs no weights")
        if name not in OBJECTIVES:
            raise UnknownNameError("objective", name=name, known=(*OBJECTIVES, PARETO))
        try:
            weight = float(value)
        except ValueError:
            weight = math.nan
        if not (math.isfinite(weight) and weight >= 0) or name in weights:
            raise InputError(f"objective {part.strip()!r}: write each once, with 0 or more, as in score=1,cost_s=0.2")
        weights[name] = weight
    if not any(weights.values()):
        raise InputError(f"objective {text!r}: no weight above 0; write, for example, score=1,cost_s=0.2")
    return Objective(weights=weights)


def trade_off(
    features: MetaFeatures,
    *,
    policy: Policy,
    objective: Objective,
    sizes: Sizes,
    count: int | None,
    seed: int = 0,
) -> Sequence[TradeOff]:
    """Returns the best choices by `objective` among all that `policy` can predict, best (or highest score) first.

    Args:
        count: how many; None for all of the Pareto front, or of the ranking.

    Raises:
        InputError: if the policy predicts nothing, since it has no experience.
    """
    candidates = []
    for item in policy.suggest(features, (), count=MOST_CANDIDATES, seed=seed):
        if item.predicted_score is None or item.predicted_cost_s is None:
            break  # fresh arms, of which nothing is known, come last
        known = sizes(item.arm)
        if known is not None:
            figures = {SCORE: item.predicted_score, COST: item.predicted_cost_s, **known}
            candidates.append(TradeOff(recommendation=described(item), objectives=figures))
    if not candidates:
        raise InputError(
            f"{features.target_id}: the policy predicts no scores for it, so objectives cannot be weighed; learn one "
            "with meta-train, or leave out the objective"
        )
    chosen = _front(candidates) if objective.weights is None else _ranked(candidates, objective.weights)
    return chosen[:count]


def _front(candidates: Sequence[TradeOff]) -> list[TradeOff]:
    """Returns the candidates that no other equals or beats in all objectives, highest score first."""
    losses = np.array([[_loss(item, name) for name in OBJECTIVES] for item in candidates])
    kept = [
        i
        for i, loss in enumerate(losses)
        if not ((losses <= loss).all(axis=1) & (losses < loss).any(axis=1)).any()
        and not (losses[:i] == loss).all(axis=1).any()
    ]
    return sorted((candidates[i] for i in kept), key=lambda item: -item.objectives[SCORE])


def _ranked(candidates: Sequence[TradeOff], weights: Mapping[str, float]) -> list[TradeOff]:
    """Returns the candidates by the weighted sum of their losses, each scaled to its range over the candidates."""
    total = np.zeros(len(candidates))
    for name, weight in weights.items():
        losses = np.array([_loss(item, name) for item in candidates])
        total += weight * (losses - losses.min()) / max(float(np.ptp(losses)), 1e-12)
    return [candidates[i] for i in np.argsort(total, kind="stable")]


def _loss(item: TradeOff, name: str) -> float:
    """Returns what is to be small: minus the score, or the logarithm of a cost, since these differ by factors."""
    value = item.objectives[name]
    return -value if name == SCORE else math.log(max(value, 1e-6))
