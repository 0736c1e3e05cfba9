"""What is known of a target and its possible sources before any training: features through each frozen source."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from transmeta.core import codec
from transmeta.core.experience import MetaFeatures
from transmeta.core.model import ModelCard
from transmeta.core.task import Task
from transmeta.metafeatures.pair import pair_features
from transmeta.metafeatures.target import target_features
from transmeta.models.library import ModelLibrary
from transmeta.training.data import Examples, Split, TaskData
from transmeta.training.seeding import derive_seed
from transmeta.training.staged import StagedModel, prepare
from transmeta.trials.environment import Environment
from transmeta.trials.run import cached_data

EXAMPLES = 600
"""Training examples that are looked at; more of them change the numbers little and cost time in proportion."""
CHUNK = 256

Matrix = npt.NDArray[np.float64]


def describe(target: Task, *, environment: Environment, sources: Sequence[ModelCard] | None = None) -> MetaFeatures:
    """Returns the meta-features of `target` and of each pair with a source, from the training split alone.

    Deterministic; about 0.1 s for each small source on one core.

    Args:
        sources: cards to pair with; None for all that may be offered.
    """
    library = environment.library()
    cards = library.candidates(target) if sources is None else sources
    data = cached_data(codec.dumps(target))
    sample = _sample(data.train, seed=derive_seed(target.seed, "describe"))
    return MetaFeatures(
        target_id=target.id,
        target=_target_features(target, data),
        pairs={card.id: _pair(card, sample, library) for card in cards},
    )


def source_outputs(model: StagedModel, x: Examples, *, card: ModelCard) -> tuple[Matrix, Matrix]:
    """Returns the features (count, feature_count) and the head's probabilities (count, source classes) of `x`."""
    features, probabilities = [], []
    model.eval()
    with torch.inference_mode():
        for begin in range(0, len(x), CHUNK):
            hidden = model.features(prepare(torch.from_numpy(x[begin : begin + CHUNK]), card=card))
            features.append(hidden.double().numpy())
            probabilities.append(torch.softmax(model.head(hidden), dim=1).double().numpy())
    return np.concatenate(features), np.concatenate(probabilities)


def _target_features(target: Task, data: TaskData) -> dict[str, float]:
    counts = np.bincount(data.train.y, minlength=len(data.class_names))
    return target_features(data.train.x, data.train.y, class_counts=counts, modality=target.modality)


def _pair(card: ModelCard, sample: Split, library: ModelLibrary) -> dict[str, float]:
    if not card.is_pretrained:
        return pair_features(card=card, labels=sample.y)
    features, probabilities = source_outputs(library.load(card), sample.x, card=card)
    return pair_features(
        card=card,
        labels=sample.y,
        features=features,
        source_probabilities=probabilities if card.class_count > 1 else None,
        source_feature_mean=np.array(card.feature_mean) if card.feature_mean else None,
        source_feature_std=np.array(card.feature_std) if card.feature_std else None,
    )


def _sample(split: Split, *, seed: int) -> Split:
    if len(split) <= EXAMPLES:
        return split
    chosen = np.sort(np.random.default_rng(seed).permutation(len(split))[:EXAMPLES])
    return Split(x=split.x[chosen], y=split.y[chosen])
