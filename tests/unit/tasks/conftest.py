"""Small data sets on disk, as a user would bring them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Draw = Callable[..., Path]
MakeFolder = Callable[..., Path]


@pytest.fixture
def draw() -> Draw:
    """Writes an image of noise, different for each seed, in the format of the suffix."""

    def save(path: Path, *, seed: int = 0, mode: str = "RGB", side: int = 16) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
        pixels = np.random.default_rng(seed).integers(0, 256, size=(side, side, *channels), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return save


@pytest.fixture
def make_folder(tmp_path: Path, draw: Draw) -> MakeFolder:
    """Writes `NN.png` for each sub-folder and count below a folder `photos`; no two are alike."""

    def make(counts: Mapping[str, int], *, mode: str = "RGB") -> Path:
        for place, (name, count) in enumerate(counts.items()):
            (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                draw(tmp_path / "photos" / name / f"{number:02d}.png", seed=1000 * place + number, mode=mode)
        return tmp_path / "photos"

    return make


@pytest.fixture
def packaged_file(tmp_path: Path) -> Path:
    """A pack as the package holds them: two tasks of 3 and 2 classes, 12 groups, 2 images of each class and group."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(5), 24)
    path = tmp_path / "glyphs.npz"
    np.savez(
        path,
        x=rng.integers(0, 256, size=(120, 32, 32), dtype=np.uint8),
        y=y.astype(np.int16),
        character=np.array(["α", "β", "γ", "а", "б"]),
        script=np.array(["Grek", "Grek", "Grek", "Cyrl", "Cyrl"]),
        family=np.array([f"family {number}" for number in range(12)]),
        group=np.tile(np.repeat(np.arange(12), 2), 5).astype(np.int16),
    )
    return path
