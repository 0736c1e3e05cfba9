"""A trained suffix as batched matrix products over the members of a stack, differentiated in closed form.

For suffixes of linear maps, norms and rectifiers, where autograd and `vmap` cost more than the products. A convolution
may come first: it reads frozen features, so its patches are cut out once for a whole split, and what frozen weights
make of these features is computed once too.

Letters: K members, N examples of a split, B of them, P positions (pixels; 1 in a table), I inputs, O or C outputs.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from transmeta.training.additions import AdapterLayer, LoraLayer
from transmeta.training.heads import head_logits, write_head_gradients
from transmeta.training.inputs import Inputs
from transmeta.training.linear_map import LinearMap, Rectifier, Weights
from transmeta.training.norm_rows import NormRows, norm_rows
from transmeta.training.planned import PlannedModel
from transmeta.training.staged import prepare
from transmeta.training.winograd import KERNEL, OUTPUTS, Winograd, fits, tiles_of

PATCH_BYTES: Final = 128 * 2**20
"""Most memory for the patches of one split; where they are larger, they are cut out at every access."""
BLOCK_BYTES: Final = 2**22
"""Outputs of a layer that an evaluation makes at a time: of so many members as this allows."""

Layer = LinearMap | NormRows | Rectifier | Winograd


@final
class Products:
    """The stages of a model from the first trained one on, and its head.

    Args:
        layers: of the stages, in order.
        cut_out: from the stages' inputs to the patches (N, P, I) that it reads, or None where it reads none.
        known: from the stages' inputs to its frozen part (N, P, O); None where there is none.
    """

    def __init__(
        self, layers: Sequence[Layer], *, cut_out: Callable[[Tensor], Tensor], known: Callable[[Tensor], Tensor] | None
    ) -> None:
        self._layers = tuple(layers)
        self._cut_out = cut_out
        self._known = known
        self._spread = OUTPUTS if isinstance(layers[0], Winograd) else 1

    @torch.no_grad()
    def read(self, hidden: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns what the first layer reads of the stages' inputs: patches (N, P, I), and what is known of its output.

        Args:
            hidden: (N, channels, height, width) or (N, columns).
        """
        return self._cut_out(hidden), None if self._known is None else self._known(hidden)

    @torch.no_grad()
    def logits(self, x: Tensor, known: Tensor | None, weights: Weights) -> Tensor:
        """Returns (K, C, B) for patches (K or 1, B, P, I); on a CPU of as many members at a time as its cache holds."""
        members, _, features = weights["head.weight"].shape
        bytes_of_one = x.shape[1] * x.shape[2] * self._spread * features * x.element_size()
        size = max(1, BLOCK_BYTES // bytes_of_one) if x.device.type == "cpu" else members
        blocks = [slice(begin, begin + size) for begin in range(0, members, size)]
        return torch.cat(
            [
                self._run(
                    _own(x, block),
                    None if known is None else _own(known, block),
                    {name: value[block] for name, value in weights.items()},
                ).logits
                for block in blocks
            ]
        )

    @torch.no_grad()
    def differentiate(
        self,
        x: Tensor,
        known: Tensor | None,
        weights: Weights,
        gradients: Weights,
        *,
        slope_of: Callable[[Tensor], Tensor],
    ) -> None:
        """Writes the gradients of all trained weights.

        Args:
            slope_of: from logits to the gradient of the loss with respect to them, both (K, C, B).
        """
        passed = self._run(x, known, weights)
        slope, positions = slope_of(passed.logits), passed.positions
        write_head_gradients(slope, passed.features, gradients["head.weight"], gradients["head.bias"])
        slope = torch.bmm(slope.transpose(1, 2), weights["head.weight"])[:, :, None]
        if positions > 1:
            slope = (slope / positions).expand(-1, -1, positions, -1)
        for index, layer in reversed([*enumerate(self._layers)]):
            slope = layer.backward(slope, passed.saved[index], weights, gradients, is_first=index == 0)

    def _run(self, x: Tensor, known: Tensor | None, weights: Weights) -> "_Pass":
        saved: list[Sequence[Tensor]] = []
        for index, layer in enumerate(self._layers):
            x, kept = layer.forward(x, weights, known=known if index == 0 else None)
            saved.append(kept)
        features = x[:, :, 0] if x.shape[2] == 1 else x.mean(dim=2)
        weight, bias = weights["head.weight"], weights["head.bias"]
        features = features.expand(len(weight), -1, -1)
        return _Pass(head_logits(features, weight, bias), features=features, positions=x.shape[2], saved=saved)


class _Pass(NamedTuple):
    """What a pass forward made: logits (K, C, B), the means (K, B, O) over positions, and what each layer saved."""

    logits: Tensor
    features: Tensor
    positions: int
    saved: Sequence[Sequence[Tensor]]


@final
class PatchInputs:
    """The examples of one split as `Products` read them; read as `Inputs` are, with what is known in place of a side.

    Args:
        inputs: at the start of the first of the stages.
    """

    def __init__(self, inputs: Inputs, *, products: Products) -> None:
        self.labels = inputs.labels
        self._inputs = inputs
        self._products = products
        self._kept: tuple[Tensor, Tensor | None] | None = None
        if inputs.whole is not None and len(inputs):
            one, _ = products.read(inputs.whole[:1])
            if one.numel() * one.element_size() * len(inputs) <= PATCH_BYTES:
                self._kept = products.read(inputs.whole)

    def __len__(self) -> int:
        return len(self.labels)

    def get(self, index: Tensor, *, offsets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Returns (patches, what is known or None) of the examples at `index`; copies."""
        if self._kept is None:
            return self._products.read(self._inputs.get(index, offsets=offsets)[0])
        patches, known = self._kept
        return patches[index], None if known is None else known[index]


def as_products(planned: PlannedModel, *, start: int, trained: Collection[str]) -> Products | None:
    """Returns stages `start` and later as products, or None if there is something among them that is not.

    Args:
        trained: names of the parameters that each member has of its own; all others are shared and frozen.
    """
    model = planned.model
    if model.side is not None or start >= len(model.stages):
        return None
    found = [
        part for index in range(start, len(model.stages)) for part in _parts(model.stages[index], f"stages.{index}")
    ]
    first_name, first = found[0]
    is_spatial = isinstance(_base(first), nn.Conv2d)
    if is_spatial and not _is_plain(first):
        return None
    layers: list[Layer] = []
    for index, (name, module) in enumerate(found):
        layer: Layer | None
        if isinstance(module, nn.ReLU):
            layer = Rectifier()
        elif isinstance(_base(module), nn.Conv2d if is_spatial and index == 0 else nn.Linear):
            layer = None if is_spatial and index else _linear_map(module, name, trained=trained, is_known=is_spatial)
        else:
            layer = norm_rows(module, name, trained=trained, is_spatial=is_spatial)
        if layer is None:
            return None
        layers.append(layer)
    if not is_spatial:
        return Products(layers, cut_out=_as_row, known=None)
    own_weight = f"{first_name}.weight"
    if own_weight in trained and isinstance(first, nn.Conv2d) and _is_filtered(first, planned, start=start):
        layers[0], padding = Winograd(weight=own_weight), _padding(first)
        return Products(layers, cut_out=lambda x: tiles_of(x, padding=padding), known=None)
    return Products(layers, cut_out=_patches(first), known=_frozen_part(first, first_name, trained=trained))


def _is_filtered(convolution: nn.Conv2d, planned: PlannedModel, *, start: int) -> bool:
    """Whether minimal filtering is for this convolution: on a CPU, where many small operations cost little."""
    card, weight = planned.card, convolution.weight
    if weight.device.type != "cpu" or convolution.kernel_size != KERNEL:
        return False  # known without running the stages before
    one = prepare(torch.zeros((1, *card.input_shape), dtype=torch.uint8), card=card).to(weight.dtype)
    with torch.no_grad():
        height, width = planned.model.run(one, start=0, stop=start).shape[2:]
    return fits(convolution, height=height, width=width)


def _parts(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    if not isinstance(module, nn.Sequential):
        yield name, module
        return
    for key, child in module.named_children():
        yield from _parts(child, f"{name}.{key}")


def _base(module: nn.Module) -> nn.Module:
    return module.base if isinstance(module, AdapterLayer | LoraLayer) else module


def _is_plain(module: nn.Module) -> bool:
    base = _base(module)
    assert isinstance(base, nn.Conv2d)
    return base.groups == 1 and base.padding_mode == "zeros" and not isinstance(base.padding, str)


def _linear_map(module: nn.Module, name: str, *, trained: Collection[str], is_known: bool) -> LinearMap | None:
    """Returns a linear layer or convolution; None for anything else.

    Args:
        is_known: whether the output of frozen weights is computed ahead.
    """
    base = _base(module)
    if not isinstance(base, nn.Linear | nn.Conv2d):
        return None
    prefix = name if base is module else f"{name}.base"
    own = {key: f"{prefix}.{key}" in trained for key, _ in base.named_parameters()}
    if is_known and own.get("bias") and not own["weight"]:
        return None  # its frozen part would be the product without the bias, which no source of ours has
    is_shared = not own["weight"] and not is_known
    bias = None if base.bias is None or own["bias"] else base.bias.detach()
    low_rank = (f"{name}.down.weight", f"{name}.up.weight") if isinstance(module, LoraLayer) else None
    own_weight = f"{prefix}.weight" if own["weight"] else None
    if isinstance(module, AdapterLayer):
        if own_weight is not None:
            return None
        own_weight = f"{name}.adapter.weight"
    if own["weight"] and bias is not None:
        return None  # a trained matrix with a frozen bias: no plan makes it
    return LinearMap(
        weight=own_weight,
        bias=f"{prefix}.bias" if own.get("bias") else None,
        shared=base.weight.detach() if is_shared else None,
        shared_bias=bias if is_shared else None,
        low_rank=low_rank,
        gain=module.gain if isinstance(module, LoraLayer) else 1.0,
    )


def _frozen_part(module: nn.Module, name: str, *, trained: Collection[str]) -> Callable[[Tensor], Tensor] | None:
    base = _base(module)
    if f"{name}.weight" in trained:
        return None

    def known(hidden: Tensor) -> Tensor:
        output: Tensor = base(hidden)
        return output.flatten(2).transpose(1, 2).contiguous()

    return known


def _patches(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """Returns what cuts images (N, channels, height, width) into the patches (N, P, I) that a convolution reads."""
    base = _base(module)
    assert isinstance(base, nn.Conv2d)
    if isinstance(module, AdapterLayer):
        margins, stride = module.margins, base.stride
        return lambda x: _unfolded(functional.pad(x, margins), kernel=(1, 1), stride=stride)
    padding = _padding(base)
    kernel, stride, dilation = base.kernel_size, base.stride, base.dilation
    return lambda x: _unfolded(x, kernel=kernel, stride=stride, padding=padding, dilation=dilation)


def _padding(convolution: nn.Conv2d) -> tuple[int, ...]:
    assert not isinstance(convolution.padding, str)
    return convolution.padding


def _unfolded(
    x: Tensor,
    *,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...] = (0, 0),
    dilation: tuple[int, ...] = (1, 1),
) -> Tensor:
    patches = functional.unfold(x, kernel, stride=stride, padding=padding, dilation=dilation)
    return patches.transpose(1, 2).contiguous()


def _as_row(x: Tensor) -> Tensor:
    return x[:, None]


def _own(inputs: Tensor, rows: slice) -> Tensor:
    """Returns the inputs of the members at `rows`, which all of them may share."""
    return inputs if len(inputs) == 1 else inputs[rows]
