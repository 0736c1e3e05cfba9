"""The greedy portfolio over rows of regret: each next arm removes the most regret that is left.

Letters: R rows (known targets, or predictions for the present one), A arms, w_r the rows' weights, cur_r the least
regret of the arms already chosen in row r. Next arm = argmin_c Σ_r w_r · min(cur_r, g_r(c)).
"""

import dataclasses
from collections.abc import Sequence
from typing import Final, final

import numpy as np
import numpy.typing as npt

from transmeta.core.experience import History, MetaFeatures
from transmeta.core.trial import TrialStatus
from transmeta.policies.table import WORST, Array, RegretTable, is_scratch

PESSIMISM: Final = 0.5
"""An untried cell is the arm's mean regret plus this / √(targets that tried it): about one standard error."""
PRIOR_STRENGTH: Final = 2.0
DECIMALS: Final = 9
"""Objectives that agree to this are ties, which the weighted mean regret breaks, then the arm's key."""

Columns = Sequence[int]


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Situation:
    """The present target in the table's terms.

    Attributes:
        tried: keys of the arms in the history, known to the table or not.
        is_available: (A,) whether a known arm may be suggested: its source is allowed and it was not tried.
        covering: columns of the tried arms that did not fail; they leave nothing to gain where they are good.
        observed: columns of the known arms with a final score.
        utility: (n,) these scores.
        cost_s: (n,) CPU seconds of these trials.
    """

    tried: frozenset[str]
    is_available: npt.NDArray[np.bool_]
    covering: tuple[int, ...]
    observed: tuple[int, ...]
    utility: Array
    cost_s: Array


def situation(table: RegretTable, features: MetaFeatures, history: History) -> Situation:
    """Returns what `history` means for the arms of `table`.

    Architectures without weights are always allowed; where `features.pairs` names some of them, only those.
    """
    columns = table.columns()
    names_scratch = any(is_scratch(source) for source in features.pairs)
    tried = frozenset(result.spec.arm.key for result in history)
    is_available = np.array(
        [
            (arm.source in features.pairs or (is_scratch(arm.source) and not names_scratch)) and arm.key not in tried
            for arm in table.arms
        ],
        dtype=np.bool_,
    )
    known = [(columns[result.spec.arm.key], result) for result in history if result.spec.arm.key in columns]
    final_ones = [
        (column, result.utility, result.cost_s)
        for column, result in known
        if result.status is TrialStatus.COMPLETED and result.utility is not None
    ]
    has_run = (TrialStatus.COMPLETED, TrialStatus.STOPPED)
    return Situation(
        tried=tried,
        is_available=is_available,
        covering=tuple(column for column, result in known if result.status in has_run),
        observed=tuple(column for column, _, _ in final_ones),
        utility=np.array([utility for _, utility, _ in final_ones], dtype=np.float64),
        cost_s=np.array([cost for _, _, cost in final_ones], dtype=np.float64),
    )


def filled(regret: Array) -> Array:
    """Returns `regret` (T, A) with each untried cell replaced by a pessimistic mean of its arm.

    The mean is drawn towards that of all cells, as if `PRIOR_STRENGTH` more targets had shown it: an arm that was lucky
    on one target must not pass for a good one on all others.
    """
    is_tried = ~np.isnan(regret)
    counts = is_tried.sum(axis=0)
    overall = float(np.nansum(regret) / max(int(counts.sum()), 1))
    means = (np.nansum(regret, axis=0) + PRIOR_STRENGTH * overall) / (counts + PRIOR_STRENGTH)
    guesses = np.where(counts > 0, means + PESSIMISM / np.sqrt(np.maximum(counts, 1)), WORST)
    return np.where(is_tried, regret, np.minimum(guesses, WORST))


def order(
    rows: Array,
    *,
    weights: Array,
    is_available: npt.NDArray[np.bool_],
    covering: Columns,
    count: int,
) -> tuple[int, ...]:
    """Returns up to `count` columns of `rows` (R, A), best first."""
    is_heavy = weights > 0
    rows, weights = rows[is_heavy], weights[is_heavy]
    left = [int(column) for column in np.flatnonzero(is_available)]
    if not len(rows):
        return tuple(left[:count])
    current = rows[:, list(covering)].min(axis=1, initial=WORST)
    means = np.round(weights @ rows, DECIMALS)
    chosen: list[int] = []
    while left and len(chosen) < count:
        remaining = np.round(weights @ np.minimum(current[:, None], rows[:, left]), DECIMALS)
        best = left[int(np.lexsort((np.array(left), means[left], remaining))[0])]
        chosen.append(best)
        left.remove(best)
        current = np.minimum(current, rows[:, best])
    return tuple(chosen)
