"""Renders concepts that many icon sets draw to 32×32 images."""

import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image as PillowImage

from packbuild.fetch import fetch_npm
from packbuild.thinning import Drawing, Image, quantise, thin, without_ambiguous

SIDE = 32
CAP = 150
PER_SET = 4
NEAR = 0.05
FAINT = 48  # a render whose strongest pixel is below this is blank
LITTLE_INK = 8 * 255  # ... and so is one with less ink than eight full pixels
ACCEPTED = ("MIT", "Apache-2.0", "OFL-1.1", "CC0-1.0", "CC-BY-3.0", "CC-BY-4.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class IconSet:
    """One icon set of the package: what it is called, who made it, and under which licence."""

    prefix: str
    family: str  # the group: editions of one set share it
    title: str
    author: str
    spdx: str
    version: str


def load_sets(table: Path, *, work: Path) -> tuple[list[IconSet], list[str], Path]:
    """Returns the permitted sets that the table names, the prefixes left out for their licence, and the package."""
    pins = tomllib.loads(table.read_text(encoding="utf-8"))
    name, version = pins["package"]["name"], pins["package"]["version"]
    package = fetch_npm({name: version}, work=work / "icons") / name
    about = json.loads((package / "collections.json").read_text(encoding="utf-8"))
    family = {prefix: key for key, prefixes in pins["family"].items() for prefix in prefixes}
    wanted = sorted({*pins["sets"]["names"], *family})
    refused = [prefix for prefix in wanted if about[prefix]["license"].get("spdx") not in ACCEPTED]
    sets = [
        IconSet(
            prefix=prefix,
            family=family.get(prefix, prefix),
            title=about[prefix]["name"],
            author=about[prefix]["author"]["name"],
            spdx=about[prefix]["license"]["spdx"],
            version=about[prefix].get("version", ""),
        )
        for prefix in wanted
        if prefix not in refused
    ]
    return sets, refused, package


def draw_icons(table: Path, *, sets: Sequence[IconSet], package: Path) -> tuple[list[Drawing], list[tuple[str, str]]]:
    """Renders the table's concepts in the sets; returns the chosen drawings and the classes as (group, concept)."""
    names = tomllib.loads(table.read_text(encoding="utf-8"))
    classes = [(group, concept) for group, concepts in names["groups"].items() for concept in concepts]
    reader = _NameReader(classes=classes, synonyms=names["synonyms"], style=names["style"])
    drawn: list[Drawing] = []
    for icons in sets:
        drawn += _draw_set(icons, package=package, reader=reader, classes=classes)
    drawn = without_ambiguous(drawn)
    by_label: dict[int, list[Drawing]] = defaultdict(list)
    for drawing in drawn:
        by_label[drawing.label].append(drawing)
    chosen = [
        drawing
        for label in range(len(classes))
        for drawing in thin(by_label[label], cap=CAP, per_group=PER_SET, distance=NEAR)
    ]
    return chosen, classes


class _NameReader:
    """Reads an icon's name as a concept and a style, or as nothing that the pack holds."""

    def __init__(
        self,
        *,
        classes: Sequence[tuple[str, str]],
        synonyms: Mapping[str, Sequence[str]],
        style: Mapping[str, Sequence[str]],
    ) -> None:
        self._label = {concept: label for label, (_, concept) in enumerate(classes)}
        for concept, others in synonyms.items():
            self._label |= dict.fromkeys(others, self._label[concept])
        self._cost = {word: cost for cost, key in enumerate(("plain", "solid", "other")) for word in style[key]}

    def read(self, name: str) -> tuple[int, int] | None:
        """Returns the label and the style's cost (0: plain, the more the rarer), shortest reading first."""
        words = name.split("-")
        for cut in range(len(words)):
            for front in range(cut + 1):
                back = len(words) - (cut - front)
                label = self._label.get("-".join(words[front:back]))
                styles = words[:front] + words[back:]
                if label is not None and all(word in self._cost for word in styles):
                    return label, sum(self._cost[word] for word in styles)
        return None


def _draw_set(
    icons: IconSet, *, package: Path, reader: _NameReader, classes: Sequence[tuple[str, str]]
) -> Iterator[Drawing]:
    """Yields the set's drawings; ranks count a concept's variants within the set, plain ones first."""
    book = json.loads((package / "json" / f"{icons.prefix}.json").read_text(encoding="utf-8"))
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for name in sorted(book["icons"]):
        reading = None if book["icons"][name].get("hidden") else reader.read(name)
        if reading is not None:
            found[reading[0]].append((reading[1], name))
    for label, variants in sorted(found.items()):
        for rank, (_, name) in enumerate(sorted(variants)[: 3 * PER_SET]):
            image = _render(book["icons"][name], book=book)
            if image is not None:
                yield Drawing(
                    image=image,
                    label=label,
                    task=classes[label][0],
                    group=icons.family,
                    rank=rank,
                    package=icons.prefix,
                )


def _render(icon: Mapping[str, object], *, book: Mapping[str, object]) -> Image | None:
    """Returns the icon's ink (its opacity), its longer side filling the image; None if nothing is drawn."""
    left, top = _number(icon, book, "left", 0), _number(icon, book, "top", 0)
    width, height = _number(icon, book, "width", 16), _number(icon, book, "height", 16)
    side = max(width, height)
    view = f"{left - (side - width) / 2:g} {top - (side - height) / 2:g} {side:g} {side:g}"
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{SIDE}" '
        f'height="{SIDE}" viewBox="{view}" color="white">{icon["body"]}</svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE, skip_system_fonts=True)
    rgba = np.asarray(PillowImage.open(BytesIO(bytes(png))).convert("RGBA"))
    ink = rgba[..., 3].astype(np.float64)
    if ink.max() < FAINT or ink.sum() < LITTLE_INK:
        return None
    return quantise((ink * 255 / ink.max()).astype(np.uint8))  # a set drawn at half opacity is not half an icon


def _number(icon: Mapping[str, object], book: Mapping[str, object], key: str, default: float) -> float:
    value = icon.get(key, book.get(key, default))
    assert isinstance(value, int | float), f"{key} of an icon is {value!r}"
    return float(value)
