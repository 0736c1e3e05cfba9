"""Writes what must go with the packs: checksums, sources, attributions and the texts of the licences."""

import hashlib
import json
import textwrap
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from packbuild.faces import Face
from packbuild.fetch import fetch_npm
from packbuild.icons import IconSet
from packbuild.thinning import Drawing

SCHEMA = 1
LICENCE_TEXTS = {"spdx-license-list": "6.12.0"}  # npm package that ships every SPDX text
Array = NDArray[np.generic]


def checksum(array: Array) -> str:
    """Returns the SHA-256 of dtype, shape and bytes of an array; the zip file around it may differ by library."""
    head = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def pack_arrays(drawings: Sequence[Drawing], *, classes: Sequence[tuple[str, str]], kind: str) -> dict[str, Array]:
    """Returns the arrays of a pack of the kind "glyphs" or "icons"; images are in order of class, then of group."""
    groups = sorted({drawing.group for drawing in drawings})
    place = {group: index for index, group in enumerate(groups)}
    ordered = sorted(drawings, key=lambda d: (d.label, place[d.group], d.rank, d.package, d.image.tobytes()))
    arrays: dict[str, Array] = {
        "x": np.stack([drawing.image for drawing in ordered]),
        "y": np.array([drawing.label for drawing in ordered], dtype="<i2"),
        "group": np.array([place[drawing.group] for drawing in ordered], dtype="<i2"),
    }
    outer = np.array([task for task, _ in classes])
    inner = np.array([name for _, name in classes])
    if kind == "glyphs":
        return arrays | {"script": outer, "character": inner, "family": np.array(groups)}
    return arrays | {"concept_group": outer, "concept": inner, "set": np.array(groups)}


def describe_pack(arrays: Mapping[str, Array], *, sources: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Returns one pack's entry of packs.json."""
    return {
        "images": len(arrays["x"]),
        "sha256": {name: checksum(array) for name, array in sorted(arrays.items())},
        "sources": list(sources),
    }


def glyph_sources(drawings: Sequence[Drawing], *, faces: Sequence[Face]) -> list[dict[str, object]]:
    """Returns, for each package that gave glyphs, its version, licence, families and number of images."""
    face_of = {f"{face.shipped_as}|{face.package}": face for face in faces}
    images: Counter[str] = Counter()
    families: dict[str, set[str]] = defaultdict(set)
    scripts: dict[str, set[str]] = defaultdict(set)
    for drawing in drawings:
        face = face_of[drawing.package]
        images[face.package] += 1
        families[face.package].add(face.shipped_as)
        scripts[face.package].add(drawing.task)
    spdx = {face.package: face.spdx for face in faces}
    return [
        {
            **_named(package),
            "licence": spdx[package],
            "families": sorted(families[package]),
            "scripts": sorted(scripts[package]),
            "images": images[package],
        }
        for package in sorted(images)
    ]


def icon_sources(drawings: Sequence[Drawing], *, sets: Sequence[IconSet], package: str) -> list[dict[str, object]]:
    """Returns, for each icon set that gave images, its package, version, licence and number of images."""
    images = Counter(drawing.package for drawing in drawings)
    return [
        {
            **_named(package),
            "set": icons.prefix,
            "set_version": icons.version,
            "licence": icons.spdx,
            "images": images[icons.prefix],
        }
        for icons in sets
        if images[icons.prefix]
    ]


def write_notice(
    folder: Path,
    *,
    glyphs: Sequence[Drawing],
    faces: Sequence[Face],
    icons: Sequence[Drawing],
    sets: Sequence[IconSet],
    package: str,
) -> None:
    """Writes NOTICE.md: every font family and icon set that the packs show, its author and its licence."""
    used_faces = {drawing.package for drawing in glyphs}
    rows = sorted(
        {
            (face.shipped_as, face.copyright or "not stated in the package", face.spdx, face.package)
            for face in faces
            if f"{face.shipped_as}|{face.package}" in used_faces
        }
    )
    families: dict[tuple[str, str, str], list[str]] = {}
    for shipped_as, copyright_line, spdx, source in rows:
        families.setdefault((shipped_as, spdx, source), []).append(copyright_line)
    used_sets = {drawing.package for drawing in icons}
    lines = [
        "# Notice",
        "",
        *textwrap.wrap(
            "`glyphs.npz` holds 32×32 images of characters drawn in the fonts listed here, `icons.npz` holds 32×32 "
            "images of the icons listed here: rendered, scaled to 32 pixels, reduced to 16 grey levels, thinned. The "
            "works they show stay under the licences of their authors; the texts are in `licences/`. No font file and "
            "no brand logo is included. `packs.json` gives the version of every package.",
            width=112,
        ),
        "",
        "## Fonts (glyphs.npz)",
        "",
        "| family | copyright | licence | package |",
        "|---|---|---|---|",
        *(
            f"| {shipped_as} | {_cell(lines_of[0])} | {spdx} | {source} |"
            for (shipped_as, spdx, source), lines_of in families.items()
        ),
        "",
        f"## Icon sets (icons.npz), all from {package}",
        "",
        "| set | name | author | licence |",
        "|---|---|---|---|",
        *(
            f"| {icon_set.prefix} | {_cell(icon_set.title)} | {_cell(icon_set.author)} | {icon_set.spdx} |"
            for icon_set in sets
            if icon_set.prefix in used_sets
        ),
        "",
    ]
    (folder / "NOTICE.md").write_text("\n".join(lines), encoding="utf-8")


def write_licences(folder: Path, *, spdx: Sequence[str], work: Path) -> None:
    """Writes the text of each licence to `licences/<SPDX>.txt`."""
    modules = fetch_npm(LICENCE_TEXTS, work=work / "licences")
    texts = folder / "licences"
    texts.mkdir(exist_ok=True)
    for name in sorted(set(spdx)):
        source = modules / "spdx-license-list" / "licenses" / f"{name}.json"
        text = str(json.loads(source.read_text(encoding="utf-8"))["licenseText"])
        (texts / f"{name}.txt").write_text(text.strip() + "\n", encoding="utf-8")


def _named(package: str) -> dict[str, object]:
    registry, _, rest = package.partition(":")
    name, _, version = rest.rpartition("=" if registry == "debian" else "@")
    return {"registry": registry, "package": name, "version": version}


def _cell(text: str) -> str:
    return text.replace("|", "/")
