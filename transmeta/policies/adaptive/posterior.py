"""What the configurations are worth on the present target, as samples: a Gaussian process over configurations.

The prior mean is the network's prediction, or the known targets' mean; the covariance is that of the known targets around
it. A value y of configuration c is level + scale · (noise − g(c)), with a level that is unknown and a scale of a
log-normal prior. Source: the mean and covariance of Wistuba et al. (transferable GPs, 2018) with the level left free.
Letters: T known targets, C configurations, N observations, S samples.
"""

import dataclasses
from typing import Final, final

import numpy as np

from transmeta.policies.adaptive.protocol import Array, Indices
from transmeta.policies.table import WORST

SAMPLES: Final = 128
SHRINKAGE: Final = 0.2
"""Share of the diagonal in the covariance: what each configuration has of its own."""
LEVEL: Final = 3.0
"""Deviation of the level, in regrets."""
SCALES: Final = np.exp(np.linspace(-1.0, 1.0, 9))
SCALE_DEVIATION: Final = 0.4
JITTER: Final = 1e-6


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beliefs:
    """Prior over minus the regret of full runs.

    Attributes:
        mean: (C,) minus the expected regret.
        covariance: (C, C).
        noise: (C, K) variance with which a value at a rung tells the final one.
        gaps: (C, K) how far the regret at a rung lies above the final one.
        scale: expected best − median of the present target's values.
        normal: (S, C) standard normals, the same for all observations.
    """

    mean: Array
    covariance: Array
    noise: Array
    gaps: Array
    scale: float
    normal: Array

    def sample(self, *, observed: Indices, rungs: Indices, utility: Array) -> Array:
        """Returns regrets of full runs, (S, C), given values at rungs (from 0) of the observed configurations (N,)."""
        mean, covariance = self.posterior(observed=observed, rungs=rungs, utility=utility)[:2]
        factor = np.linalg.cholesky(covariance + JITTER * np.trace(covariance) / len(mean) * np.eye(len(mean)))
        drawn = mean + self.normal @ factor.T
        best = drawn.max(axis=1, keepdims=True)
        spread = np.maximum(best - np.median(drawn, axis=1, keepdims=True), 0.1)
        return np.clip((best - drawn) / spread, 0.0, WORST)

    def posterior(self, *, observed: Indices, rungs: Indices, utility: Array) -> tuple[Array, Array, float]:
        """Returns mean (C,), covariance (C, C) and the scale; a level common to all is in the mean."""
        if not len(observed):
            return self.mean, self.covariance, self.scale
        prior = self.covariance + LEVEL**2
        kernel = prior[np.ix_(observed, observed)] + np.diag(self.noise[observed, rungs])
        factor = np.linalg.cholesky(kernel)
        expected = self.mean[observed] - self.gaps[observed, rungs]
        centre = float(np.mean(utility))
        scale = self.scale * self._relative_scale(factor, expected, utility - centre)
        residual = (utility - centre) / scale - expected
        weights = np.linalg.solve(factor.T, np.linalg.solve(factor, residual))
        cross = prior[:, observed]
        half = np.linalg.solve(factor, cross.T)
        return self.mean + cross @ weights, prior - half.T @ half, scale

    def _relative_scale(self, factor: Array, expected: Array, utility: Array) -> float:
        """Returns the scale, relative to the expected one, of the largest posterior density on a grid."""
        residuals = utility[None] / (self.scale * SCALES[:, None]) - expected
        half = np.linalg.solve(factor, residuals.T)
        density = -0.5 * (half**2).sum(axis=0) - len(utility) * np.log(SCALES)
        density -= 0.5 * (np.log(SCALES) / SCALE_DEVIATION) ** 2
        return float(SCALES[int(np.argmax(density))])


def covariance_of(residuals: Array) -> Array:
    """Returns the shrunk covariance, (C, C), of the residuals (T, C) of known targets; 0 where not tried."""
    count = max(len(residuals), 1)
    sample = residuals.T @ residuals / count
    diagonal = np.maximum(np.diag(sample), 0.01)
    return (1 - SHRINKAGE) * sample + np.diag(SHRINKAGE * diagonal)
