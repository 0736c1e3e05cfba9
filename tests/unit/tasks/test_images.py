"""Image files become square uint8 RGB."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transmeta.errors import DataError
from transmeta.tasks.images import decode, find_images, squeezed


def one(path: Path, *, size: int = 8) -> np.ndarray:
    return decode([path], size=size)[0][0]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".bmp", ".gif", ".webp"])
def test_each_format_is_read(tmp_path: Path, suffix: str):
    path = tmp_path / f"a{suffix}"
    Image.new("RGB", (20, 10), (200, 30, 30)).save(path)

    assert find_images(tmp_path) == [path]
    assert np.allclose(one(path), (200, 30, 30), atol=6)


def test_the_middle_is_cut_out(tmp_path: Path):
    pixels = np.zeros((10, 30, 3), dtype=np.uint8)
    pixels[:, 10:20] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")

    assert one(tmp_path / "a.png", size=10).min() == 255


def test_an_image_of_the_right_size_is_unchanged(tmp_path: Path, draw: Callable[..., Path]):
    path = draw(tmp_path / "a.png", side=16)

    assert np.array_equal(one(path, size=16), np.asarray(Image.open(path)))


def test_the_orientation_tag_is_followed(tmp_path: Path):
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)

    assert one(tmp_path / "a.png")[7, 0].tolist() == [255, 255, 255]
    assert one(tmp_path / "a.png")[0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_become_white(tmp_path: Path, mode: str):
    Image.new(mode, (8, 8), (0,) * len(mode)).save(tmp_path / "a.png")

    assert one(tmp_path / "a.png").min() == 255


def test_transparent_colours_of_a_palette_become_white(tmp_path: Path):
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(tmp_path / "a.png", transparency=0)

    assert one(tmp_path / "a.png").min() == 255


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path):
    Image.fromarray(np.full((8, 8), 0x8000, dtype=np.uint16)).save(tmp_path / "a.png")

    assert np.unique(one(tmp_path / "a.png")).tolist() == [0x80]


def test_a_large_jpeg_keeps_its_content(tmp_path: Path):
    pixels = np.zeros((512, 512, 3), dtype=np.uint8)
    pixels[:256] = (250, 250, 0)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)

    small = one(tmp_path / "a.jpg", size=16)

    assert np.allclose(small[:6], (250, 250, 0), atol=8)
    assert np.allclose(small[10:], 0, atol=8)


def test_a_format_that_is_not_named_is_refused_whatever_the_suffix(tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.tiff")
    (tmp_path / "a.tiff").rename(tmp_path / "a.png")

    with pytest.raises(DataError, match=r"a\.png: not a readable image"):
        one(tmp_path / "a.png")


def test_digests_differ_with_the_bytes(tmp_path: Path, draw: Callable[..., Path]):
    paths = [draw(tmp_path / f"{seed}.png", seed=seed) for seed in (1, 2, 1)]
    paths[2].write_bytes((tmp_path / "1.png").read_bytes())
    paths.append(draw(tmp_path / "same.png", seed=1))

    _, digests = decode(paths, size=8)

    assert digests[0] == digests[3] != digests[1]


def test_images_are_found_in_the_order_of_their_paths(tmp_path: Path, draw: Callable[..., Path]):
    for name in ("b/1.png", "a.png", "b/0.png"):
        draw(tmp_path / name)

    assert [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)] == ["a.png", "b/0.png", "b/1.png"]


def test_only_all_grey_images_lose_their_colours():
    grey = np.full((2, 4, 4, 3), 7, dtype=np.uint8)
    tinted = grey.copy()
    tinted[1, 0, 0, 2] = 8

    assert squeezed(grey).shape == (2, 4, 4, 1)
    assert squeezed(tinted).shape == (2, 4, 4, 3)
