"""What a plan adds to a staged model: LoRA, residual adapters, a side network. None changes its function at first."""

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from transmeta.core.model import ModelCard
from transmeta.core.plan import Addition, Lora, ResidualAdapter, SideNetwork
from transmeta.core.task import Modality
from transmeta.errors import TrialFailure
from transmeta.training.staged import StagedModel, pool


@final
class LoraLayer(nn.Module):
    """base(x) + (scale / rank)·B(A(x)), with A of `rank` outputs and B starting at zero (Hu et al. 2022, eq. 3).

    For a convolution, A has its kernel, stride, padding and dilation, and B is 1×1; base is frozen.
    """

    def __init__(self, base: nn.Linear | nn.Conv2d, *, rank: int, scale: float) -> None:
        super().__init__()
        self.base = base
        self.gain = scale / rank
        self.down: nn.Module
        self.up: nn.Module
        if isinstance(base, nn.Linear):
            self.down = nn.Linear(base.in_features, rank, bias=False)
            self.up = nn.Linear(rank, base.out_features, bias=False)
        else:
            self.down = _like(base, outputs=rank)
            self.up = nn.Conv2d(rank, base.out_channels, 1, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Returns what the base layer returns, updated."""
        update: Tensor = self.base(x) + self.gain * self.up(self.down(x))
        return update


@final
class AdapterLayer(nn.Module):
    """base(x) + adapter(x), the adapter a linear 1×1 map that starts at zero (Rebuffi et al. 2018).

    For a convolution, it acts on the pixel below the centre of the kernel, whatever the padding.
    """

    def __init__(self, base: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.base = base
        self.margins = (0, 0, 0, 0) if isinstance(base, nn.Linear) else _margins(base)
        self.adapter: nn.Linear | nn.Conv2d
        if isinstance(base, nn.Linear):
            self.adapter = nn.Linear(base.in_features, base.out_features, bias=False)
        else:
            self.adapter = nn.Conv2d(base.in_channels, base.out_channels, 1, _pair(base.stride), bias=False)
        nn.init.zeros_(self.adapter.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Returns what the base layer returns, corrected.

        Raises:
            TrialFailure: if the base layer computes outputs of another size than its numbers say.
        """
        known: Tensor = self.base(x)
        correction: Tensor = self.adapter(functional.pad(x, self.margins) if any(self.margins) else x)
        if correction.shape != known.shape:
            raise TrialFailure(
                f"ResidualAdapter: a {type(self.base).__name__} gives {tuple(known.shape[1:])} and its adapter "
                f"{tuple(correction.shape[1:])}; choose another strategy for this source"
            )
        return known + correction


@final
class SideFeatures(nn.Module):
    """A small network from prepared inputs to features, whose last layer starts at zero (Zhang et al. 2020)."""

    def __init__(self, *, card: ModelCard, width: int) -> None:
        super().__init__()
        layers: list[nn.Module]
        if card.modality is Modality.IMAGE:
            channels = card.input_shape[2]
            layers = [nn.Conv2d(channels, width, 5, stride=2, padding=2), nn.ReLU()]
            layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1), nn.ReLU()]
            last = 2 * width
        else:
            layers = [nn.Linear(card.input_shape[0], 2 * width), nn.ReLU(), nn.Linear(2 * width, 2 * width), nn.ReLU()]
            last = 2 * width
        self.body = nn.Sequential(*layers)
        self.out = nn.Linear(last, card.feature_count)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (batch, feature_count)."""
        features: Tensor = self.out(pool(self.body(x)))
        return features


def add(model: StagedModel, addition: Addition, *, card: ModelCard) -> list[nn.Parameter]:
    """Adds to `model` in place and returns the added parameters, which are the trainable ones.

    Raises:
        TrialFailure: if there is nothing to add to, or the numbers do not fit.
    """
    if isinstance(addition, SideNetwork):
        model.side = SideFeatures(card=card, width=addition.width)
        return list(model.side.parameters())
    added: list[nn.Parameter] = []
    for parent, name, layer in _layers(model, start=addition.cut):
        wrapped = _wrap(layer, addition)
        setattr(parent, name, wrapped)
        added += [p for key, p in wrapped.named_parameters() if not key.startswith("base.")]
    if not added:
        raise TrialFailure(f"{type(addition).__name__}: no layer from stage {addition.cut} on can take it")
    return added


def _wrap(layer: nn.Linear | nn.Conv2d, addition: Lora | ResidualAdapter) -> LoraLayer | AdapterLayer:
    if isinstance(addition, Lora):
        return LoraLayer(layer, rank=addition.rank, scale=addition.scale)
    return AdapterLayer(layer)


def _like(base: nn.Conv2d, *, outputs: int) -> nn.Conv2d:
    assert not isinstance(base.padding, str), "padding is given in pixels in all our models"
    return nn.Conv2d(
        base.in_channels,
        outputs,
        _pair(base.kernel_size),
        stride=_pair(base.stride),
        padding=_pair(base.padding),
        dilation=_pair(base.dilation),
        bias=False,
    )


def _margins(base: nn.Conv2d) -> tuple[int, int, int, int]:
    """Returns by how much the input grows left, right, above and below, so that a 1×1 map meets the kernel's centres.

    Zero for the usual padding of half a kernel; negative where there is less of it.
    """
    assert not isinstance(base.padding, str), "padding is given in pixels in all our models"
    margins: list[int] = []
    for side in (1, 0):  # width first, as `pad` takes them
        reach = base.dilation[side] * (base.kernel_size[side] - 1)
        margins += [base.padding[side] - reach // 2, base.padding[side] - (reach - reach // 2)]
    left, right, above, below = margins
    return left, right, above, below


def _pair(numbers: tuple[int, ...]) -> tuple[int, int]:
    height, width = numbers
    return height, width


def _layers(model: StagedModel, *, start: int) -> list[tuple[nn.Module, str, nn.Linear | nn.Conv2d]]:
    """Returns (parent, attribute, layer) of each linear layer and each dense convolution from stage `start` on.

    Depthwise convolutions are left out; a stage may itself be such a layer.
    """
    found: list[tuple[nn.Module, str, nn.Linear | nn.Conv2d]] = []
    for index, stage in list(enumerate(model.stages))[start:]:
        inside = [(parent, name, child) for parent in stage.modules() for name, child in parent.named_children()]
        for parent, name, child in [(model.stages, str(index), stage), *inside]:
            if isinstance(child, nn.Linear) or (isinstance(child, nn.Conv2d) and child.groups == 1):
                found.append((parent, name, child))
    return found


def initialise(module: nn.Module, *, generator: torch.Generator) -> None:
    """Draws all weights of `module` anew: Kaiming-uniform matrices, zero biases, unit norms."""
    for child in module.modules():
        if isinstance(child, nn.Linear | nn.Conv2d):
            nn.init.kaiming_uniform_(child.weight, a=math.sqrt(5), generator=generator)
            if child.bias is not None:
                nn.init.zeros_(child.bias)
        elif isinstance(child, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d) and child.weight is not None:
            nn.init.ones_(child.weight)
            nn.init.zeros_(child.bias)
