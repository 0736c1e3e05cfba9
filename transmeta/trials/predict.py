"""A fine-tuned model that was kept: read back and applied to new data."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from transmeta.core import codec
from transmeta.core.model import ModelCard
from transmeta.core.task import Metric
from transmeta.core.trial import TrialSpec
from transmeta.errors import TrialFailure, UnsafeFileError
from transmeta.models.library import ModelLibrary, load_weights
from transmeta.strategies.catalogue import find_strategy
from transmeta.tasks.encoding import TableEncoder
from transmeta.training.checkpoint import META, read_checkpoint, write_checkpoint
from transmeta.training.data import Examples, Split
from transmeta.training.metric import evaluate
from transmeta.training.planned import apply
from transmeta.training.seeding import derive_seed
from transmeta.training.staged import StagedModel, prepare

CHUNK = 256


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AdaptedMeta:
    """What is written beside the weights of a fine-tuned model.

    Attributes:
        encoder: how a table's columns become inputs; None for images.
    """

    spec: TrialSpec
    card: ModelCard
    classes: tuple[str, ...]
    encoder: TableEncoder | None = None
    schema: int = 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleMeta:
    """What is written beside the weights of several models that answer together; the first is the best by validation.

    The weights of member 2 have names that begin with `2.`, and so on from 0.
    """

    members: tuple[AdaptedMeta, ...]
    schema: int = 1


@final
class AdaptedModel:
    """A fine-tuned model for one target, or several that answer together.

    Several answer by the mean of their probabilities (Lakshminarayanan et al. 2017, section 2.4).

    Attributes:
        meta: of the first model: its trial, source card and class names.
    """

    def __init__(self, members: Sequence[tuple[StagedModel, AdaptedMeta]]) -> None:
        self._members = [(model.eval(), meta) for model, meta in members]
        self.meta = self._members[0][1]

    @classmethod
    def load(cls, folder: Path) -> "AdaptedModel":
        """Returns the model in `folder`, as `adapt` or a trial left it.

        Raises:
            UnsafeFileError: if the folder holds no model of ours, or a damaged one.
            UnknownNameError: if its strategy or architecture is not installed.
        """
        return cls.together([folder])

    @classmethod
    def together(cls, folders: Sequence[Path]) -> "AdaptedModel":
        """Returns the models in `folders`, which are for one target, as one.

        Raises:
            UnsafeFileError, UnknownNameError: as `load`.
        """
        return cls([_open(tensors, meta, folder) for folder in folders for tensors, meta in _read(folder)])

    def probabilities(self, x: Examples) -> npt.NDArray[np.float64]:
        """Returns (count, classes) for examples as in `Split.x`, whose rows sum to 1."""
        chunks = []
        with torch.inference_mode():
            for begin in range(0, len(x), CHUNK):
                examples = torch.from_numpy(x[begin : begin + CHUNK])
                each = [model(prepare(examples, card=meta.card)) for model, meta in self._members]
                chunks.append(torch.stack([torch.softmax(logits.double(), dim=1) for logits in each]).mean(0).numpy())
        return np.concatenate(chunks) if chunks else np.zeros((0, len(self.meta.classes)))

    def score(self, split: Split, *, metric: Metric) -> float:
        """Returns the metric on `split`, in the metric's own direction."""
        logits = torch.from_numpy(np.log(np.maximum(self.probabilities(split.x), 1e-300)))
        return evaluate(metric, logits=logits, labels=torch.from_numpy(split.y))


def copy_models(sources: Sequence[Path], *, to: Path) -> None:
    """Makes a checked copy of the models in the folders `sources` durable at `to`, as one model, best first."""
    if len(sources) == 1:
        tensors, meta_json = read_checkpoint(sources[0])
        write_checkpoint(to, tensors=tensors, meta=meta_json)
        return
    read = [found for source in sources for found in _read(source)]
    write_checkpoint(
        to,
        tensors={f"{number}.{name}": one for number, (tensors, _) in enumerate(read) for name, one in tensors.items()},
        meta=codec.to_json(EnsembleMeta(members=tuple(meta for _, meta in read))),
    )


def _read(folder: Path) -> Sequence[tuple[Mapping[str, Tensor], AdaptedMeta]]:
    """Returns weights and description of each model in `folder`."""
    tensors, meta_json = read_checkpoint(folder)
    where = str(folder / META)
    try:
        if not (isinstance(meta_json, dict) and "members" in meta_json):
            return [(tensors, codec.from_json(AdaptedMeta, meta_json, where=where))]
        members = codec.from_json(EnsembleMeta, meta_json, where=where).members
        if len({(meta.classes, meta.encoder, meta.spec.target.id) for meta in members}) != 1:
            raise ValueError(f"{where}: {len(members)} members, which are not for one target")
    except ValueError as error:
        raise UnsafeFileError(
            f"{folder}: not a fine-tuned model ({error}); give the folder of `adapt --out`"
        ) from error
    own: list[dict[str, Tensor]] = [{} for _ in members]
    for name, tensor in tensors.items():
        number, _, rest = name.partition(".")
        if not (number.isdecimal() and int(number) < len(own)):
            raise UnsafeFileError(f"{folder}: {name} belongs to none of {len(own)} members; give another model")
        own[int(number)][rest] = tensor
    return list(zip(own, members, strict=True))


def _open(tensors: Mapping[str, Tensor], meta: AdaptedMeta, folder: Path) -> tuple[StagedModel, AdaptedMeta]:
    plan = find_strategy(meta.spec.strategy.name).plan(meta.spec.strategy.params, meta.card)
    blank = dataclasses.replace(meta.card, weights=None, weights_sha256=None)
    try:
        planned = apply(
            plan,
            model=ModelLibrary().load(blank),
            card=meta.card,
            class_count=len(meta.classes),
            seed=derive_seed(meta.spec.seed, "plan"),
        )
    except TrialFailure as failure:
        raise UnsafeFileError(
            f"{folder}: not a fine-tuned model ({failure}); give the folder of `adapt --out`"
        ) from failure
    load_weights(planned.model, tensors, where=str(folder))
    return planned.model, meta
