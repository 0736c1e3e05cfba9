"""What is known of a source for a target before training: how its features and predictions fit, and its card."""

import math
from typing import Final

import numpy as np

from transmeta.core.experience import OPERATIONS
from transmeta.core.model import ModelCard
from transmeta.errors import InputError
from transmeta.metafeatures.arrays import Floats, Labels, Matrix, one_hot
from transmeta.metafeatures.probe import probe_accuracy
from transmeta.metafeatures.transferability import h_score, leep, logme, nearest_class_mean_accuracy

MEASURES: Final = ("logme", "h_score", "ncm", "probe", "leep", "has_leep", "shift", "has_shift")


def pair_features(
    *,
    card: ModelCard,
    labels: Labels,
    features: Floats | None = None,
    source_probabilities: Floats | None = None,
    source_feature_mean: Floats | None = None,
    source_feature_std: Floats | None = None,
) -> dict[str, float]:
    """Returns name → value; the same names for every pair, every value finite.

    - `logme`, `ncm`, `probe`: see `transferability` and `probe`;
    - `h_score`: with shrinkage, divided by its largest value, classes − 1;
    - `leep`, and `has_leep` = 0 where the source has no head (then `leep` is 0);
    - `shift`: log(1 + Fréchet distance / source variance) between source and target features, `has_shift` likewise;
    - `log_parameters`, `log_macs` (of the stages, for one example), `log_source_classes`, `is_pretrained`,
      `source_score`, `has_source_score`: the card.

    All but the last line are 0 for a card without weights. Whether the domains agree is not told: it would let a
    policy recognise the left-out ones.

    Args:
        labels: (n,) of the target's training examples.
        features: (n, d), what the source's last stage makes of them.
        source_probabilities: (n, source classes), rows that sum to 1.
        source_feature_mean, source_feature_std: (d,), over the source's own examples; both or neither.

    Raises:
        InputError: for values that are not finite.
    """
    values = dict.fromkeys(MEASURES, 0.0)
    if features is not None and card.is_pretrained:
        _check_finite(features, what="features", card=card)
        values |= _separation(features, labels)
        if source_probabilities is not None:
            _check_finite(source_probabilities, what="predictions", card=card)
            values |= {"leep": leep(source_probabilities, labels), "has_leep": 1.0}
        if source_feature_mean is not None and source_feature_std is not None:
            distance = shift(features, mean=source_feature_mean, std=source_feature_std)
            values |= {"shift": distance, "has_shift": 1.0}
    return values | {
        "log_parameters": math.log1p(card.parameter_count),
        OPERATIONS: math.log1p(sum(stage.macs for stage in card.stages)),
        "log_source_classes": math.log1p(card.class_count),
        "is_pretrained": float(card.is_pretrained),
        "source_score": card.score if card.score is not None else 0.0,
        "has_source_score": float(card.score is not None),
    }


def shift(features: Floats, *, mean: Floats, std: Floats) -> float:
    """Returns log(1 + (‖μ_s − μ_t‖² + ‖σ_s − σ_t‖²) / ‖σ_s‖²): Fréchet distance of diagonal Gaussians, scale-free.

    Args:
        features: (n, d) of the target.
        mean, std: (d,) μ_s and σ_s of the source.
    """
    target: Matrix = features.astype(np.float64)
    distance = np.square(target.mean(axis=0) - mean).sum() + np.square(target.std(axis=0) - std).sum()
    scale = float(np.square(std, dtype=np.float64).sum())
    return math.log1p(float(distance) / max(scale, 1e-12))


def _separation(features: Floats, labels: Labels) -> dict[str, float]:
    classes = one_hot(labels).shape[1]
    return {
        "logme": logme(features, labels),
        "h_score": h_score(features, labels, shrinkage=True) / max(classes - 1, 1),
        "ncm": nearest_class_mean_accuracy(features, labels),
        "probe": probe_accuracy(features, labels),
    }


def _check_finite(values: Floats, *, what: str, card: ModelCard) -> None:
    if not np.isfinite(values).all():
        raise InputError(f"{card.id}: its {what} on the target are not finite; train or fetch its weights again")
