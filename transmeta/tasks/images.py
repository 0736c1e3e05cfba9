"""Decodes image files of users: PNG, JPEG, BMP, GIF and WebP, to square uint8 RGB."""

import hashlib
import io
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from transmeta.errors import DataError

Images = npt.NDArray[np.uint8]

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"})
FORMATS: Final = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
MAX_PIXELS: Final = 80_000_000
"""A larger image is taken for a decompression bomb."""
MAX_FILE_BYTES: Final = 256 * 2**20
THREADS: Final = 8


def find_images(folder: Path) -> list[Path]:
    """Returns the image files below `folder`, by suffix, sorted by path; hidden ones and other files are left out."""
    return sorted(_walk(folder), key=lambda path: path.relative_to(folder).as_posix())


def decode(files: Sequence[Path], *, size: int) -> tuple[Images, tuple[str, ...]]:
    """Returns the images (count, size, size, 3) and a digest of the bytes of each file.

    The shorter side becomes `size`, the middle is cut out; orientation tags are followed, transparent parts become
    white, of an animation the first frame is taken.

    Raises:
        DataError: naming the file that cannot be read, is not an image, or is too large.
    """
    images = np.empty((len(files), size, size, 3), dtype=np.uint8)
    digests: list[str] = []
    with ThreadPoolExecutor(max_workers=min(THREADS, os.cpu_count() or 1)) as pool:
        for number, (image, digest) in enumerate(pool.map(lambda file: _decode_one(file, size), files)):
            images[number] = image
            digests.append(digest)
    return images, tuple(digests)


def squeezed(images: Images) -> Images:
    """Returns RGB `images` with one channel if all of them are grey, else unchanged."""
    red = images[..., 0]
    is_grey = bool((red == images[..., 1]).all() and (red == images[..., 2]).all())
    return images[..., :1] if is_grey else images


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(parent, name)


def _refuse(error: OSError) -> None:
    raise DataError(f"{error.filename}: {error.strerror}; make the folder readable") from error


def _decode_one(file: Path, size: int) -> tuple[Images, str]:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{file}: larger than {MAX_FILE_BYTES} bytes; make the image smaller or leave it out")
        content = file.read_bytes()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{image.width} × {image.height} pixels")
            pixels = _square(image, size)
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{file}: too large ({error}), at most {MAX_PIXELS} pixels are read; make the image smaller or leave it out"
        ) from error
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, zlib.error) as error:
        raise DataError(f"{file}: not a readable image; replace it or leave it out") from error
    return pixels, hashlib.sha256(content).hexdigest()


def _square(image: Image.Image, size: int) -> Images:
    image.draft(None, (2 * size, 2 * size))  # lets JPEG skip resolution that is not needed
    upright: Image.Image = ImageOps.exif_transpose(image)
    fitted = ImageOps.fit(_plain(upright), (size, size), method=Image.Resampling.BICUBIC)
    return np.asarray(_opaque(fitted).convert("RGB"), dtype=np.uint8)


def _plain(image: Image.Image) -> Image.Image:
    """Returns `image` in a mode of 8 bits per channel that can be resized, transparency kept."""
    if image.mode.startswith("I"):  # 16 bits per pixel, which Pillow would clip instead of scale
        levels = np.asarray(image, dtype=np.int64) >> 8
        return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB")


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    paper = Image.new("RGBA", image.size, "white")
    paper.alpha_composite(image)
    return paper
