"""What the configurations are worth on the present target, as samples: a Gaussian process over configurations.

The prior mean is the network's prediction, or the known targets' mean; the covariance is that of the known targets
around it. A value y of configuration c is level + scale · (noise − g(c)), level and scale being uncertain themselves.
Source: a Gaussian process over configurations with the known targets' mean and covariance (Wistuba et al., 2018).
Letters: T known targets, C configurations, N observations, S samples.
"""

import dataclasses
from typing import Final, final

import numpy as np
from scipy.special import ndtr

from transmeta.policies.adaptive.protocol import Array, Indices
from transmeta.policies.forecast import Normal
from transmeta.policies.table import WORST

SAMPLES: Final = 128
SHRINKAGE: Final = 0.2
"""Share of the diagonal in the covariance: what each configuration has of its own."""
SCALES: Final = np.exp(np.linspace(-1.0, 1.0, 9))
LEAST_DEVIATION: Final = 0.2
"""Of the logarithm of the scale; the most is 1."""
UNTRIED: Final = 0.3
"""Variance of the regret of a configuration, where no known target tells."""
LEAST_VARIANCE: Final = 0.01
JITTER: Final = 1e-6


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beliefs:
    """Prior over the values of full runs: level + scale · f, with f minus the regret.

    Attributes:
        mean: (C,) minus the expected regret.
        covariance: (C, C) of f.
        noise: (C, K) variance with which a value at a rung tells the final one, in squared regrets.
        gaps: (C, K) how far the regret at a rung lies above the final one.
        level: the best value there is.
        log_scale: logarithm of best − median.
        normal: (S, C) standard normals, the same for all observations.
        width: factor that makes 90 % intervals cover 90 % of the values of left-out targets.
    """

    mean: Array
    covariance: Array
    noise: Array
    gaps: Array
    level: Normal
    log_scale: Normal
    normal: Array
    width: float = 1.0

    def after(self, *, observed: Indices, rungs: Indices, utility: Array) -> "Posterior":
        """Returns what is believed after values (N,) at rungs, from 0, of the observed configurations (N,).

        A value that is worse than the best by more than any regret, at the largest scale, counts as that bad: one run
        that exploded says nothing of how much worse the others are.
        """
        scale = float(np.exp(self.log_scale.mean))
        offset = (self.level.deviation / scale) ** 2
        prior = self.covariance + offset
        if not len(observed):
            return Posterior(mean=self.mean, covariance=prior, level=self.level.mean, scale=scale)
        utility = np.maximum(utility, utility.max() - WORST * scale * SCALES[-1])
        kernel = prior[np.ix_(observed, observed)] + np.diag(self.noise[observed, rungs])
        factor = np.asarray(np.linalg.cholesky(kernel), dtype=np.float64)
        expected = self.mean[observed] - self.gaps[observed, rungs]
        scale *= self._relative_scale(factor, expected, (utility - self.level.mean) / scale)
        residual = (utility - self.level.mean) / scale - expected
        weights = np.linalg.solve(factor.T, np.linalg.solve(factor, residual))
        cross = prior[:, observed]
        half = np.linalg.solve(factor, cross.T)
        return Posterior(
            mean=self.mean + cross @ weights, covariance=prior - half.T @ half, level=self.level.mean, scale=scale
        )

    def _relative_scale(self, factor: Array, expected: Array, utility: Array) -> float:
        """Returns the scale, relative to the expected one, of the largest posterior density on a grid."""
        half = np.linalg.solve(factor, (utility[None] / SCALES[:, None] - expected).T)
        deviation = float(np.clip(self.log_scale.deviation, LEAST_DEVIATION, 1.0))
        density = -0.5 * (half**2).sum(axis=0) - len(utility) * np.log(SCALES)
        return float(SCALES[int(np.argmax(density - 0.5 * (np.log(SCALES) / deviation) ** 2))])


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Posterior:
    """A value is level + scale · f, with f normal of `mean` (C,) and `covariance` (C, C)."""

    mean: Array
    covariance: Array
    level: float
    scale: float

    def samples(self, normal: Array) -> Array:
        """Returns regrets of full runs, (S, C), drawn with the standard normals (S, C)."""
        size = len(self.mean)
        jitter = JITTER * np.trace(self.covariance) / size * np.eye(size)
        drawn = self.mean + normal @ np.linalg.cholesky(self.covariance + jitter).T
        best = drawn.max(axis=1, keepdims=True)
        spread = np.maximum(best - np.median(drawn, axis=1, keepdims=True), 0.1)
        return np.asarray(np.clip((best - drawn) / spread, 0.0, WORST), dtype=np.float64)

    def expected_improvement(self, best: float) -> Array:
        """Returns E[(value − best)₊] of full runs, (C,), in closed form (Jones, Schonlau & Welch 1998, eq. 15)."""
        gain = self.level + self.scale * self.mean - best
        deviation = self.scale * np.sqrt(np.maximum(np.diag(self.covariance), 1e-12))
        score = gain / deviation
        density = np.exp(-0.5 * score**2) / np.sqrt(2 * np.pi)
        return np.asarray(gain * ndtr(score) + deviation * density, dtype=np.float64)

    def value(self, c: int) -> Normal:
        """Returns the value of a full run of a configuration."""
        return Normal(
            mean=self.level + self.scale * float(self.mean[c]),
            deviation=self.scale * float(np.sqrt(max(self.covariance[c, c], 0.0))),
        )


def covariance_of(residuals: Array) -> Array:
    """Returns the shrunk covariance, (C, C), of the residuals (T, C) of known targets, NaN where not tried.

    A configuration that nobody tried varies as much as the others do on average.
    """
    is_tried = ~np.isnan(residuals)
    centred = np.where(is_tried, residuals, 0.0)
    sample = centred.T @ centred / max(len(residuals), 1)
    counts = is_tried.sum(axis=0)
    variance = (centred**2).sum(axis=0) / np.maximum(counts, 1)
    typical = float(variance[counts > 0].mean()) if (counts > 0).any() else UNTRIED
    diagonal = np.maximum(np.where(counts > 0, variance, typical), LEAST_VARIANCE)
    covariance = (1 - SHRINKAGE) * sample + np.diag(diagonal - (1 - SHRINKAGE) * np.diag(sample))
    return np.asarray(covariance, dtype=np.float64)
