"""Targets, images and saved models that several tests of the models need."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from transmeta.core.model import ModelCard, TrainedOn
from transmeta.core.task import Modality, Task
from transmeta.models.library import save_model
from transmeta.models.small_cnn import SmallCnn
from transmeta.training.staged import StagedModel


def target(*, dataset: str = "birds", modality: Modality = Modality.IMAGE) -> Task:
    """Returns a task that no data belongs to."""
    return Task(
        name=dataset,
        provider="arrays",
        params={},
        dataset=dataset,
        domain="photos",
        modality=modality,
        shape=(32, 32, 3) if modality is Modality.IMAGE else (20,),
        class_count=4,
        fingerprint="0123456789abcdef",
    )


def images(count: int, *, side: int, channels: int = 3, seed: int = 0) -> Tensor:
    """Returns images of noise, uint8 (count, side, side, channels)."""
    pixels = np.random.default_rng(seed).integers(0, 256, size=(count, side, side, channels), dtype=np.uint8)
    return torch.from_numpy(pixels)


def small_model(*, seed: int = 0) -> StagedModel:
    """Returns a small CNN with a head of 5 classes and weights that depend on the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SmallCnn().build(small_card()).eval()


def small_card(model_id: str = "latin-1f2e3d4c", *, seen: str = "latin") -> ModelCard:
    """Returns the card of a small CNN that has seen the data set `seen`."""
    blank = SmallCnn().card(input_shape=())
    return dataclasses.replace(
        blank, id=model_id, class_count=5, trained_on=(TrainedOn(dataset=seen, domain="scripts"),)
    )


def saved(folder: Path, card: ModelCard, *, seed: int = 0) -> ModelCard:
    """Saves a small CNN below `folder` and returns its card."""
    return save_model(folder / card.id, card=card, model=small_model(seed=seed))
