"""The packs that are known, and which tasks each holds."""

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Final

import numpy as np

from transmeta.tasks.npz import Arrays
from transmeta.tasks.params import slug
from transmeta.tasks.pool import Pool, Pools, selected, with_classes_of, without_copies

EMOJI_AT_LEAST: Final = 15
"""Fewer drawings in a class are not worth a test."""
GROUP_SIZE: Final = 10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PackFormat:
    """One known pack.

    Attributes:
        family: the head of its tasks' names, up to the hyphen.
        file: its name.
        per_image: names of the arrays with one entry per image, besides `x`.
        per_class: names of those with one entry per class.
        content: what `x` holds, for messages, and the number of its axes.
        pools: the tasks in its arrays.
    """

    family: str
    file: str
    per_image: tuple[str, ...]
    per_class: tuple[str, ...] = ()
    content: str = "grey or RGB images"
    axes: tuple[int, ...] = (3, 4)
    pools: Callable[[Arrays], Pools]


def _images(arrays: Arrays, *, name: str, domain: str) -> Pool:
    """Returns all of `arrays` as one pool whose classes have no names but their numbers."""
    y = arrays["y"].astype(np.int64)
    return Pool(
        name=name,
        dataset=name,
        domain=domain,
        x=arrays["x"].astype(np.uint8, copy=False),
        y=y,
        class_names=tuple(str(number) for number in range(int(y.max()) + 1)),
    )


def _mnist(arrays: Arrays) -> Pools:
    return {"mnist": lambda: without_copies(_images(arrays, name="mnist", domain="digits"))}


def _usps(arrays: Arrays) -> Pools:
    return {"usps": lambda: without_copies(_images(arrays, name="usps", domain="digits"))}


def _animals(arrays: Arrays) -> Pools:
    """Returns all classes as one task, and every second one as two smaller tasks of the same data set."""

    def make(name: str, start: int, step: int) -> Pool:
        every = dataclasses.replace(_images(arrays, name=name, domain="silhouettes"), dataset="animals")
        return without_copies(selected(every, mask=every.y % step == start))

    parts = {"animals": (0, 1), "animals-even": (0, 2), "animals-odd": (1, 2)}
    return {name: functools.partial(make, name, *part) for name, part in parts.items()}


def _udhr(arrays: Arrays) -> Pools:
    """Returns a task per group of languages: which of them a text is in.

    The counts of hashed character n-grams become square roots (as in a Hellinger kernel) of unit length, times the
    square root of their number, so that the mean square of an input is one.
    """
    counts = np.sqrt(arrays["x"].astype(np.float32))
    lengths = np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1.0)
    x = (counts / lengths * np.sqrt(counts.shape[1])).astype(np.float32)
    group_of = arrays["group"].astype(np.str_)

    def make(name: str, group: str) -> Pool:
        every = Pool(
            name=name,
            dataset=name,
            domain="text",
            x=x,
            y=arrays["y"].astype(np.int64),
            class_names=tuple(str(language) for language in arrays["language"]),
        )
        return without_copies(selected(every, mask=group_of[every.y] == group))

    return {f"udhr-{group}": functools.partial(make, f"udhr-{group}", group) for group in map(str, np.unique(group_of))}


def _cifar10(arrays: Arrays) -> Pools:
    is_test = arrays["is_test"].astype(np.bool_)
    return {
        "cifar10": lambda: without_copies(
            dataclasses.replace(_images(arrays, name="cifar10", domain="photos"), test=is_test)
        )
    }


def _tinyimagenet(arrays: Arrays) -> Pools:
    """Returns groups of 10 odd classes as targets, and the even classes as one source; validation is the test set."""
    names = tuple(str(name).partition(",")[0] for name in arrays["name"])

    def make(name: str, classes: range) -> Pool:
        every = dataclasses.replace(
            _images(arrays, name=name, domain="photos"), test=arrays["is_val"].astype(np.bool_), class_names=names
        )
        return without_copies(selected(every, mask=np.isin(every.y, classes)))

    odd = range(1, len(names), 2)
    groups = {
        f"tinyimagenet-g{start // GROUP_SIZE:02d}": odd[start : start + GROUP_SIZE]
        for start in range(0, len(odd), GROUP_SIZE)
    }
    groups["tinyimagenet-even"] = range(0, len(names), 2)
    return {name: functools.partial(make, name, classes) for name, classes in groups.items()}


def _omniglot(arrays: Arrays) -> Pools:
    """Returns one task per alphabet, and all alphabets of the background set as one source; split by drawer."""
    alphabets, is_background = arrays["alphabet"], arrays["split"] == "background"
    labels = np.char.add(np.char.add(alphabets.astype(np.str_), "/"), np.char.zfill(arrays["char"].astype(np.str_), 2))
    characters, y = np.unique(labels, return_inverse=True)

    def make(name: str, alphabet: str | None) -> Pool:
        mask = is_background if alphabet is None else alphabets == alphabet
        every = Pool(
            name=name,
            dataset="omniglot-background" if is_background[mask].any() else name,
            domain="alphabets",
            x=arrays["x"].astype(np.uint8, copy=False),
            y=y.astype(np.int64),
            class_names=tuple(str(character) for character in characters),
            groups=arrays["drawer"].astype(np.int64),
        )
        return without_copies(selected(every, mask=mask))

    pools: dict[str, Callable[[], Pool]] = {}
    for alphabet in np.unique(alphabets):
        name = "omniglot-" + re.sub(r"[^a-z0-9]+", "-", str(alphabet).lower()).strip("-")
        pools[name] = functools.partial(make, name, str(alphabet))
    if is_background.any():
        pools["omniglot-background"] = functools.partial(make, "omniglot-background", None)
    return pools


def _emoji(arrays: Arrays) -> Pools:
    """Returns one task per vendor: which group an emoji belongs to; of a man, a woman and a person, one is kept.

    Two versions of Noto share drawings, so they are one data set.
    """
    vendors = arrays["set"]
    stems = np.array([re.sub(r"\b(wo)?m[ae]n\b|\bperson\b", "", str(icon)).strip("-") for icon in arrays["icon"]])
    groups = tuple(str(group) for group in arrays["group"])

    def make(vendor: str) -> Pool:
        name = f"emoji-{slug(vendor, default='vendor')}"
        every = dataclasses.replace(_images(arrays, name=name, domain="emoji"), class_names=groups)
        dataset = "emoji-noto" if vendor.startswith("noto") else name
        mask = np.zeros(len(every.y), dtype=np.bool_)
        of_vendor = np.flatnonzero(vendors == vendor)
        mask[of_vendor[np.unique(stems[of_vendor], return_index=True)[1]]] = True
        pool = without_copies(dataclasses.replace(selected(every, mask=mask), dataset=dataset))
        return with_classes_of(pool, at_least=EMOJI_AT_LEAST)

    return {
        f"emoji-{slug(str(vendor), default='vendor')}": functools.partial(make, str(vendor))
        for vendor in np.unique(vendors)
    }


FORMATS: Final[tuple[PackFormat, ...]] = (
    PackFormat(family="animals", file="animalmnist32.npz", per_image=("y",), pools=_animals),
    PackFormat(family="cifar10", file="cifar10_32.npz", per_image=("y", "is_test"), pools=_cifar10),
    PackFormat(family="emoji", file="emoji32.npz", per_image=("y", "set", "icon"), per_class=("group",), pools=_emoji),
    PackFormat(family="mnist", file="mnist10k_32.npz", per_image=("y",), pools=_mnist),
    PackFormat(
        family="omniglot", file="omniglot32.npz", per_image=("alphabet", "char", "drawer", "split"), pools=_omniglot
    ),
    PackFormat(
        family="tinyimagenet",
        file="tinyimagenet_32.npz",
        per_image=("y", "is_val"),
        per_class=("name",),
        pools=_tinyimagenet,
    ),
    PackFormat(
        family="udhr",
        file="udhr1024.npz",
        per_image=("y",),
        per_class=("language", "group"),
        content="counts of n-grams",
        axes=(2,),
        pools=_udhr,
    ),
    PackFormat(family="usps", file="usps_test32.npz", per_image=("y",), pools=_usps),
)
