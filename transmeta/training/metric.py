"""Metrics on logits."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from transmeta.core.task import Metric
from transmeta.errors import UnknownNameError


def evaluate(metric: Metric, *, logits: Tensor, labels: Tensor) -> float:
    """Returns the metric of `logits` (count, classes) against `labels` (count,), in the metric's own direction.

    Raises:
        UnknownNameError: if the metric is not one of accuracy, balanced_accuracy, log_loss (nats).
    """
    if metric.name == "log_loss":
        return float(functional.cross_entropy(logits, labels))
    hits = (logits.argmax(dim=1) == labels).to(torch.float64)
    if metric.name == "accuracy":
        return float(hits.mean())
    if metric.name == "balanced_accuracy":
        counts = torch.bincount(labels, minlength=logits.shape[1])
        per_class = torch.bincount(labels, weights=hits, minlength=logits.shape[1])
        return float((per_class[counts > 0] / counts[counts > 0]).mean())
    raise UnknownNameError("metric", name=metric.name, known=("accuracy", "balanced_accuracy", "log_loss"))


def evaluate_stacked(metric: Metric, *, logits: Tensor, labels: Tensor) -> Sequence[float]:
    """Returns `evaluate` of each of `logits` (members, count, classes); NaN for those that are not all finite.

    Raises:
        UnknownNameError: as `evaluate`.
    """
    extremes = torch.stack(torch.aminmax(logits.flatten(1), dim=1))
    is_finite = torch.isfinite(extremes).all(dim=0).tolist()
    if metric.name == "accuracy":
        values = (logits.argmax(dim=2) == labels).to(torch.float64).mean(dim=1).tolist()
    else:
        values = [evaluate(metric, logits=own, labels=labels) for own in logits]
    return [value if finite else math.nan for value, finite in zip(values, is_finite, strict=True)]
