"""Known targets as if they had not been known: searches on them are played from the record.

Letters: R rows, C configurations, K rungs, M members.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Final, final

import numpy as np
from scipy.special import stdtrit

from transmeta.policies.adaptive.costs import ExpectedCost
from transmeta.policies.adaptive.posterior import Beliefs
from transmeta.policies.adaptive.protocol import Array, Flags, Indices
from transmeta.policies.adaptive.rows import Rows
from transmeta.policies.adaptive.session import AdaptiveSession, Knobs, Spending
from transmeta.policies.forecast import NORMAL_90
from transmeta.policies.table import WORST

SURE: Final = 0.75
"""Level of the t-test that knobs have to pass: 1 − p."""
EVALUATIONS: Final = 20
"""Full runs that each replay of a case may pay for in that test."""
MOST_PLAYED: Final = 40
"""Cases that are replayed, spread over all of them."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """A target with its record, and what is known without it.

    Attributes:
        group: the unit of the statistics.
        known: (R, C, K) regrets of the known targets, without gaps.
        members: (M, C, K) predictions of the network.
        truth: (C, K) regret of the target itself.
        utility: (C, K) its values, NaN where it diverged, −∞ before the first one.
        steps: (C, K) the step of each rung.
        beliefs: over the configurations' final regrets.
        reference: (C,) configurations of which one is among the first starts.
    """

    group: str
    known: Array
    members: Array
    truth: Array
    utility: Array
    steps: Indices
    beliefs: Beliefs
    reference: Flags

    def rows(self, knobs: Knobs) -> Rows:
        """Returns the rows, weighted by `knobs`."""
        near = np.full(len(self.known), 1 / len(self.known))
        if knobs.blend == 0 or not len(self.members):
            return Rows(regret=self.known, weights=near, known=len(self.known))
        share = np.full(len(self.members), knobs.blend / len(self.members))
        return Rows(
            regret=np.concatenate([self.known, self.members]),
            weights=np.concatenate([(1 - knobs.blend) * near, share]),
            known=len(self.known),
        )

    def session(self, knobs: Knobs, *, columns: Indices, spending: Spending) -> AdaptiveSession:
        """Returns a search on the target; its configurations are `columns` outside."""
        return AdaptiveSession(
            self.rows(knobs),
            columns=columns,
            steps=self.steps,
            spending=spending,
            knobs=knobs,
            beliefs=self.beliefs,
            reference=self.reference,
        )


def interval_width(cases: Sequence[Case]) -> float:
    """Returns the factor with which 90 % intervals cover 90 % of the values on `cases`, after no, three and ten runs.

    Source: split conformal prediction (Lei et al. 2018), with the left-out targets as the calibration set.
    """
    scores = [_calibration(case) for case in cases]
    together = np.concatenate([score for score in scores if score.size] or [np.ones(1)])
    return float(np.quantile(together, 0.9) / NORMAL_90)


def _calibration(case: Case) -> Array:
    """Returns |value − predicted| / deviation of full runs, as known at first, and after three and ten evaluations."""
    final = case.utility[:, -1]
    is_known = np.isfinite(final)
    scores = []
    for count in (0, 3, 10):
        picked = np.flatnonzero(is_known)[np.argsort(-case.beliefs.mean[is_known], kind="stable")][:count]
        now = case.beliefs.after(observed=picked, rungs=np.full(len(picked), -1), utility=final[picked])
        left = np.setdiff1d(np.flatnonzero(is_known), picked)
        deviation = now.scale * np.sqrt(np.maximum(np.diag(now.covariance)[left], 1e-12))
        scores.append(np.abs(final[left] - now.level - now.scale * now.mean[left]) / deviation)
    return np.concatenate(scores)


def surely_best(cases: Sequence[Case], tiers: Sequence[Sequence[Knobs]], *, otherwise: Knobs) -> Knobs:
    """Returns the knobs with the least anytime regret on `cases` in the first tier that has any surely better ones.

    Better than `otherwise`, which is returned if none are. Sure is p < 0.25 in a one-sided paired t-test over groups:
    what helps on most tables is kept, and what does harm on one that is unlike them is not.
    """
    played = cases[:: math.ceil(len(cases) / MOST_PLAYED)]
    usual = _group_means(played, otherwise)
    for tier in tiers:
        best, most = otherwise, 0.0
        for knobs in tier:
            gains = usual - _group_means(played, knobs)
            error = float(gains.std(ddof=1)) / math.sqrt(len(gains))
            if gains.mean() > max(most, error * float(stdtrit(len(gains) - 1, SURE))):
                best, most = knobs, float(gains.mean())
        if most > 0:
            return best
    return otherwise


def _group_means(cases: Sequence[Case], knobs: Knobs) -> Array:
    """Returns each group's anytime regret over `EVALUATIONS`, (groups,), in the order of their first cases."""
    regrets: dict[str, list[float]] = {}
    for case in cases:
        regrets.setdefault(case.group, []).append(float(replay(case, knobs, evaluations=EVALUATIONS).mean()))
    return np.array([np.mean(group) for group in regrets.values()])


def first_of_each_group(cases: Sequence[Case]) -> Sequence[Case]:
    """Returns one case of each group, in their order."""
    first: dict[str, Case] = {}
    for case in cases:
        first.setdefault(case.group, case)
    return tuple(first.values())


def replay(case: Case, knobs: Knobs, *, evaluations: int) -> Array:
    """Returns the incumbent's regret after 1, 2, ... evaluations, (evaluations,), in steps of whole rungs."""
    shares = case.steps / np.maximum(case.steps[:, -1:], 1)
    session = case.session(
        knobs,
        columns=np.arange(len(case.steps)),
        spending=Spending(
            cumulative=shares,
            budget=float(evaluations),
            cost=ExpectedCost.certain(shares[:, -1]),
            parts=shares,
            is_actual=False,
        ),
    )
    reached: dict[int, tuple[float, float]] = {}
    regrets = np.full(evaluations, WORST)
    spent, done = 0.0, 0
    incumbent = WORST
    while (move := session.next()) is not None:
        rung = int(np.searchsorted(case.steps[move.config], move.step, side="right")) - 1
        before = session.reached(move.config)
        spent += shares[move.config, rung] - (shares[move.config, before - 1] if before else 0.0)
        upto = min(int(spent - 1e-9), evaluations)
        regrets[done:upto] = incumbent
        done = max(done, upto)
        value = float(case.utility[move.config, rung])
        session.tell(move, np.array([value]), np.zeros(1), failed=math.isnan(value))
        reached[move.config] = (
            (value, float(case.truth[move.config, rung])) if math.isfinite(value) else (-math.inf, WORST)
        )
        incumbent = max(reached.values())[1]
    regrets[done:] = incumbent
    return regrets
