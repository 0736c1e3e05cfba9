"""What is known of a target from its training split alone."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from transmeta.core.task import Modality
from transmeta.errors import DataError
from transmeta.metafeatures.arrays import Labels, Matrix, one_hot, standardise

EXAMPLES: Final = 1000
"""At most this many, evenly spaced over the classes, are looked at for the statistics of the data."""
INK: Final = 0.25
"""A pixel is ink if it is further than this from the background, of the way from black to white."""
EDGE: Final = 0.1
"""There is an edge where neighbouring pixels differ by more than this."""

Examples = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


def target_features(
    examples: Examples, labels: Labels, *, class_counts: Sequence[int] | npt.NDArray[np.int64], modality: Modality
) -> dict[str, float]:
    """Returns name → value; the same names for every target, every value finite.

    - `log_examples`, `log_classes`, `log_examples_per_class`: natural logarithms of the training split's sizes;
    - `imbalance`: 1 − entropy of the classes / log(classes), 0 for balanced ones;
    - `is_image`, `channels` (0 for a table), `log_size` (pixels or columns);
    - `mean_intensity`, `contrast`, `ink_fraction`, `edge_density`, `colourfulness`: of images in [0, 1], 0 for a table;
    - `class_scatter`: share of the raw inputs' variance that lies between classes, corrected for chance.

    Args:
        examples: training images uint8 (n, height, width, channels) or table float32 (n, columns).
        labels: (n,).
        class_counts: training examples of each class, absent ones included; may count more than `examples` holds.

    Raises:
        DataError: for no examples, or values that are not finite.
    """
    if len(examples) == 0:
        raise DataError("meta-features: there are no training examples; give at least one for each class")
    counts = np.asarray(class_counts, dtype=np.float64)
    total = max(float(counts.sum()), 1.0)
    classes = max(len(counts), 1)
    chosen = _spread(labels)
    looked_at = examples[chosen]
    if not np.isfinite(looked_at).all():
        raise DataError("meta-features: the training examples hold NaN or infinite values; fill or remove them")
    is_image = modality is Modality.IMAGE
    size = math.prod(examples.shape[1:3]) if is_image else examples.shape[1]
    pixels = looked_at.astype(np.float64) / 255 if is_image else np.zeros((1, 1, 1, 1))
    return {
        "log_examples": math.log(total),
        "log_classes": math.log(classes),
        "log_examples_per_class": math.log(total / classes),
        "imbalance": _imbalance(counts),
        "is_image": float(is_image),
        "channels": float(examples.shape[3]) if is_image else 0.0,
        "log_size": math.log(max(size, 1)),
        "mean_intensity": float(pixels.mean()),
        "contrast": float(pixels.std(axis=(1, 2, 3)).mean()),
        "ink_fraction": ink_fraction(pixels),
        "edge_density": edge_density(pixels),
        "colourfulness": colourfulness(pixels),
        "class_scatter": class_scatter(looked_at.reshape(len(looked_at), -1), labels[chosen]),
    }


def ink_fraction(pixels: Matrix) -> float:
    """Returns the share of pixels that differ from the background, dark on light or light on dark.

    Args:
        pixels: (n, height, width, channels) in [0, 1]; the background is the median of an image's border.
    """
    grey = pixels.mean(axis=3)
    border = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
    return float((np.abs(grey - np.median(border, axis=1)[:, None, None]) > INK).mean())


def edge_density(pixels: Matrix) -> float:
    """Returns the share of neighbouring pixel pairs, across and down, that differ by more than a tenth.

    Args:
        pixels: (n, height, width, channels) in [0, 1].
    """
    grey = pixels.mean(axis=3)
    steps = [np.abs(np.diff(grey, axis=axis)).ravel() > EDGE for axis in (1, 2)]
    joined = np.concatenate(steps)
    return float(joined.mean()) if joined.size else 0.0


def colourfulness(pixels: Matrix) -> float:
    """Returns √(σ²_rg + σ²_yb) + 0.3·√(μ²_rg + μ²_yb), mean over images (Hasler & Süsstrunk 2003); 0 for grey.

    Args:
        pixels: (n, height, width, channels) in [0, 1].
    """
    if pixels.shape[3] < 3:
        return 0.0
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    deviation = np.hypot(red_green.std(axis=(1, 2)), yellow_blue.std(axis=(1, 2)))
    mean = np.hypot(red_green.mean(axis=(1, 2)), yellow_blue.mean(axis=(1, 2)))
    return float((deviation + 0.3 * mean).mean())


def class_scatter(x: npt.NDArray[np.uint8] | npt.NDArray[np.float32] | Matrix, labels: Labels) -> float:
    """Returns ε² = (SS_between − (k − 1)·MS_within)/SS_total of the columns that vary, standardised (Kelley 1935).

    0 is expected for labels that say nothing, whatever the number of examples per class; 1 is perfect separation.
    Clipped at 0, and 0 where no class has two examples.

    Args:
        x: (n, columns).
    """
    values = standardise(x.astype(np.float64))
    targets = one_hot(labels)
    n, classes = targets.shape
    total = float(np.square(values).sum())
    if n <= classes or total == 0:
        return 0.0
    counts = targets.sum(axis=0)
    between = float((np.square(targets.T @ values) / counts[:, None]).sum())
    within = max(total - between, 0.0) / (n - classes)
    return float(np.clip((between - (classes - 1) * within) / total, 0.0, 1.0))


def _imbalance(counts: Matrix) -> float:
    shares = counts[counts > 0] / max(float(counts.sum()), 1.0)
    if len(counts) < 2 or len(shares) == 0:
        return 0.0
    return float(np.clip(1 + (shares * np.log(shares)).sum() / math.log(len(counts)), 0.0, 1.0))


def _spread(labels: Labels) -> npt.NDArray[np.int64]:
    """Returns the indices of up to EXAMPLES examples, each class in proportion."""
    order = np.argsort(labels, kind="stable")
    if len(order) <= EXAMPLES:
        return order
    return order[np.linspace(0, len(order) - 1, EXAMPLES).astype(np.int64)]
