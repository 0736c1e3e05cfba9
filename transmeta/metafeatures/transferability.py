"""Measures of how well features or predictions of a source separate a target's classes, without training.

n examples, d features, k classes that occur. All return finite values for any finite input with n ≥ 1.
"""

from typing import Final

import numpy as np

from transmeta.metafeatures.arrays import Floats, Labels, Matrix, centre, one_hot, standardise

FLOOR: Final = 1e-7
"""Added to squared sums before dividing: the evidence of an exact fit, which has no bound, stays finite.

The authors' code of LogME adds 1e-5, which costs up to 5e-4 nats on a dozen examples; this costs a tenth of that."""
ITERATIONS: Final = 200
TOLERANCE: Final = 1e-6


def logme(features: Floats, labels: Labels) -> float:
    """Returns the log maximum evidence of a linear model, in nats per example, mean over classes (You et al. 2021).

    Per class y ∈ {0, 1}ⁿ: w ~ N(0, α⁻¹I), y ~ N(Fw, β⁻¹I), and α, β by MacKay's fixed point, γ = Σ βσ/(α + βσ),
    α ← γ/‖m‖², β ← (n − γ)/‖Fm − y‖². Higher is better. Does not depend on the scale of `features`.

    Args:
        features: (n, d), not centred, as in the paper.
    """
    values = features.astype(np.float64)
    largest = np.abs(values).max(initial=0.0)
    values = values / largest if largest > 0 else values
    root_mean_square = np.sqrt(np.square(values).mean()) if values.size else 0.0
    values = values / root_mean_square if root_mean_square > 0 else values
    targets = one_hot(labels)
    left, singular, _ = np.linalg.svd(values, full_matrices=False)
    return float(_evidence(left.T @ targets, np.square(singular), targets=targets).mean())


def _evidence(z: Matrix, sigma: Matrix, *, targets: Matrix) -> Matrix:
    """Returns the largest evidence of each class divided by n.

    Args:
        z: (r, k) targets in the basis of the left singular vectors.
        sigma: (r,) squared singular values.
    """
    n = len(targets)
    eigenvalues = sigma[:, None]
    outside = np.maximum(np.square(targets).sum(axis=0) - np.square(z).sum(axis=0), 0.0)
    alpha, beta = np.ones(z.shape[1]), np.ones(z.shape[1])
    for _ in range(ITERATIONS):
        share = beta * eigenvalues / (alpha + beta * eigenvalues)
        gamma = share.sum(axis=0)
        residual = outside + np.square((1 - share) * z).sum(axis=0)
        weights = (np.square(share * z) / np.where(eigenvalues > 0, eigenvalues, 1.0)).sum(axis=0)
        before = alpha / beta
        alpha = np.maximum(gamma, FLOOR) / (weights + FLOOR)
        beta = np.maximum(n - gamma, FLOOR) / (residual + FLOOR)
        if np.all(np.abs(alpha / beta - before) <= TOLERANCE * before):
            break
    variance = 1 / beta + eigenvalues / alpha  # of y along each singular vector; 1/β along all others
    quadratic = (np.square(z) / variance).sum(axis=0) + beta * outside
    log_determinant = np.log(variance).sum(axis=0) - (n - len(sigma)) * np.log(beta)
    return np.asarray(-0.5 * (n * np.log(2 * np.pi) + log_determinant + quadratic) / n)


def leep(source_probabilities: Floats, labels: Labels) -> float:
    """Returns the log expected empirical prediction, in nats per example, at most 0 (Nguyen et al. 2020).

    T = (1/n) Σᵢ log Σ_z P(yᵢ|z) θ(xᵢ)_z, with P(y|z) = P(y, z)/P(z) from P(y, z) = (1/n) Σ_{i: yᵢ = y} θ(xᵢ)_z.

    Args:
        source_probabilities: θ (n, source classes), rows that sum to 1.
    """
    theta = source_probabilities.astype(np.float64)
    targets = one_hot(labels)
    joint = targets.T @ theta / len(theta)
    marginal = joint.sum(axis=0)
    conditional = joint / np.where(marginal > 0, marginal, 1.0)
    expected = (targets @ conditional * theta).sum(axis=1)
    return float(np.log(np.clip(expected, np.finfo(np.float64).tiny, 1.0)).mean())


def h_score(features: Floats, labels: Labels, *, shrinkage: bool = False) -> float:
    """Returns tr(cov(f)⁻¹ cov(E[f|y])), 0 to k − 1 (Bao et al. 2019), by the pseudo-inverse where it is singular.

    Args:
        features: (n, d).
        shrinkage: tr(Σ_s⁻¹ (1 − s) cov(E[f|y])) with Ledoit and Wolf's Σ_s = (1 − s)·cov(f) + s·tr(cov(f))/d·I
            (Ibrahim et al. 2022); without it, the score is k − 1 whenever d ≥ n − 1.
    """
    values = features.astype(np.float64)
    largest = np.abs(values).max(initial=0.0)
    centred = centre(values / largest if largest > 0 else values)
    targets = one_hot(labels)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    limit = singular.max(initial=0.0) * max(centred.shape) * np.finfo(np.float64).eps
    kept = singular > limit
    between = np.square(left[:, kept].T @ targets / np.sqrt(targets.sum(axis=0))).sum(axis=1)
    if not shrinkage:
        return float(between.sum())
    share = ledoit_wolf(centred)
    variances = np.square(singular[kept]) / len(centred)
    ridge = share * np.square(singular).sum() / centred.size
    return float((between * (1 - share) * variances / ((1 - share) * variances + ridge)).sum()) if kept.any() else 0.0


def ledoit_wolf(centred: Matrix) -> float:
    """Returns the shrinkage of the covariance of `centred` (n, d) towards a multiple of I (Ledoit & Wolf 2004)."""
    n, d = centred.shape
    squares = np.square(centred).sum(axis=1)
    gram = centred.T @ centred if d < n else centred @ centred.T
    second = np.square(gram).sum() / n**2  # ‖S‖², the same for both Gram matrices
    distance = second - (squares.sum() / n) ** 2 / d
    noise = (np.square(squares).sum() / n - second) / n
    return float(np.clip(noise / distance, 0.0, 1.0)) if distance > 0 else 0.0


def nearest_class_mean_accuracy(features: Floats, labels: Labels) -> float:
    """Returns the share of examples whose nearest class mean, made without them, is their own (leave-one-out).

    Features are standardised. A class of one example has no mean without it: such examples are left out, and if no
    others are there, the answer is that of guessing, 1/k.
    """
    x = standardise(features)
    targets = one_hot(labels)
    counts = targets.sum(axis=0)
    own = targets.argmax(axis=1)
    rest = np.maximum(counts - 1, 1)
    means = targets.T @ x / counts[:, None]
    distances = np.square(means).sum(axis=1) - 2 * x @ means.T + np.square(x).sum(axis=1, keepdims=True)
    rows = np.arange(len(x))
    distances[rows, own] *= np.square(counts / rest)[own]  # without xᵢ, the mean is n_k/(n_k − 1) times as far
    is_counted = counts[own] > 1
    if not is_counted.any():
        return 1 / len(counts)
    return float((distances.argmin(axis=1) == own)[is_counted].mean())
