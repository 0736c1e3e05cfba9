"""A fine-tuned model that was kept: read back and applied to new data."""

import dataclasses
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt
import torch

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


@final
class AdaptedModel:
    """A fine-tuned model for one target.

    Attributes:
        meta: its trial, source card and class names.
    """

    def __init__(self, model: StagedModel, *, meta: AdaptedMeta) -> None:
        self.meta = meta
        self._model = model.eval()

    @classmethod
    def load(cls, folder: Path) -> "AdaptedModel":
        """Returns the model in `folder`, as `adapt` left it.

        Raises:
            UnsafeFileError: if the folder holds no model of ours, or a damaged one.
            UnknownNameError: if its strategy or architecture is not installed.
        """
        tensors, meta_json = read_checkpoint(folder)
        try:
            meta = codec.from_json(AdaptedMeta, meta_json, where=str(folder / META))
        except ValueError as error:
            raise UnsafeFileError(
                f"{folder}: not a fine-tuned model ({error}); give the folder of `adapt --out`"
            ) from error
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
        return cls(planned.model, meta=meta)

    def probabilities(self, x: Examples) -> npt.NDArray[np.float64]:
        """Returns (count, classes) for examples as in `Split.x`, whose rows sum to 1."""
        chunks = []
        with torch.inference_mode():
            for begin in range(0, len(x), CHUNK):
                inputs = prepare(torch.from_numpy(x[begin : begin + CHUNK]), card=self.meta.card)
                chunks.append(torch.softmax(self._model(inputs).double(), dim=1).numpy())
        return np.concatenate(chunks) if chunks else np.zeros((0, len(self.meta.classes)))

    def score(self, split: Split, *, metric: Metric) -> float:
        """Returns the metric on `split`, in the metric's own direction."""
        logits = torch.from_numpy(np.log(np.maximum(self.probabilities(split.x), 1e-300)))
        return evaluate(metric, logits=logits, labels=torch.from_numpy(split.y))


def copy_model(source: Path, *, to: Path) -> None:
    """Makes a checked copy of the model folder `source` durable at `to`."""
    tensors, meta = read_checkpoint(source)
    write_checkpoint(to, tensors=tensors, meta=meta)
