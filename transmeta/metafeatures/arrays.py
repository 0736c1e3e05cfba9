"""Array types and the steps that several measures share."""

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32 | np.float64]
Labels = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.float64]

CONSTANT: Final = 1e-9
"""A column whose deviation is below this share of its largest value is constant but for rounding."""


def centre(x: Matrix) -> Matrix:
    """Returns `x` (n, d) with each column's mean taken away; constant columns become exactly 0."""
    centred: Matrix = x - x.mean(axis=0)
    scale = np.abs(x).max(axis=0)
    is_constant = np.abs(centred).max(axis=0) <= CONSTANT * scale
    centred[:, is_constant] = 0.0
    return centred


def deviations(centred: Matrix) -> Matrix:
    """Returns the standard deviation of each column of a centred matrix, 1 for columns of zeros."""
    found: Matrix = np.asarray(np.sqrt(np.square(centred).mean(axis=0)))
    found[found == 0] = 1.0
    return found


def standardise(x: Floats) -> Matrix:
    """Returns `x` (n, d) with columns of mean 0 and deviation 1; constant columns become 0."""
    values = x.astype(np.float64)
    scale = np.abs(values).max(axis=0)
    centred = centre(values / np.where(scale > 0, scale, 1.0))  # scaled first, so that no square overflows
    return centred / deviations(centred)


def one_hot(labels: Labels) -> Matrix:
    """Returns (n, k) indicators of the k classes that occur in `labels`, in ascending order."""
    classes, index = np.unique(labels, return_inverse=True)
    return np.eye(len(classes))[index]
