"""What a fit reads: prepared inputs, or the cached output of the frozen prefix."""

from collections.abc import Callable
from typing import Final, final

import torch
from torch import Tensor
from torch.nn import functional

from transmeta.core.model import ModelCard
from transmeta.training.data import Split
from transmeta.training.prefix import SplitPrefix
from transmeta.training.staged import StagedModel, pool, prepare

CACHE_LIMIT_BYTES: Final = 512 * 2**20
SPLITS: Final = ("train", "validation", "test")
"""In the order in which a fit first reads them."""
CHUNK: Final = 256
"""Examples of an evaluation that are read together."""
PREFIX_CHUNK: Final = 32
"""Examples that pass through frozen stages together: EfficientNet-lite0 took 0.6 of the time that it took with 96,
whose activations leave a processor's cache."""


@final
class Inputs:
    """The examples of one split as the first trainable stage takes them; as the head does if all stages are frozen.

    The frozen prefix runs once per example if its output fits into `CACHE_LIMIT_BYTES` and nothing is augmented, and
    at every access otherwise. Batch norms in a prefix use their stored statistics.

    Args:
        start: number of frozen stages to run ahead.
        keep_prepared: whether the side network will ask for the prepared inputs too.
        shift: whether `get` will be asked for shifted images, and by how many pixels at most.
        name: of the split.
        prefix: what other trials of the same source and target have computed; None to compute it here.
        waits: whether to wait for another process that computes the same prefix; `is_late` tells otherwise.
    """

    def __init__(
        self,
        split: Split,
        *,
        model: StagedModel,
        card: ModelCard,
        start: int,
        keep_prepared: bool,
        shift: int = 0,
        device: torch.device,
        name: str = "",
        prefix: SplitPrefix | None = None,
        waits: bool = True,
    ) -> None:
        self.is_late = False
        self.labels = torch.from_numpy(split.y).to(device)
        self.start = start
        self._raw = torch.from_numpy(split.x)
        self._model = model
        self._card = card
        self._device = device
        self._shift = shift
        self._keep_prepared = keep_prepared
        self._name = name
        self._shared = None if prefix is None else prefix.on(device, dtype=model.head.weight.dtype)
        self._prepared: Tensor | None = None
        self._hidden: Tensor | None = None
        if not shift and len(split):
            self._fill(waits=waits)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def whole(self) -> Tensor | None:
        """The input of stage `start` for all examples, not to be written to; None where it is not kept."""
        return self._hidden

    def get(self, index: Tensor, *, offsets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Returns (input of stage `start`, prepared inputs for the side network or None) of the examples at `index`.

        Args:
            offsets: of each example, as `draw_offsets` returns them; None for no shift, as in evaluation.
        """
        if self._hidden is not None:
            side = self._prepared[index] if self._keep_prepared and self._prepared is not None else None
            return self._hidden[index], side
        prepared = self._prepare(index)
        if self._shift and offsets is not None:
            prepared = shifted(prepared, limit=self._shift, offsets=offsets.to(self._device))
        return self._prefix(prepared, stop=self.start), prepared if self._keep_prepared else None

    def _fill(self, *, waits: bool) -> None:
        starts = (self.start, 0) if self._keep_prepared else (self.start,)
        if sum(self._bytes(start) for start in starts) > CACHE_LIMIT_BYTES:
            return
        self._hidden = self._whole(self.start, waits=waits)
        self.is_late = self._hidden is None
        self._prepared = self._whole(0, waits=True) if self._keep_prepared and not self.is_late else None

    def _bytes(self, start: int) -> int:
        """Returns the size of what `_whole` would; of one example, if it is not at hand."""
        known = None if self._shared is None else self._shared.at_hand(self._name, start=start)
        if known is not None:
            return known.numel() * known.element_size()
        first = self._prefix(self._prepare(torch.arange(1)), stop=start)
        return first.numel() * first.element_size() * len(self)

    def _whole(self, start: int, *, waits: bool) -> Tensor | None:
        """Returns the output of the first `start` stages for all examples; the prepared examples for 0."""
        if self._shared is None:
            return self._compute(start)
        shared = self._shared.get(self._name, start=start, compute=lambda: self._compute(start), waits=waits)
        return None if shared is None else shared.to(self._device)

    def _compute(self, start: int) -> Tensor:
        batches = torch.split(torch.arange(len(self)), PREFIX_CHUNK)
        return torch.cat([self._prefix(self._prepare(index), stop=start) for index in batches])

    def _prepare(self, index: Tensor) -> Tensor:
        prepared = prepare(self._raw[index.to(self._raw.device)].to(self._device), card=self._card)
        return prepared.to(self._model.head.weight.dtype)

    @torch.no_grad()
    def _prefix(self, prepared: Tensor, *, stop: int) -> Tensor:
        hidden = self._model.run(prepared, start=0, stop=stop)
        return pool(hidden) if stop == len(self._model.stages) else hidden


OpenInputs = Callable[[str, int, bool], Inputs]
"""(split name, number of frozen stages, whether to wait for who computes them) → the examples."""


def open_shared(open_inputs: OpenInputs, *, name: str, start: int) -> Inputs:
    """Returns a split's examples; while another process computes them, computes those that will be read next."""
    inputs = open_inputs(name, start, False)
    if not inputs.is_late:
        return inputs
    for later in SPLITS[SPLITS.index(name) + 1 :]:
        open_inputs(later, start, False)
    return open_inputs(name, start, True)


def draw_offsets(count: int, *, limit: int, generator: torch.Generator) -> Tensor:
    """Returns int64 (2, count), the rows and columns in 0 to 2·`limit` at which each image's window begins."""
    return torch.randint(0, 2 * limit + 1, (2, count), generator=generator)


def shifted(images: Tensor, *, limit: int, offsets: Tensor) -> Tensor:
    """Returns each of `images` (batch, channels, height, width) moved by `offsets` − `limit` pixels, edges repeated."""
    batch, _, height, width = images.shape
    padded = functional.pad(images, (limit,) * 4, mode="replicate")
    rows = (torch.arange(height, device=images.device)[None] + offsets[0][:, None])[:, :, None]
    columns = (torch.arange(width, device=images.device)[None] + offsets[1][:, None])[:, None, :]
    example = torch.arange(batch, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[example, rows, columns].permute(0, 3, 1, 2)
