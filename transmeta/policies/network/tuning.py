"""Chooses λ, τ and β on known targets that are left out, with the greedy portfolio as the fallback.

Letters: T known targets, A arms, M members.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Final, final

import numpy as np
import numpy.typing as npt

from transmeta.policies.greedy import filled, order
from transmeta.policies.network.rows import PORTFOLIO, Knobs, weighted
from transmeta.policies.table import Array

BLENDS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
TAUS: Final = (math.inf, 1.0, 0.5, 0.3)
BETAS: Final = (0.0, 1.0, 3.0)
PICKS: Final = 5
"""Regret after the first and after the fifth pick is what counts."""
LEAST_GAIN: Final = 1.0
"""Standard errors by which other knobs must beat the portfolio on the left-out data sets."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LeftOut:
    """A target with what is known when its fold is left out.

    Attributes:
        dataset: the unit of the statistics.
        regret, utility: (A,) of the target itself; NaN where not tried.
        known: (T, A) regret of the targets that are not left out; NaN where not tried.
        squared: (T,) distances d² to these.
        members: (M, A) predictions by networks that have not seen the fold.
    """

    dataset: str
    regret: Array
    utility: Array
    known: Array
    squared: Array
    members: Array


def choose_knobs(cases: Sequence[LeftOut]) -> Knobs:
    """Returns the knobs with the least mean of regret @1 and @5 on `cases`, or `PORTFOLIO` if not clearly better."""
    units = sorted({case.dataset for case in cases})
    if len(units) < 2:
        return PORTFOLIO
    baseline = _losses(cases, PORTFOLIO, units)
    best, best_gain = PORTFOLIO, np.zeros(len(units))
    for knobs in _grid():
        gain = baseline - _losses(cases, knobs, units)
        if gain.mean() > best_gain.mean() + 1e-12:
            best, best_gain = knobs, gain
    error = float(best_gain.std(ddof=1)) / math.sqrt(len(units))
    return best if best_gain.mean() > LEAST_GAIN * error else PORTFOLIO


def _grid() -> list[Knobs]:
    """Returns what is tried; nearness is of no use where the known targets have no weight."""
    return [
        Knobs(blend=blend, tau=tau, beta=beta)
        for blend, tau, beta in itertools.product(BLENDS, TAUS, BETAS)
        if blend < 1 or tau == math.inf
    ]


def _losses(cases: Sequence[LeftOut], knobs: Knobs, units: Sequence[str]) -> Array:
    """Returns the loss of each data set."""
    losses: dict[str, list[float]] = {unit: [] for unit in units}
    for case in cases:
        losses[case.dataset].append(_loss(case, knobs))
    return np.array([np.mean(losses[unit]) for unit in units])


def _loss(case: LeftOut, knobs: Knobs) -> float:
    """Returns the mean of the regret after the first and after the last pick."""
    picks = _replay(case, knobs)
    regrets = case.regret[list(picks)]
    return float((regrets[0] + regrets.min()) / 2) if picks else 0.0


def _replay(case: LeftOut, knobs: Knobs) -> tuple[int, ...]:
    """Returns the columns that the policy would pick, told the utility of each before the next."""
    is_available: npt.NDArray[np.bool_] = ~np.isnan(case.regret) & (~np.isnan(case.known)).any(axis=0)
    known = filled(case.known)
    picks: list[int] = []
    while len(picks) < PICKS and is_available.any():
        succeeded = tuple(pick for pick in picks if not np.isnan(case.utility[pick]))
        rows = weighted(
            known,
            squared=case.squared,
            members=case.members,
            observed=succeeded,
            utility=case.utility[list(succeeded)],
            knobs=knobs,
        )
        # Without memory the order does not depend on what is observed, so it is read off at once.
        count = PICKS if knobs.beta == 0 else 1
        chosen = order(rows.regret, weights=rows.weights, is_available=is_available, covering=succeeded, count=count)
        picks.extend(chosen)
        is_available = is_available.copy()
        is_available[list(chosen)] = False
    return tuple(picks[:PICKS])
