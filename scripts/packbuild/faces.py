"""Finds the font faces of the pinned packages, with the licence and the copyright line of each family."""

import fnmatch
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fontTools.ttLib import TTFont

from packbuild.fetch import fetch_debian, fetch_npm

ACCEPTED = {"OFL-1.1", "Apache-2.0", "MIT", "CC0-1.0"}
# Regular first, then the weights that look most unlike those already taken.
WEIGHTS = (400, 700, 300, 900, 100, 500, 200, 600, 800)
WEIGHT_NAMES = {
    "Thin": 100, "ExtraLight": 200, "Light": 300, "Regular": 400, "Medium": 500, "SemiBold": 600, "Bold": 700,
    "ExtraBold": 800, "Black": 900,
}  # fmt: skip
WIDTHS = ("", "Condensed", "ExtraCondensed", "SemiCondensed")


class LicenceError(ValueError):
    """A package states a licence that the packs may not contain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One weight of one font family: the files that hold it and what must be said of it."""

    family: str  # the group: cuts of one design share it
    shipped_as: str  # the name under which the package ships the family
    package: str  # with its version, as in `npm:@fontsource/lora@5.3.0`
    spdx: str
    copyright: str
    files: tuple[Path, ...]
    rank: int
    scripts: frozenset[str] | None  # None: every script that it covers


def load_faces(table: Path, *, work: Path) -> list[Face]:
    """Fetches the packages that the table pins and returns their upright faces, in a stable order.

    Raises:
        LicenceError: A package's licence is none of OFL-1.1, Apache-2.0, MIT and CC0-1.0.
    """
    pins = tomllib.loads(table.read_text(encoding="utf-8"))
    prefixes = sorted(pins["superfamily"]["prefixes"], key=len, reverse=True)
    members: Mapping[str, str] = pins["superfamily"]["members"]

    def merged(name: str) -> str:
        if name in members:
            return members[name]
        return next((prefix for prefix in prefixes if name == prefix or name.startswith(prefix + " ")), name)

    modules = fetch_npm({f"@fontsource/{name}": version for name, version in pins["fontsource"].items()}, work=work)
    faces = []
    for name, version in sorted(pins["fontsource"].items()):
        faces += _fontsource_faces(modules / "@fontsource" / name, package=f"npm:@fontsource/{name}@{version}")
    for pin in pins["debian"]:
        root = fetch_debian(pin["package"], version=pin["version"], work=work)
        for font in pin["fonts"]:
            faces += _debian_faces(
                root,
                package=f"debian:{pin['package']}={pin['version']}",
                family=font["family"],
                pattern=font["files"],
                scripts=font["scripts"],
            )
    return [replace(face, family=merged(face.shipped_as)) for face in faces]


def _fontsource_faces(folder: Path, *, package: str) -> list[Face]:
    about = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    spdx = _accepted(json.loads((folder / "package.json").read_text(encoding="utf-8"))["license"], package=package)
    files: dict[int, list[Path]] = {}
    for file in sorted((folder / "files").glob("*.woff2")):
        found = re.fullmatch(r".*-(\d+)-normal", file.stem)
        if found:
            files.setdefault(int(found[1]), []).append(file)
    ranked = [weight for weight in WEIGHTS if weight in files]
    return [
        Face(
            family=about["family"],
            shipped_as=about["family"],
            package=package,
            spdx=spdx,
            copyright=_one_line(about["license"]["attribution"] or _embedded(files[weight][0], name_id=0)),
            files=tuple(files[weight]),
            rank=rank,
            scripts=None,
        )
        for rank, weight in enumerate(ranked)
    ]


def _debian_faces(root: Path, *, package: str, family: str, pattern: str, scripts: Sequence[str]) -> list[Face]:
    found = []
    for file in sorted(path for path in root.rglob("*.[ot]tf") if fnmatch.fnmatch(path.name, pattern)):
        rank = _rank(file.stem)
        if rank is None:
            continue
        licence = f"{_embedded(file, name_id=13)} {_embedded(file, name_id=14)} {_copyright_file(root)}"
        # Debian's machine-readable licence covers the packaging too; the font's own word comes first.
        if not re.search(r"OFL|SIL Open Font Licen[cs]e", licence, flags=re.IGNORECASE):
            raise LicenceError(f"{file.name} of {package} does not say OFL; take it out of fonts.toml")
        found.append(
            Face(
                family=family,
                shipped_as=_cut(family, file.stem),
                package=package,
                spdx="OFL-1.1",
                copyright=_one_line(_embedded(file, name_id=0)),
                files=(file,),
                rank=rank,
                scripts=frozenset(scripts),
            )
        )
    return found


def _rank(stem: str) -> int | None:
    """Returns the place of a Debian file's style, or None for a slanted one."""
    style = stem.rpartition("-")[2] if "-" in stem else "Regular"
    if re.search(r"Italic|Oblique|Slanted", style):
        return None
    width = next((w for w in sorted(WIDTHS, key=len, reverse=True) if w and style.startswith(w)), "")
    weight = WEIGHT_NAMES.get(style.removeprefix(width) or "Regular", 400)
    return WIDTHS.index(width) * len(WEIGHTS) + WEIGHTS.index(weight)


def _cut(family: str, stem: str) -> str:
    base = stem.partition("-")[0]
    if base.startswith("Noto"):
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", base)
    return family


def _accepted(spdx: str, *, package: str) -> str:
    if spdx not in ACCEPTED:
        raise LicenceError(f"{package} is under {spdx!r}, not one of {sorted(ACCEPTED)}; take it out of fonts.toml")
    return spdx


def _embedded(file: Path, *, name_id: int) -> str:
    with TTFont(file, lazy=True) as font:
        return str(font["name"].getDebugName(name_id) or "")


def _copyright_file(root: Path) -> str:
    found = sorted(root.glob("usr/share/doc/*/copyright"))
    return found[0].read_text(encoding="utf-8", errors="replace") if found else ""


def _one_line(text: str) -> str:
    """Returns the copyright lines as one, each once: some packages repeat them for every file of the family."""
    lines = re.split(r"\s+\S+\.[ot]tf:\s+", " ".join(text.split()))
    return " ".join(dict.fromkeys(lines))
