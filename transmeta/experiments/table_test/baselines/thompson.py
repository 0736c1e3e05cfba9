"""Thompson sampling from a prior that is learned from the known targets' quantiles.

The values of each known target are replaced by the normal scores of their ranks, which makes targets comparable
whatever their scale. Boosted trees regress them on the hyperparameters, source and strategy; the deviation is that on
known targets that were left out of a first fit. A search draws one score for each configuration and runs the best.
Source: Salinas, Shen, Perrone, A Quantile-based Approach for Hyperparameter Transfer Learning (ICML 2020), as in Syne
Tune's quantile-based searcher.

Letters: T known targets, C configurations, F columns of the design.
"""

import dataclasses
from typing import Final, final

import numpy as np

from transmeta.experiments.table_test.baselines.design import design, normal_scores
from transmeta.experiments.table_test.lessons import OrderLearned, final_regret
from transmeta.policies.adaptive.protocol import Array, Curves, Flags, Indices, Present
from transmeta.training.seeding import derive_seed

PART: Final = 5
"""Every fifth group of known targets is left out of the fit that the deviation comes from."""
LEAST_DEVIATION: Final = 0.05


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Thompson:
    """Thompson sampling, which learns nothing from the present target (CTS of the paper)."""

    name: str = "thompson"
    is_random: bool = True

    def learn(self, curves: Curves, *, seed: int) -> OrderLearned:
        """Fits the prior."""
        mean, deviation = prior(curves, seed=seed)

        def order_of(present: Present, seed: int) -> Indices:
            rng = np.random.default_rng(derive_seed(seed, "thompson", present.target))
            drawn = mean + deviation * rng.standard_normal(len(mean))
            allowed = np.flatnonzero(present.is_allowed)
            return np.asarray(allowed[np.argsort(-drawn[allowed], kind="stable")])

        return OrderLearned(order_of)


def prior(curves: Curves, *, seed: int) -> tuple[Array, float]:
    """Returns the expected normal score of each configuration (C,), higher is better, and its deviation.

    Zeros and one where there is no known target.
    """
    scores = normal_scores(final_regret(curves))
    points = design(curves)
    is_known = ~np.isnan(scores)
    if not is_known.any():
        return np.zeros(len(points)), 1.0
    names = sorted(set(curves.groups))
    is_left = np.array([names.index(group) % PART == 0 for group in curves.groups], dtype=np.bool_)
    deviation = 1.0
    if is_left.any() and not is_left.all() and is_known[is_left].any() and is_known[~is_left].any():
        guess = _regress(points, scores, is_known & ~is_left[:, None], seed=seed)
        deviation = float(np.sqrt(np.mean((scores - guess)[is_known & is_left[:, None]] ** 2)))
    return _regress(points, scores, is_known, seed=seed), max(deviation, LEAST_DEVIATION)


def _regress(points: Array, scores: Array, is_used: Flags, *, seed: int) -> Array:
    """Returns the score that boosted trees expect of each configuration, (C,)."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    rows, columns = np.nonzero(is_used)
    points = points[:, ~np.isnan(points[columns]).all(axis=0)]  # a number that no tried configuration has says nothing
    if not points.shape[1]:
        return np.full(len(points), float(scores[rows, columns].mean()))
    trees = HistGradientBoostingRegressor(early_stopping=False, random_state=derive_seed(seed, "trees") % 2**32)
    return np.asarray(trees.fit(points[columns], scores[rows, columns]).predict(points))
