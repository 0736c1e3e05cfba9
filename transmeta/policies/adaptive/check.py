"""How good a policy is on data sets that it was not learned from: one search on each, played from the record."""

import dataclasses
from collections.abc import Sequence
from typing import Final

from transmeta.policies.adaptive.cases import Case, first_of_each_group, replay
from transmeta.policies.adaptive.learned import AdaptiveLearned
from transmeta.policies.adaptive.merging import aligned, take
from transmeta.policies.adaptive.policy import LeftOut
from transmeta.policies.adaptive.protocol import Curves
from transmeta.policies.adaptive.session import PORTFOLIO, Knobs
from transmeta.policies.table import FEWEST_ARMS

EVALUATIONS: Final = 10


def left_out(cases: Sequence[Case], knobs: Knobs) -> LeftOut | None:
    """Returns the figures on one case of each data set; None without cases."""
    if not cases:
        return None
    checked = first_of_each_group(cases)
    return LeftOut(
        regret=_regret(checked, dataclasses.replace(knobs, is_partial=False)), portfolio=_regret(checked, PORTFOLIO)
    )


def regret_on(learned: AdaptiveLearned, curves: Curves) -> dict[str, float]:
    """Returns data set → anytime regret of `learned` as it is, on the data sets of `curves` that it does not know.

    Data sets without two recorded configurations that it knows are left out.
    """
    known = {target.dataset for target in learned.table.targets}
    unknown = take(curves, [t for t, group in enumerate(curves.groups) if group not in known])
    there = aligned(unknown, learned.table.arms)
    rows = [t for t in range(len(there.targets)) if there.observed[t].sum() >= FEWEST_ARMS]
    cases = [learned.unseen(there, t) for t in rows]
    checked = first_of_each_group(cases)
    return _regret(checked, dataclasses.replace(learned.knobs, is_partial=False))


def _regret(cases: Sequence[Case], knobs: Knobs) -> dict[str, float]:
    """Returns data set → anytime regret over ten full runs; `cases` has one of each."""
    regrets = {case.group: float(replay(case, knobs, evaluations=EVALUATIONS).mean()) for case in cases}
    return dict(sorted(regrets.items()))
