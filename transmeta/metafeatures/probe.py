"""Cross-validated accuracy of a linear head, in closed form."""

from typing import Final

import numpy as np

from transmeta.metafeatures.arrays import Floats, Labels, Matrix, centre, deviations, one_hot

PENALTIES: Final = np.logspace(-4, 2, 7)
"""Ridge penalties per example, for standardised features; chosen by leave-one-out within the training folds."""
FOLDS: Final = 5
EXAMPLES: Final = 1000
"""At most this many are used, so that it takes a second at most, whatever the features' width."""


def probe_accuracy(features: Floats, labels: Labels, *, seed: int = 0) -> float:
    """Returns the share of held-out examples that a ridge head classifies correctly, stratified 5-fold.

    Every class is spread over as many folds as it has examples. A class of one example is trained on and never
    tested; if no other class is there, the answer is that of guessing, 1/k.

    Args:
        features: (n, d); standardised on the training folds.
        seed: of the folds, and of the choice of examples where there are more than 1000.
    """
    largest = np.abs(features).max(initial=0.0)
    x = features.astype(np.float64) / (largest if largest > 0 else 1.0)
    targets = one_hot(labels)
    folds = _folds(targets, seed=seed)
    correct, count = 0, 0
    for fold in range(FOLDS):
        is_tested, is_trained = folds == fold, (folds >= 0) & (folds != fold) | (folds == FOLDS)
        if is_tested.any() and is_trained.any():
            scores = _ridge(x[is_trained], targets[is_trained], held_out=x[is_tested])
            correct += int((scores.argmax(axis=1) == targets[is_tested].argmax(axis=1)).sum())
            count += int(is_tested.sum())
    return correct / count if count else 1 / targets.shape[1]


def _folds(targets: Matrix, *, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Returns each example's fold: 0 to FOLDS − 1, FOLDS for trained on only, −1 for not used."""
    rng = np.random.default_rng(seed)
    n = len(targets)
    folds = np.full(n, -1, dtype=np.int64)
    used = rng.permutation(n)[:EXAMPLES]
    own = targets.argmax(axis=1)
    start = 0
    for label in range(targets.shape[1]):
        members = used[own[used] == label]
        folds[members] = (start + np.arange(len(members))) % FOLDS if len(members) > 1 else FOLDS
        start += len(members)  # so that small classes do not all meet in the first folds
    return folds


def _ridge(x: Matrix, targets: Matrix, *, held_out: Matrix) -> Matrix:
    """Returns the scores (m, k) of `held_out` (m, d) under ridge regression with the best penalty for `x` (n, d)."""
    n, d = x.shape
    centred = centre(x)
    scale = deviations(centred)
    train, test = centred / scale, (held_out - x.mean(axis=0)) / scale
    test[:, ~centred.any(axis=0)] = 0.0  # nothing was learned about columns that are constant in training
    if d <= n:
        values, vectors = np.linalg.eigh(train.T @ train)
        train, test = train @ vectors, test @ vectors
    else:
        values, vectors = np.linalg.eigh(train @ train.T)
        kept = values > values.max(initial=0.0) * n * np.finfo(np.float64).eps
        values, vectors = values[kept], vectors[:, kept]
        train, test = vectors * np.sqrt(values), test @ (train.T @ vectors) / np.sqrt(values)
    values = np.maximum(values, 0.0)
    mean = targets.mean(axis=0)
    correlation = train.T @ (targets - mean)
    best, chosen = np.inf, np.zeros((train.shape[1], targets.shape[1]))
    for penalty in n * PENALTIES:
        weights = correlation / (values + penalty)[:, None]
        leverage = 1 / n + (np.square(train) / (values + penalty)).sum(axis=1, keepdims=True)
        left_out = (targets - mean - train @ weights) / np.maximum(1 - leverage, 1e-6)
        loss = float(np.square(left_out).mean())
        if loss < best:
            best, chosen = loss, weights
    return np.asarray(mean + test @ chosen)
