"""New data as an adapted model takes it: images, rows or arrays, with the labels that it may have."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from transmeta.errors import DataError, InputError, UnknownNameError
from transmeta.tasks import folder, table
from transmeta.tasks.arrays import encode
from transmeta.tasks.images import find_images
from transmeta.tasks.labels import class_texts
from transmeta.tasks.npz import read_npz
from transmeta.tasks.params import existing
from transmeta.training.data import Examples
from transmeta.trials.predict import AdaptedMeta

LABEL: Final = "label"
"""Of arrays, `y`; of tables, the parameter of their tasks that names the column of labels."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewExamples:
    """Data to predict.

    Attributes:
        names: of each example: its path relative to the data, or its row from 0.
        labels: class of each example; None where the data has none.
    """

    x: Examples
    names: tuple[str, ...]
    labels: tuple[str, ...] | None


def read_examples(data: str, *, meta: AdaptedMeta, label: str | None) -> NewExamples:
    """Returns the examples at the path `data`.

    A folder is labelled if its sub-folders are named after classes of the model, a table if it has the column `label`
    (None for the one of training), an .npz file if it has an array `y`.

    Raises:
        DataError: if they cannot be read, do not go with the model, or are of classes that it does not know.
        UnsafeFileError: if the file could run code.
    """
    path = existing(data)
    suffix = path.suffix.lower()
    if path.is_file() and suffix == ".npz":
        found = _arrays(path, meta)
    elif path.is_file() and suffix in table.SUFFIXES:
        found = _rows(path, meta, label)
    else:
        found = _images(path, meta)
    for name in found.labels or ():
        if name not in meta.classes:
            raise DataError(f"{path}: {UnknownNameError('class', name=name, known=meta.classes)}, or leave it out")
    return found


def _images(path: Path, meta: AdaptedMeta) -> NewExamples:
    if meta.encoder is not None or len(meta.spec.target.shape) != 3:
        raise InputError(f"{path}: the model takes rows of a table; give a .csv, .parquet or .npz file")
    size = max(meta.spec.target.shape[:2])
    if path.is_dir() and _is_labelled(path, classes=meta.classes):
        labelled = folder.read_labelled(path, size=size)
        return NewExamples(
            x=labelled.x,
            names=labelled.files,
            labels=tuple(labelled.class_names[number] for number in labelled.y),
        )
    x, names = folder.read_unlabelled(path, size=size)
    return NewExamples(x=x, names=names, labels=None)


def _is_labelled(path: Path, *, classes: Sequence[str]) -> bool:
    """Returns whether the images in `path` lie in sub-folders that are named after classes, one of them at least."""
    tops = {image.relative_to(path).parts[0] if image.parent != path else "" for image in find_images(path)}
    return "" not in tops and not tops.isdisjoint(classes)


def _rows(path: Path, meta: AdaptedMeta, label: str | None) -> NewExamples:
    if meta.encoder is None:
        raise InputError(f"{path}: the model takes images; give a folder of images")
    x = table.read_unlabelled(path, encoder=meta.encoder)
    column = label or str(meta.spec.target.params.get(LABEL, LABEL))
    labels = table.read_labels(path, label=column)
    if label is not None and labels is None:
        raise DataError(f"{path}: no column {label!r} with labels; correct --label, or leave it out")
    return NewExamples(x=x, names=_numbered(len(x)), labels=labels)


def _arrays(path: Path, meta: AdaptedMeta) -> NewExamples:
    arrays = read_npz(path, required=("x",), optional=("y",))
    x = encode(arrays["x"], encoder=meta.encoder)
    labels = class_texts(arrays["y"], where=f"{path}: y") if "y" in arrays else None
    if labels is not None and len(labels) != len(x):
        raise DataError(f"{path}: {len(labels)} labels for {len(x)} examples; give one for each")
    return NewExamples(x=x, names=_numbered(len(x)), labels=labels)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(count))
