"""Linear heads in closed form: one eigendecomposition of the features, then any number of penalties.

Letters: n examples, p features, c classes, m = min(n, p), r rows that the scale is found on.
"""

from typing import Final, final

import torch
from torch import Tensor
from torch.nn import functional

from transmeta.errors import Diverged

CHUNK: Final = 4096
CALIBRATION_ROWS: Final = 512
"""Most training examples that the scale of the outputs is found on, evenly spaced."""
SCALE_LIMIT: Final = 1024.0
SCALE_STEPS: Final = 20
RESOLUTION: Final = 1e-6
"""A feature that varies by less than this share of its size is float32's rounding, and counts as constant."""


@final
class RidgePath:
    """All heads of ridge regression on the same features (Hoerl & Kennard 1970).

    With features Z (n, p) and targets Y (n, c) of ±1, one against the rest, both centred, a head is

        W = argmin ‖Y − Z·W‖² + λ·‖W‖²,   λ = penalty · ‖Z‖²   (squared Frobenius norm)

    and the bias, which is not penalised, makes up for the means. From Z'Z = V·D·V' follows W = V·(D + λ)⁻¹·V'Z'Y
    (Hastie et al. 2009, eq. 3.47); from ZZ' = U·D·U', which is cheaper where n < p, W = Z'U·(D + λ)⁻¹·U'Y. Made in
    O(n·p·m + m³), each penalty then costs O(p·m·c). Float64 inside, on the CPU; deterministic.

    Args:
        features: (n, p) of the training examples, finite; none of them is kept.
        labels: int64 (n,), class indices.
        class_count: c; classes without examples get the target −1 throughout.

    Raises:
        Diverged: if a feature is not finite.
    """

    def __init__(self, features: Tensor, *, labels: Tensor, class_count: int) -> None:
        features, labels = features.detach().cpu(), labels.cpu()
        count, width = features.shape
        self._labels = labels
        targets = 2.0 * functional.one_hot(labels, class_count).double() - 1.0
        self._target_mean = targets.mean(dim=0)
        self._mean, self._varies = _moments(features)
        if not bool(torch.isfinite(self._mean).all()):
            raise Diverged("the source's features are not finite on these examples; choose another source")
        rows = torch.linspace(0, count - 1, min(count, CALIBRATION_ROWS)).round().long()
        self._rows, self._count = rows, count
        self._is_dual = count < width
        if self._is_dual:
            centred = self._centred(features)
            values, vectors = torch.linalg.eigh(centred @ centred.T)
            self._basis = centred.T @ vectors
            self._responses = vectors.T @ (targets - self._target_mean)
            self._scores = vectors[rows]
        else:
            gram = torch.zeros(width, width, dtype=torch.float64)
            product = torch.zeros(width, class_count, dtype=torch.float64)
            for begin in range(0, count, CHUNK):
                centred = self._centred(features[begin : begin + CHUNK])
                gram += centred.T @ centred
                product += centred.T @ (targets[begin : begin + CHUNK] - self._target_mean)
            values, self._basis = torch.linalg.eigh(gram)
            self._responses = self._basis.T @ product
            self._scores = self._centred(features[rows]) @ self._basis
        self._basis *= self._varies[:, None]  # eigenvectors of the value 0 mix what is constant
        self._values = values.clamp(min=0.0)

    @property
    def memory_bytes(self) -> int:
        """Bytes that the decomposition takes."""
        kept = (self._basis, self._responses, self._scores, self._values, self._labels)
        return sum(tensor.numel() * tensor.element_size() for tensor in kept)

    def head(self, penalty: float) -> tuple[Tensor, Tensor]:
        """Returns float64 weight (c, p) and bias (c,), whose outputs are near +1 for the class and −1 for others."""
        weight = (self._basis @ (self._inverse(penalty)[:, None] * self._responses)).T
        return weight, self._target_mean - weight @ self._mean

    def left_out(self, penalty: float) -> Tensor:
        """Returns float64 (r, c): what the head without example i says of example i, exactly, at the same λ.

        With the hat matrix H, which includes the bias, it is (ŷᵢ − hᵢᵢ·yᵢ) / (1 − hᵢᵢ) (Hastie et al. 2009, eq. 7.64).
        """
        shrunk = self._inverse(penalty) * (self._values if self._is_dual else 1.0)
        leverage = (self._scores.square() @ shrunk + 1.0 / self._count)[:, None]
        fitted = self._scores @ (shrunk[:, None] * self._responses) + self._target_mean
        targets = 2.0 * functional.one_hot(self._labels[self._rows], fitted.shape[1]).double() - 1.0
        left_out: Tensor = (fitted - leverage * targets) / (1.0 - leverage).clamp(min=torch.finfo(torch.float64).eps)
        return left_out

    def scale(self, penalty: float) -> float:
        """Returns the positive factor that makes the head's outputs logits: it minimises the log loss when left out.

        Labels are softened by 1/(n + 1), as Platt (1999) does, so that separable classes keep a finite factor.
        """
        outputs, labels = self.left_out(penalty), self._labels[self._rows]
        soft = 1.0 / (len(labels) + 1)
        own = (1.0 - soft) * outputs.gather(1, labels[:, None])[:, 0] + soft * outputs.mean(dim=1)
        low, high, scale = 1.0 / SCALE_LIMIT, SCALE_LIMIT, 1.0
        for _ in range(SCALE_STEPS):  # Newton's method on a convex function, kept within what is known of its root
            chances = torch.softmax(scale * outputs, dim=1)
            mean = (chances * outputs).sum(dim=1)
            slope = float((mean - own).mean())
            curvature = float((chances * outputs.square()).sum(dim=1).sub(mean.square()).mean())
            low, high = (low, scale) if slope > 0 else (scale, high)
            step = slope / curvature if curvature > 0 else 0.0
            if abs(step) <= 1e-6 * scale:
                break
            scale = scale - step if low < scale - step < high else (low * high) ** 0.5
        return scale

    def _centred(self, features: Tensor) -> Tensor:
        return (features.double() - self._mean) * self._varies

    def _inverse(self, penalty: float) -> Tensor:
        """Returns 1 / (D + λ) (m,); 0 where nothing varies."""
        total = self._values + penalty * self._values.sum()
        return torch.where(total > 0, 1.0 / total, 0.0)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Returns float64 (p,): the means, and 1.0 for features that vary or 0.0 for others."""
    chunks = torch.split(features, CHUNK)
    mean = sum((chunk.double().sum(dim=0) for chunk in chunks), torch.zeros(())) / len(features)
    spread = sum(((chunk.double() - mean).square().sum(dim=0) for chunk in chunks), torch.zeros(())) / len(features)
    return mean, (spread > RESOLUTION**2 * (spread + mean.square())).double()
