"""The rows that the network policy decides by: what its members predict, and the known targets by nearness."""

import dataclasses
import math
from typing import Final, final

import numpy as np
import numpy.typing as npt

from transmeta.policies.forecast import Rows
from transmeta.policies.network.ensemble import Ensemble
from transmeta.policies.similarity import closeness, misranking, reweighted
from transmeta.policies.table import WORST, Array

CHOICE: Final = 0.3
"""Regret added to an arm that π_θ never chooses: π_θ picks the first arm better than the regression does."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """How the rows are weighted; chosen on left-out known targets.

    Attributes:
        blend: λ, the weight of the members' rows together; the known targets have 1 − λ.
        tau: width of the neighbourhood, in standard deviations per feature; ∞ makes all known targets equal.
        beta: how fast rows that rank the observed arms wrongly lose their weight.
    """

    blend: float
    tau: float
    beta: float


PORTFOLIO: Final = Knobs(blend=0.0, tau=math.inf, beta=0.0)
"""With these the policy is the greedy portfolio."""


def predicted(ensemble: Ensemble, inputs: Array, *, is_allowed: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """Returns the members' rows (M, A) twice: as they believe, and with what π_θ avoids made worse.

    Args:
        inputs: (A, F).
        is_allowed: (A,) the arms that π_θ is taken over.
    """
    beliefs = ensemble.regret(inputs)
    if not is_allowed.any():
        return beliefs, beliefs
    choice = np.zeros(len(inputs))
    choice[is_allowed] = ensemble.choice(inputs[is_allowed])
    return beliefs, np.minimum(beliefs + CHOICE * (1 - choice / choice.max()), WORST)


def weighted(
    known: Array,
    *,
    squared: Array,
    members: Array,
    observed: tuple[int, ...],
    utility: Array,
    knobs: Knobs,
) -> Rows:
    """Returns known rows (T, A), then member rows (M, A), weighted by nearness and by what was observed.

    Args:
        squared: (T,) distances d² to the known targets.
        observed: columns of the arms with a score on the present target, `utility` these scores.
    """
    near = closeness(squared, tau=knobs.tau)
    if knobs.blend == 0:
        rows, weights = known, near
    else:
        rows = np.concatenate([known, members])
        share = np.full(len(members), knobs.blend / len(members))
        weights = np.concatenate([(1 - knobs.blend) * near, share])
    mistakes = misranking(rows[:, list(observed)], utility)
    return Rows(regret=rows, weights=reweighted(weights, mistakes, beta=knobs.beta))
