"""Renders characters of many scripts in many fonts to 32×32 images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from packbuild.faces import Face
from packbuild.thinning import Drawing, Image, quantise, thin, without_ambiguous

SIDE = 32
OVERSAMPLING = 4  # drawn four times as large and averaged: the same grey whether a font carries hints or not
MARGIN = 2
REFERENCE_SIZE = 256  # at which glyphs are measured, in pixels per em
COVERAGE = 0.8  # a face with fewer of a script's classes is left out
CAP, LATIN_CAP = 64, 140
PER_FAMILY, PER_FAMILY_OF_FEW = 4, 18
FEW_FAMILIES = 8
NEAR = 0.05
FAINT = 96  # an image whose darkest pixel is below this is blank
UNASSIGNED = "\U0010fffd"  # maps to the font's "missing glyph" box

Box = tuple[float, float, float, float]  # left, top, right, bottom around the origin of the baseline


def _span(first: str, last: str, *, without: str = "") -> str:
    return "".join(chr(code) for code in range(ord(first), ord(last) + 1) if chr(code) not in without)


# Letters only, and of letter pairs that differ in size alone (ぁ and あ, К and к) one.
CHARACTERS = {
    "Arab": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "Armn": _span("ա", "ֆ"),
    "Cyrl": _span("а", "я") + "ё",
    "Deva": "अआइईउऊऋएऐओऔ" + _span("क", "ह", without="ऩऱऴळ")[:29],
    "Geor": _span("ა", "ჰ"),
    "Grek": _span("α", "ω") + "ΓΔΘΛΞΠΣΦΨΩ",
    "Gujr": "અઆઇઈઉઊઋએ" + _span("ક", "હ", without="\u0aa9\u0ab1\u0ab4"),
    "Guru": "ਅਆਇਈਉਊਏਐਓਔ" + _span("ਕ", "ਹ", without="\u0a29\u0a31\u0a33\u0a34\u0a36\u0a37"),
    "Hebr": _span("א", "ת"),
    "Hira": "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん",
    "Kana": "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワヲン",
    "Laoo": "ກຂຄງຈຊຍດຕຖທນບປຜຝພຟມຢຣລວສຫອຮ",
    "Latn": _span("A", "Z") + _span("a", "z"),
    "Mlym": "അആഇഎഏഒ" + _span("ക", "ഹ", without="ഩഺ")[:34],
    "Taml": "அஆஇஈஉஊஎஏஐஒகஙசஜஞடணதநனபமயரறலளழவஷஸஹ",
    "Thai": _span("ก", "ฮ", without="ฃฅฤฦ")[:40],
}


def draw_glyphs(faces: Sequence[Face], *, scripts: Sequence[str]) -> tuple[list[Drawing], list[tuple[str, str]]]:
    """Renders the scripts in the faces and returns the chosen drawings and the classes as (script, character)."""
    classes = [(script, character) for script in scripts for character in CHARACTERS[script]]
    label = {pair: index for index, pair in enumerate(classes)}
    chosen: list[Drawing] = []
    for script in scripts:
        drawn = without_ambiguous(_draw_script(faces, script=script, label=label))
        few = len({drawing.group for drawing in drawn}) <= FEW_FAMILIES
        for character in CHARACTERS[script]:
            chosen += thin(
                (drawing for drawing in drawn if drawing.label == label[script, character]),
                cap=LATIN_CAP if script == "Latn" else CAP,
                per_group=PER_FAMILY_OF_FEW if few else PER_FAMILY,
                distance=NEAR,
            )
    return chosen, classes


def _draw_script(faces: Sequence[Face], *, script: str, label: dict[tuple[str, str], int]) -> list[Drawing]:
    characters = CHARACTERS[script]
    drawings = []
    for face in faces:
        if face.scripts is not None and script not in face.scripts:
            continue
        home = _homes(face.files, characters=characters)
        if len(home) < COVERAGE * len(characters):
            continue
        for character, image in _render(home).items():
            drawings.append(
                Drawing(
                    image=image,
                    label=label[script, character],
                    task=script,
                    group=face.family,
                    rank=face.rank,
                    package=f"{face.shipped_as}|{face.package}",
                )
            )
    return drawings


def _homes(files: Sequence[Path], *, characters: str) -> dict[str, Path]:
    """Returns, of the characters that the face maps to a glyph, the file that does."""
    home: dict[str, Path] = {}
    for file in files:
        covered = _covered(file)
        for character in characters:
            if character not in home and ord(character) in covered:
                home[character] = file
    return home


_COVERED: dict[Path, frozenset[int]] = {}


def _covered(file: Path) -> frozenset[int]:
    if file not in _COVERED:
        with TTFont(file, lazy=True) as font:
            table = font.getBestCmap() or {}
            _COVERED[file] = frozenset(code for code, name in table.items() if name != ".notdef")
    return _COVERED[file]


def _render(home: Mapping[str, Path]) -> dict[str, Image]:
    """Returns images of the characters at one common scale and baseline: size and height tell letters apart."""
    boxes = {}
    for file in sorted(set(home.values())):
        font = ImageFont.truetype(file, REFERENCE_SIZE, layout_engine=ImageFont.Layout.BASIC)
        missing = bytes(font.getmask(UNASSIGNED))
        for character, place in home.items():
            mask = bytes(font.getmask(character)) if place == file else b""
            if any(mask) and mask != missing:
                boxes[character] = font.getbbox(character, anchor="ls")
    if not boxes:
        return {}
    left, top, right, bottom = np.array(list(boxes.values())).T
    above, below, width = np.percentile(-top, 95), np.percentile(bottom, 95), np.percentile(right - left, 95)
    scale = (SIDE - 2 * MARGIN) / max(above + below, width)
    baseline = SIDE / 2 + (above - below) * scale / 2
    images = {character: _draw(character, home[character], box=box, scale=scale, baseline=baseline)
              for character, box in boxes.items()}  # fmt: skip
    return {character: image for character, image in images.items() if int(image.max()) >= FAINT}


def _draw(character: str, file: Path, *, box: Box, scale: float, baseline: float) -> Image:
    """Returns the character centred between left and right on its baseline, shrunk or shifted if it would stick out."""
    left, top, right, bottom = box
    scale = min(scale, (SIDE - 1) / max(bottom - top, right - left, 1))
    baseline = min(max(baseline, -top * scale + 0.5), SIDE - 0.5 - bottom * scale)
    start = SIDE / 2 - (left + right) * scale / 2
    large = ImageFont.truetype(file, REFERENCE_SIZE * scale * OVERSAMPLING, layout_engine=ImageFont.Layout.BASIC)
    canvas = PillowImage.new("L", (SIDE * OVERSAMPLING, SIDE * OVERSAMPLING))
    place = (round(start * OVERSAMPLING), round(baseline * OVERSAMPLING))
    ImageDraw.Draw(canvas).text(place, character, fill=255, font=large, anchor="ls")
    return quantise(np.asarray(canvas.resize((SIDE, SIDE), PillowImage.Resampling.BOX)))
