"""A folder of images as a task: the name of a sub-folder is a class."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

import numpy as np

from transmeta.core.task import Modality, Params, Task
from transmeta.errors import ConfigError, DataError
from transmeta.tasks import fingerprint
from transmeta.tasks.images import Images, decode, find_images, squeezed
from transmeta.tasks.labels import MAX_CLASSES, check_class_count, check_splittable, shown
from transmeta.tasks.params import check_keys, existing, path_of, slug
from transmeta.tasks.split import OWN_FRACTIONS, Index, Limits, Partition, check_shots, content_groups, stratified
from transmeta.training.data import Examples, Labels, TaskData
from transmeta.training.seeding import derive_seed

PROVIDER: Final = "folder"
DEFAULT_SIZE: Final = 32
SIZES: Final = range(8, 513)
TRAIN: Final = ("train",)
VALIDATION: Final = ("val", "validation", "valid")
TEST: Final = ("test",)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledImages:
    """Images of a folder with classes, in the order of classes and file names.

    Attributes:
        x: uint8 (count, size, size, channels), 1 channel if all are grey, else 3.
        y: int64 (count,), indices into `class_names`.
        files: paths, relative to the folder.
    """

    x: Examples
    y: Labels
    class_names: tuple[str, ...]
    files: tuple[str, ...]


@final
class FolderTasks:
    """Tasks by the parameters `path`, a folder with one sub-folder per class, and `size` in pixels (32).

    A layout `train/`, `val/` or `validation/`, `test/` is kept; of validation and test, one may be missing and is
    then cut from the training part. Otherwise 60/20/20 by seed. Identical images are never in two splits. Shots
    restrict the training split only.
    """

    def packaged(self) -> Sequence[Task]:
        """Returns nothing: folders are the user's."""
        return ()

    def describe(self, params: Params, *, shots: int | None = None, seed: int = 0) -> Task:
        """Returns the task; every image is decoded once, so that a bad one is named now."""
        path, size = _arguments(params)
        content = _read(path, size)
        _partition(content, path=path, seed=seed)
        name = slug(path.name, default="folder")
        return Task(
            name=name,
            provider=PROVIDER,
            params={"path": str(path), "size": size},
            dataset=name,
            domain="images",
            modality=Modality.IMAGE,
            shape=content.x.shape[1:],
            class_count=len(content.listing.class_names),
            fingerprint=content.fingerprint,
            shots=shots,
            seed=seed,
        )

    def load(self, task: Task) -> TaskData:
        """Returns the arrays of `task`."""
        path, size = _arguments(task.params)
        content = _read(path, size)
        fingerprint.check_unchanged(task, found=content.fingerprint)
        partition = _partition(content, path=path, seed=task.seed)
        check_shots(task.shots, labels=content.y)
        limited = partition.limited(content.y, limits=Limits(train=task.shots), seed=derive_seed(task.seed, "shots"))
        return limited.take(content.x, content.y, class_names=content.listing.class_names)


def read_unlabelled(path: Path, *, size: int) -> tuple[Examples, tuple[str, ...]]:
    """Returns the images below `path`, or the one at `path`, and their paths relative to it, for prediction.

    Returns:
        uint8 (count, size, size, channels), 1 channel if all are grey, else 3; and the paths, sorted.

    Raises:
        DataError: if there are none, or one cannot be read.
    """
    root = existing(path)
    files = find_images(root) if root.is_dir() else [root]
    if not files:
        raise DataError(f"{root}: no images; PNG, JPEG, BMP, GIF and WebP are read")
    images, _ = decode(files, size=_checked_size(size))
    names = tuple(file.relative_to(root).as_posix() if file != root else file.name for file in files)
    return squeezed(images), names


def read_labelled(path: Path, *, size: int) -> LabelledImages:
    """Returns the images of a folder with one sub-folder per class, however few: not split, copies kept.

    Raises:
        DataError: if there are none, or one cannot be read.
    """
    root = existing(path)
    classes = _sub_folders(root)
    files = [(number, file) for number, name in enumerate(classes) for file in find_images(root / name)]
    if not files:
        raise DataError(f"{root}: no images in sub-folders; give one sub-folder per class")
    images, _ = decode([file for _, file in files], size=_checked_size(size))
    return LabelledImages(
        x=squeezed(images),
        y=np.array([number for number, _ in files], dtype=np.int64),
        class_names=classes,
        files=tuple(file.relative_to(root).as_posix() for _, file in files),
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """What is in a folder; two are equal only if no file has been touched.

    Attributes:
        files: relative to the folder.
        classes: index into `class_names` of each file.
        parts: 0 train, 1 validation, 2 test for each file; None if the folder is not laid out in splits.
        stamps: (modification time in ns, size in bytes) of each file.
    """

    class_names: tuple[str, ...]
    files: tuple[str, ...]
    classes: tuple[int, ...]
    parts: tuple[int, ...] | None
    stamps: tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Content:
    listing: _Listing
    x: Images
    y: Labels
    copies: Index
    fingerprint: str


def _arguments(params: Params) -> tuple[Path, int]:
    check_keys(params, known=("path", "size"), provider=PROVIDER)
    path = path_of(params, provider=PROVIDER)
    if not path.is_dir():
        raise DataError(f"{path}: not a folder; give a folder with one sub-folder of images per class")
    return path, _checked_size(params.get("size", DEFAULT_SIZE))


def _checked_size(size: object) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or size not in SIZES:
        raise ConfigError(f"image size {size!r}: give a whole number of pixels from {SIZES[0]} to {SIZES[-1]}")
    return size


def _read(path: Path, size: int) -> _Content:
    return _decoded(path, size, _list(path))


@functools.lru_cache(maxsize=2)
def _decoded(path: Path, size: int, listing: _Listing) -> _Content:
    images, digests = decode([path / file for file in listing.files], size=size)
    x = squeezed(images)
    return _Content(
        listing=listing,
        x=x,
        y=np.array(listing.classes, dtype=np.int64),
        copies=content_groups(x),
        # Of another size, it is another task: features and trials at 32 pixels say little about it.
        fingerprint=fingerprint.of_texts(*listing.files, *digests, *(() if size == DEFAULT_SIZE else (f"{size} px",))),
    )


def _sub_folders(root: Path) -> tuple[str, ...]:
    try:
        names = [entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{root}: {error.strerror}; give a readable folder of images") from error
    return tuple(sorted(names))


def _stamp(file: Path) -> tuple[int, int]:
    try:
        stat = file.stat()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; replace the image or leave it out") from error
    return stat.st_mtime_ns, stat.st_size


def _list(root: Path) -> _Listing:
    tops = _sub_folders(root)
    if not tops:
        found = "images but no sub-folders" if find_images(root) else "no images"
        raise DataError(f"{root}: {found}; give one sub-folder of images per class")
    if len(tops) > MAX_CLASSES:
        check_class_count(len(tops), where=str(root))
    parts = _layout(tops)
    roots = [root] if parts is None else [root / top for top in tops]
    class_names = tuple(sorted({name for folder in roots for name in _sub_folders(folder)}))
    check_class_count(len(class_names), where=str(root))
    entries: list[tuple[str, int, int]] = []
    for folder, part in zip(roots, parts or (0,), strict=True):
        for number, name in enumerate(class_names):
            files = find_images(folder / name) if (folder / name).is_dir() else []
            if not files:
                place = folder.relative_to(root.parent).as_posix()
                raise DataError(
                    f"{root}: class {shown(name)} has no images in {place}; add some or leave the class out"
                )
            entries += [(file.relative_to(root).as_posix(), number, part) for file in files]
    return _Listing(
        class_names=class_names,
        files=tuple(file for file, _, _ in entries),
        classes=tuple(number for _, number, _ in entries),
        parts=None if parts is None else tuple(part for _, _, part in entries),
        stamps=tuple(_stamp(root / file) for file, _, _ in entries),
    )


def _layout(tops: Sequence[str]) -> tuple[int, ...] | None:
    """Returns which split each of the sub-folders `tops` is, or None if they are classes."""
    known = [number for top in tops for number, names in enumerate((TRAIN, VALIDATION, TEST)) if top.lower() in names]
    is_laid_out = len(known) == len(tops) == len(set(known)) and 0 in known and len(known) > 1
    return tuple(known) if is_laid_out else None


def _partition(content: _Content, *, path: Path, seed: int) -> Partition:
    parts = content.listing.parts
    if parts is None:
        _check(content, index=np.arange(len(content.y)), parts=3, path=path)
        train, validation, test = stratified(content.y, groups=content.copies, fractions=OWN_FRACTIONS, seed=seed)
        return Partition(train=train, validation=validation, test=test)
    part = _without_leaks(np.array(parts), copies=content.copies)
    missing = [number for number in (1, 2) if number not in parts]
    train = np.flatnonzero(part == 0)
    if missing:
        _check(content, index=train, parts=2, path=path)
        fractions = (1 - OWN_FRACTIONS[2], OWN_FRACTIONS[2])
        _, cut = stratified(content.y[train], groups=content.copies[train], fractions=fractions, seed=seed)
        part[train[cut]] = missing[0]
    for number in range(3):
        _check(content, index=np.flatnonzero(part == number), parts=1, path=path)
    train, validation, test = (np.flatnonzero(part == number) for number in range(3))
    return Partition(train=train, validation=validation, test=test)


def _without_leaks(part: Index, *, copies: Index) -> Index:
    """Returns `part` with -1 for images that a later split has too: a test image is not trained on."""
    last = np.zeros(int(copies.max()) + 1, dtype=np.int64)
    np.maximum.at(last, copies, part)
    return np.where(part == last[copies], part, -1)


def _check(content: _Content, *, index: Index, parts: int, path: Path) -> None:
    check_splittable(
        content.y[index],
        groups=content.copies[index],
        class_names=content.listing.class_names,
        parts=parts,
        where=str(path),
        what="images",
    )
