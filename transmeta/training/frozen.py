"""What the head of a wholly frozen model reads, shared by the trials of this process on the same source and data."""

import functools
import threading
from collections.abc import Callable
from typing import Final, final

import torch
from torch import Tensor

from transmeta.core.model import ModelCard
from transmeta.training.data import Split
from transmeta.training.inputs import CHUNK, Inputs
from transmeta.training.ridge import RidgePath

LIMIT_BYTES: Final = 256 * 2**20


@final
class FrozenFeatures:
    """The pooled features of one split; read as `Inputs` are, from behind the last stage.

    Args:
        features: float32 (count, feature_count).
        labels: int64 (count,).
    """

    def __init__(self, features: Tensor, *, labels: Tensor) -> None:
        self.labels = labels
        self._features = features
        self._paths: dict[int, RidgePath] = {}

    @classmethod
    @torch.no_grad()
    def of(cls, inputs: Inputs) -> "FrozenFeatures":
        """Returns what `inputs`, which start behind the last stage, hold, averaged over space."""
        index = torch.arange(len(inputs), device=inputs.labels.device)
        return cls(torch.cat([inputs.get(some)[0] for some in torch.split(index, CHUNK)]), labels=inputs.labels)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the features and of what was decomposed of them."""
        return self._features.numel() * self._features.element_size() + sum(
            path.memory_bytes for path in self._paths.values()
        )

    def get(self, index: Tensor, *, offsets: Tensor | None = None) -> tuple[Tensor, None]:
        """Returns (features of the examples at `index`, no inputs for a side network)."""
        assert offsets is None, "frozen features cannot be shifted"
        return self._features[index], None

    def path(self, *, class_count: int) -> RidgePath:
        """Returns the ridge heads on these features; decomposed at the first call.

        Raises:
            Diverged: as `RidgePath`.
        """
        if class_count not in self._paths:
            self._paths[class_count] = RidgePath(self._features, labels=self.labels, class_count=class_count)
        return self._paths[class_count]


@final
class FeatureCache:
    """The features used last, up to a number of bytes; the newest are kept even where they alone are larger.

    Args:
        limit_bytes: of features and decompositions, not of the splits, which their tasks hold.
    """

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._kept: dict[tuple[str, str, Split], FrozenFeatures] = {}  # a split is equal to itself alone
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(
        self, split: Split, *, card: ModelCard, device: torch.device, make: Callable[[], FrozenFeatures]
    ) -> FrozenFeatures:
        """Returns the features of `split` under the weights of `card`, made by `make` unless they are at hand.

        A card without a checksum of its weights does not say which weights they are, so its features are not kept.
        """
        if card.weights_sha256 is None:
            return make()
        key = (card.weights_sha256, str(device), split)
        with self._lock:
            found = self._kept.pop(key, None)
        features = make() if found is None else found
        with self._lock:
            self._kept[key] = features
            while len(self._kept) > 1 and sum(kept.memory_bytes for kept in self._kept.values()) > self._limit_bytes:
                del self._kept[next(iter(self._kept))]
        return features


@functools.cache
def process_cache() -> FeatureCache:
    """Returns the cache of this process."""
    return FeatureCache(limit_bytes=LIMIT_BYTES)
