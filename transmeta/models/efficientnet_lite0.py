"""EfficientNet-lite0: a stem, 16 inverted residual blocks and a last 1×1 convolution, 18 stages in all."""

from collections import OrderedDict
from typing import Final, final

from torch import Tensor, nn
from torch.nn import functional

from transmeta.core.model import ModelCard
from transmeta.core.task import Modality
from transmeta.models.architecture import measured_card
from transmeta.models.norm import StoredNorm
from transmeta.training.staged import StagedModel

FEATURES: Final = 1280
STEM: Final = 32
GROUPS: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""(blocks, kernel, stride of the first block, expansion, width): table 1 of Tan and Le 2019."""
STRIDE: Final = 32
SMALLEST: Final = 64
LARGEST: Final = 224
EPS: Final = 1e-3


@final
class EfficientNetLite0:
    """Architecture `efficientnet_lite0`: EfficientNet-B0 with ReLU6 and no squeeze-and-excitation (Tan and Le 2019).

    Its norms use stored statistics at all times, so it is meant for imported weights: random ones train badly.
    """

    def card(self, *, input_shape: tuple[int, ...]) -> ModelCard:
        """Returns the card for images of `input_shape` (height, width, channels), or of 64×64 for ().

        Each side is the image's, rounded up to a multiple of 32, at least 64 and at most 224, the size that it was
        made for; below 64 the last stages would see a single pixel. Grey images are repeated over three channels.
        """
        height, width = (_side(pixels) for pixels in input_shape[:2] or (SMALLEST, SMALLEST))
        return measured_card(
            _stages(),
            name="efficientnet_lite0",
            architecture="efficientnet_lite0",
            modality=Modality.IMAGE,
            input_shape=(height, width, 3),
            feature_count=FEATURES,
        )

    def build(self, card: ModelCard) -> StagedModel:
        """Returns the model, its head for the card's classes."""
        stages = [stage for _, stage in _stages()]
        return StagedModel(stages, feature_count=card.feature_count, class_count=max(card.class_count, 1))


@final
class Residual(nn.Sequential):
    """x + layers(x)."""

    def forward(self, input: Tensor) -> Tensor:
        """Returns the sum, of the shape of `input`."""
        output = input
        for layer in self:
            output = layer(output)
        return input + output


@final
class SameConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow's SAME does, which these weights were trained with.

    At stride 2 on an even side that is one row and column less before than after, where `padding` says as many:
    additions beside the layer (LoRA, adapters) get outputs of its size by the symmetric `padding`.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.is_symmetric = stride == 1
        self.before = (kernel - stride) // 2
        self.after = kernel - stride - self.before

    def forward(self, input: Tensor) -> Tensor:
        """Returns (batch, outputs, height / stride, width / stride)."""
        if self.is_symmetric:
            return super().forward(input)
        padded = functional.pad(input, (self.before, self.after, self.before, self.after))
        return functional.conv2d(padded, self.weight, None, self.stride, 0, self.dilation, self.groups)


def _side(pixels: int) -> int:
    return min(max(-(-pixels // STRIDE) * STRIDE, SMALLEST), LARGEST)


def _stages() -> list[tuple[str, nn.Module]]:
    stem = nn.Sequential(
        OrderedDict(conv=SameConv2d(3, STEM, 3, stride=2), norm=StoredNorm(STEM, eps=EPS), act=nn.ReLU6())
    )
    stages: list[tuple[str, nn.Module]] = [("stem", stem)]
    inputs = STEM
    for count, kernel, first_stride, expansion, width in GROUPS:
        for index in range(count):
            stride = first_stride if index == 0 else 1
            block = _block(inputs, width, kernel=kernel, stride=stride, expansion=expansion)
            stages.append((f"block{len(stages)}", block))
            inputs = width
    last = OrderedDict(
        conv=nn.Conv2d(inputs, FEATURES, 1, bias=False), norm=StoredNorm(FEATURES, eps=EPS), act=nn.ReLU6()
    )
    stages.append(("last_conv", nn.Sequential(last)))
    return stages


def _block(inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int) -> nn.Sequential:
    """Returns an inverted residual block (Sandler et al. 2018), its skip left out where the shape changes."""
    wide = inputs * expansion
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if expansion > 1:
        layers["expand"] = nn.Conv2d(inputs, wide, 1, bias=False)
        layers["expand_norm"] = StoredNorm(wide, eps=EPS)
        layers["expand_act"] = nn.ReLU6()
    layers["depthwise"] = SameConv2d(wide, wide, kernel, stride=stride, groups=wide)
    layers["depthwise_norm"] = StoredNorm(wide, eps=EPS)
    layers["depthwise_act"] = nn.ReLU6()
    layers["project"] = nn.Conv2d(wide, outputs, 1, bias=False)
    layers["project_norm"] = StoredNorm(outputs, eps=EPS)
    return Residual(layers) if stride == 1 and inputs == outputs else nn.Sequential(layers)
