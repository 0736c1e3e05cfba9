"""Chooses which of many drawings of a class go into a pack: no duplicates, many groups, few bytes."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (32, 32), ink high on a background of 0

GREY_STEP = 17  # 16 grey levels: 0, 17, ..., 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One rendered image of a class, by one group (a font family or an icon set)."""

    image: Image
    label: int
    task: str  # the script or the concept group: an image under two labels of one task is ambiguous
    group: str
    rank: int  # 0 is the group's plain style; higher ranks are taken when plain ones run out
    package: str


def quantise(image: Image) -> Image:
    """Returns the image with its grey rounded to 16 levels: a third fewer bytes when compressed."""
    rounded = (image.astype(np.int32) + GREY_STEP // 2) // GREY_STEP * GREY_STEP
    return np.clip(rounded, 0, 255).astype(np.uint8)


def without_ambiguous(drawings: Sequence[Drawing]) -> list[Drawing]:
    """Returns the drawings whose image has one label only within its task (drops `I` drawn exactly as `l`)."""
    labels: dict[tuple[str, bytes], set[int]] = defaultdict(set)
    for drawing in drawings:
        labels[drawing.task, drawing.image.tobytes()].add(drawing.label)
    return [d for d in drawings if len(labels[d.task, d.image.tobytes()]) == 1]


def thin(drawings: Iterable[Drawing], *, cap: int, per_group: int, distance: float) -> list[Drawing]:
    """Returns at most `cap` drawings of one class, all groups' plain styles before anybody's second style.

    A drawing nearer than `distance` to one already taken is left out, whichever group it is from: it would be
    the same example twice, and across groups it would leak from one side of a split to the other. The distance
    is the summed absolute difference over the summed ink of both images, in [0, 1].
    """
    taken: list[Drawing] = []
    stack = np.zeros((cap, 32 * 32), dtype=np.float32)
    count: dict[str, int] = defaultdict(int)
    for drawing in sorted(drawings, key=_order):
        if len(taken) == cap:
            break
        if count[drawing.group] == per_group:
            continue
        flat = drawing.image.reshape(-1).astype(np.float32)
        known = stack[: len(taken)]
        if taken and float((np.abs(known - flat).sum(1) / (known.sum(1) + flat.sum())).min()) < distance:
            continue
        stack[len(taken)] = flat
        count[drawing.group] += 1
        taken.append(drawing)
    return taken


def relabelled(drawings: Sequence[Drawing], *, classes: Sequence[int]) -> list[Drawing]:
    """Returns the drawings of the listed classes, each label replaced by its place in `classes`."""
    place = {label: index for index, label in enumerate(classes)}
    return [replace(d, label=place[d.label]) for d in drawings if d.label in place]


def _order(drawing: Drawing) -> tuple[int, str, str]:
    # By digest and not by name: a cap then cuts no alphabet, and cuts the same groups in every class.
    return drawing.rank, hashlib.sha256(drawing.group.encode()).hexdigest(), drawing.package
