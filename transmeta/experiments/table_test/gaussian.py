"""Bayesian optimisation with the mean and the covariance of the known targets as its prior.

f(c) = a − b·g(c), with the regret g ~ N(μ, Σ): μ the mean regret over the known targets, Σ their covariance shrunk by
Ledoit and Wolf (scikit-learn). The level a and the scale b of the present target are not known: no best or median of
it is used. Given b, a is the generalised least squares estimate; b is a sum over a grid with its marginal likelihood.
The next configuration has the largest expected improvement. As in HyperBO (Wang et al. 2024), over a finite set.

Letters: T known targets, C configurations, n observed ones.
"""

import dataclasses
from typing import Final, final

import numpy as np
from scipy.stats import norm

from transmeta.experiments.table_test.lessons import final_regret
from transmeta.policies.adaptive.protocol import Array, Curves, Flags, Move, Present
from transmeta.policies.greedy import filled
from transmeta.policies.table import WORST

NOISE: Final = 1e-4
SCALES: Final = tuple(float(s) for s in np.geomspace(0.1, 10.0, 9))
"""Of b, in units of the deviation of what was observed over that expected."""
SPREAD: Final = 0.7
"""Deviation of log b around the observed scale, a weak prior for few observations."""


@final
class GaussianSession:
    """Conditions on what was run, runs what has the largest expected improvement.

    Args:
        mean, covariance: (C,), (C, C) of −g.
    """

    def __init__(self, mean: Array, covariance: Array, present: Present) -> None:
        self._mean = mean
        self._covariance = covariance
        self._steps = present.steps
        self._is_left: Flags = present.is_allowed.copy()
        self._run: list[int] = []
        self._values: list[float] = []

    def next(self) -> Move | None:
        """Returns the next full run; None when every configuration was run."""
        left = np.flatnonzero(self._is_left)
        if not left.size:
            return None
        gain = self._mean if not self._run else self._improvement()
        config = int(left[int(np.argmax(np.round(gain[left], 12)))])
        return Move(config=config, step=int(self._steps[config]))

    def tell(self, move: Move, values: Array, cost_s: Array, failed: bool) -> None:
        """Takes the value; a failed run counts as the worst so far."""
        self._is_left[move.config] = False
        if failed or not np.isfinite(values[-1]):
            return
        self._run.append(move.config)
        self._values.append(float(values[-1]))

    def _improvement(self) -> Array:
        """Returns the expected improvement in units of b, (C,), over the likely values of b."""
        run, observed = self._run, np.array(self._values)
        kernel = self._covariance[np.ix_(run, run)] + NOISE * np.eye(len(run))
        inverse = np.linalg.inv(kernel)
        cross = self._covariance[:, run]
        weights = inverse.sum(axis=0) / inverse.sum()
        variance = np.diag(self._covariance) - ((cross @ inverse) * cross).sum(axis=1)
        # The level a is estimated, which adds to the variance of what is far from the observed.
        variance += (1 - cross @ inverse.sum(axis=1)) ** 2 / inverse.sum() if len(run) > 1 else 0.0
        deviation = np.sqrt(np.maximum(variance, 1e-12))
        expected = float(np.sqrt(np.diag(kernel).mean() + self._mean[run].var()))
        unit = float(observed.std()) / expected if len(run) > 1 and np.ptp(observed) > 0 else 1.0
        total, weight_sum = np.zeros(len(self._mean)), 0.0
        logs, parts = [], []
        for scale in SCALES if len(run) > 1 else (1.0,):
            scaled = observed / (unit * scale) - self._mean[run]
            residual = scaled - float(weights @ scaled)
            logs.append(
                -0.5 * float(residual @ inverse @ residual)
                - (len(run) - 1) * np.log(scale)
                - 0.5 * (np.log(scale) / SPREAD) ** 2
            )
            centre = self._mean + float(weights @ scaled) + cross @ inverse @ residual
            z = (centre - observed.max() / (unit * scale)) / deviation
            parts.append(scale * deviation * (z * norm.cdf(z) + norm.pdf(z)))
        for log, part in zip(logs, parts, strict=True):
            weight = float(np.exp(log - max(logs)))
            total, weight_sum = total + weight * part, weight_sum + weight
        return total / weight_sum


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GaussianLearned:
    """The prior over all configurations: mean (C,) and covariance (C, C) of minus the regret."""

    mean: Array
    covariance: Array

    def start(self, present: Present, *, seed: int) -> GaussianSession:
        """Returns the search on the target."""
        return GaussianSession(self.mean, self.covariance, present)


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GaussianProcess:
    """A Gaussian process whose prior is learned, with expected improvement."""

    name: str = "gp"
    is_random: bool = False

    def learn(self, curves: Curves, *, seed: int) -> GaussianLearned:
        """Takes mean and shrunk covariance of the known targets' regrets."""
        from sklearn.covariance import ledoit_wolf

        rows = -np.minimum(filled(final_regret(curves)), WORST)
        covariance, _ = ledoit_wolf(rows) if len(rows) > 1 else (np.eye(rows.shape[1]), 0.0)
        return GaussianLearned(mean=rows.mean(axis=0), covariance=np.asarray(covariance))
