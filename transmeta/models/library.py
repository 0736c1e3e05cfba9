"""The models at hand: those that ship with the package, and those in the user's folders."""

import dataclasses
import functools
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, cast, final

import torch
from torch import Tensor

from transmeta import plugins
from transmeta.core import codec
from transmeta.core.model import SCRATCH, ModelCard
from transmeta.core.task import Modality, Task
from transmeta.errors import AmbiguousNameError, DataError, UnknownNameError, UnsafeFileError
from transmeta.models.architecture import Architecture
from transmeta.training.additions import initialise
from transmeta.training.checkpoint import META, WEIGHTS, read_checkpoint, sha256, tensor_bytes, write_checkpoint
from transmeta.training.seeding import derive_seed
from transmeta.training.staged import StagedModel

PACKAGED: Final = Path(__file__).parent / "weights"
SCRATCH_ARCHITECTURE: Final = {Modality.IMAGE: "small_cnn", Modality.TABULAR: "mlp"}


@final
class ModelLibrary:
    """Model cards and weights in folders, one sub-folder a model; the packaged ones come first.

    Args:
        folders: further folders; later ones win where an id is there twice.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._folders = (PACKAGED, *folders)

    def cards(self) -> Mapping[str, ModelCard]:
        """Returns the cards of all checkpoints, by id.

        Raises:
            UnsafeFileError: if a card cannot be read, with its path.
        """
        return {card.id: card for card in (_read_card(path) for path in self._paths().values())}

    def card(self, model_id: str, *, target: Task) -> ModelCard:
        """Returns the card called `model_id`: a checkpoint, or the architecture without weights for `target`.

        Args:
            model_id: the whole id, or as much of its start as only one checkpoint has, such as `latin`.

        Raises:
            AmbiguousNameError: if more than one has this start.
            UnknownNameError: if there is none.
        """
        scratch = scratch_card(target)
        if model_id == SCRATCH:
            return scratch
        cards = {**self.cards(), scratch.id: scratch}
        return cards[whole_id(model_id, known=cards, kind="model")]

    def candidates(self, target: Task) -> tuple[ModelCard, ...]:
        """Returns the cards that may be offered for `target`, ordered by id, the one without weights last."""
        allowed = [card for card in self.cards().values() if card.is_allowed_for(target)]
        return (*sorted(allowed, key=lambda card: card.id), scratch_card(target))

    def load(self, card: ModelCard) -> StagedModel:
        """Returns a fresh model with the card's weights, or with weights drawn anew, always the same ones.

        Raises:
            UnsafeFileError: if the weights are damaged or of another architecture.
        """
        with torch.random.fork_rng(devices=[]):  # torch's layers draw from the global generator when they are made
            model = _architecture(card.architecture).build(card)
        if not card.is_pretrained:
            initialise(model, generator=torch.Generator().manual_seed(derive_seed(0, card.id)))
            return model
        path = self._paths().get(card.id)
        if path is None:
            raise UnknownNameError("model", name=card.id, known=self.cards())
        load_weights(model, _tensors(path, card.weights_sha256), where=str(path))
        return model

    def save(self, card: ModelCard, model: StagedModel) -> ModelCard:
        """Makes the model durable in the last folder and returns its card with the weights' checksum."""
        return save_model(self._folders[-1] / card.id, card=card, model=model)

    def _paths(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for folder in self._folders:
            if folder.is_dir():
                whole = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
                found |= {path.name: path for path in whole if (path / META).is_file()}  # hidden: of a killed writer
        return found


def whole_id(name: str, *, known: Collection[str], kind: str) -> str:
    """Returns the one of the `known` model ids that is `name`, or that alone goes on with a hyphen after it.

    Args:
        kind: what people call it, for the message.

    Raises:
        AmbiguousNameError: if several do.
        UnknownNameError: if none does.
    """
    if name in known:
        return name
    matching = [model_id for model_id in known if model_id.startswith(f"{name}-")]
    if not matching:
        raise UnknownNameError(kind, name=name, known=known)
    if len(matching) > 1:
        raise AmbiguousNameError(kind, name=name, candidates=matching)
    return matching[0]


def scratch_card(target: Task) -> ModelCard:
    """Returns the card of the model without weights for the target's modality and shape."""
    return _scratch_card(target.modality, target.shape if target.modality is Modality.TABULAR else ())


def save_model(folder: Path, *, card: ModelCard, model: StagedModel) -> ModelCard:
    """Makes a model durable at `folder` and returns its card with the weights' file name and checksum."""
    tensors = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    complete = dataclasses.replace(card, weights=WEIGHTS, weights_sha256=sha256(tensor_bytes(tensors)))
    write_checkpoint(folder, tensors=tensors, meta=codec.to_json(complete))
    return complete


def load_weights(model: StagedModel, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Copies `tensors` into `model`, all of them and nothing else.

    Raises:
        UnsafeFileError: if a name is missing, too many, or has another shape, listing the first of them.
    """
    expected = model.state_dict()
    wrong = [f"{name} is missing" for name in expected if name not in tensors]
    wrong += [f"{name} is not in the model" for name in tensors if name not in expected]
    wrong += [
        f"{name} is {tuple(tensors[name].shape)}, expected {tuple(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if wrong:
        shown = "; ".join(wrong[:10])
        raise UnsafeFileError(f"{where}: weights of another architecture ({shown}); choose a checkpoint of this model")
    model.load_state_dict(dict(tensors))


def _architecture(name: str) -> Architecture:
    return cast(Architecture, plugins.load(plugins.MODELS, name=name))


@functools.cache
def _scratch_card(modality: Modality, shape: tuple[int, ...]) -> ModelCard:
    name = SCRATCH_ARCHITECTURE.get(modality)
    if name is None:
        raise DataError(f"no architecture for {modality} tasks; known: {', '.join(SCRATCH_ARCHITECTURE)}")
    return _architecture(name).card(input_shape=shape)


@functools.lru_cache(maxsize=32)
def _tensors(path: Path, digest: str | None) -> Mapping[str, Tensor]:
    tensors, _ = read_checkpoint(path)
    if digest is not None and sha256(tensor_bytes(tensors)) != digest:
        raise UnsafeFileError(f"{path}: the weights are not those of the card; train or fetch the model again")
    return tensors


@functools.lru_cache(maxsize=256)
def _parse_card(path: Path, modified_ns: int) -> ModelCard:
    try:
        return codec.from_json(ModelCard, json.loads((path / META).read_text()), where=str(path / META))
    except ValueError as error:
        raise UnsafeFileError(
            f"{path / META}: not a model card ({error}); remove the folder or fetch it again"
        ) from error


def _read_card(path: Path) -> ModelCard:
    return _parse_card(path, (path / META).stat().st_mtime_ns)
