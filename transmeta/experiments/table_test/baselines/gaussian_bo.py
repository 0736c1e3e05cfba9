"""Bayesian optimisation that knows nothing of other targets: a Gaussian process on the hyperparameters.

A Matérn 5/2 kernel with one length, a variance and a noise, chosen by the marginal likelihood over a grid, in closed
form; the next configuration has the largest expected improvement (Snoek et al. 2012). Values are replaced by the normal
scores of their ranks, so that one run that diverged does not flatten all others (Salinas et al. 2020).

Letters: C configurations, F columns of the design, n observed ones.
"""

import dataclasses
import itertools
from typing import Final, final

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import norm

from transmeta.experiments.table_test.baselines.design import design, normal_scores
from transmeta.policies.adaptive.protocol import Array, Curves, Flags, Move, Present
from transmeta.training.seeding import derive_seed

RANDOM_RUNS: Final = 5
LENGTHS: Final = tuple(float(length) for length in np.geomspace(0.1, 3.0, 6))
"""In units of the square root of the number of hyperparameters that vary."""
NOISES: Final = (1e-3, 1e-2, 1e-1)
"""In units of the kernel's variance."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A Gaussian process on n values.

    Attributes:
        length, noise, variance: of the kernel.
        evidence: log marginal likelihood.
    """

    length: float
    noise: float
    variance: float
    evidence: float


def matern(distance: Array, length: float) -> Array:
    """Returns the Matérn 5/2 correlation at distances."""
    r = np.sqrt(5.0) * distance / length
    return np.asarray((1 + r + r**2 / 3) * np.exp(-r))


def fit(distance: Array, values: Array, *, unit: float = 1.0) -> Fit:
    """Returns the kernel of the grid with the most evidence; of each, the variance is that with the most.

    Args:
        distance: (n, n) between the observed.
        values: (n,), of mean zero.
        unit: of the lengths.
    """
    found: list[Fit] = []
    for length, noise in itertools.product(LENGTHS, NOISES):
        kernel = matern(distance, unit * length) + noise * np.eye(len(values))
        factor = cho_factor(kernel, lower=True)
        variance = max(float(values @ cho_solve(factor, values)) / len(values), 1e-12)
        log_determinant = 2 * float(np.log(np.diag(factor[0])).sum()) + len(values) * np.log(variance)
        evidence = -0.5 * (len(values) * (1 + np.log(2 * np.pi)) + log_determinant)
        found.append(Fit(length=unit * length, noise=noise, variance=variance, evidence=evidence))
    return max(found, key=lambda one: one.evidence)


def posterior(one: Fit, distance: Array, cross: Array, values: Array) -> tuple[Array, Array]:
    """Returns mean and deviation at C points, (C,) each, without noise.

    Args:
        distance: (n, n) between the observed, `cross` (C, n) from the points to them.
    """
    factor = cho_factor(matern(distance, one.length) + one.noise * np.eye(len(values)), lower=True)
    near = matern(cross, one.length)
    explained = (near * cho_solve(factor, near.T).T).sum(axis=1)
    deviation = np.sqrt(np.maximum(one.variance * (1 - explained), 1e-12))
    return np.asarray(near @ cho_solve(factor, values)), np.asarray(deviation)


def expected_improvement(mean: Array, deviation: Array, *, best: float) -> Array:
    """Returns E[max(f − best, 0)], (C,)."""
    z = (mean - best) / deviation
    return np.asarray(deviation * (z * norm.cdf(z) + norm.pdf(z)))


@final
class GaussianBoSession:
    """Five configurations at random, then those with the largest expected improvement, all in full.

    Args:
        points: (C, F).
    """

    def __init__(self, points: Array, present: Present, *, seed: int) -> None:
        rng = np.random.default_rng(derive_seed(seed, "gp_bo", present.target))
        self._points = points
        self._unit = float(np.sqrt(max(points.shape[1], 1)))
        self._steps = present.steps
        self._is_left: Flags = present.is_allowed.copy()
        self._first = rng.permutation(np.flatnonzero(present.is_allowed))[:RANDOM_RUNS].tolist()
        self._run: list[int] = []
        self._values: list[float] = []

    def next(self) -> Move | None:
        """Returns the next full run; None when every configuration was run."""
        left = np.flatnonzero(self._is_left)
        if not left.size:
            return None
        if len(self._run) < len(self._first):
            config = int(self._first[len(self._run)])
        else:
            config = int(left[int(np.argmax(self._improvement(self._points[left])))])
        return Move(config=config, step=int(self._steps[config]))

    def tell(self, move: Move, values: Array, cost_s: Array, failed: bool) -> None:
        """Takes the value; one that failed is the worst."""
        self._is_left[move.config] = False
        self._run.append(move.config)
        self._values.append(-np.inf if failed or not np.isfinite(values[-1]) else float(values[-1]))

    def _improvement(self, points: Array) -> Array:
        scores = normal_scores(-np.array([self._values]))[0]
        scores = scores - scores.mean()
        observed = self._points[self._run]
        distance = _distance(observed, observed)
        one = fit(distance, scores, unit=self._unit)
        mean, deviation = posterior(one, distance, _distance(points, observed), scores)
        return expected_improvement(mean, deviation, best=float(scores.max()))


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GaussianBoLearned:
    """Knows what describes the configurations, nothing of other targets."""

    points: Array

    def start(self, present: Present, *, seed: int) -> GaussianBoSession:
        """Returns the search on the target."""
        return GaussianBoSession(self.points, present, seed=seed)


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GaussianBo:
    """Bayesian optimisation from nothing."""

    name: str = "gp_bo"
    is_random: bool = True

    def learn(self, curves: Curves, *, seed: int) -> GaussianBoLearned:
        """Takes the ranges of the hyperparameters; one that a configuration lacks is as at its least."""
        return GaussianBoLearned(points=np.nan_to_num(design(curves), nan=0.0))


def _distance(points: Array, others: Array) -> Array:
    """Returns Euclidean distances, (n, m)."""
    squares = (points**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * points @ others.T
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))
