"""Models are found, offered, saved and loaded; what is damaged, foreign or could run code is refused."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch

from transmeta.core import codec
from transmeta.core.task import Modality
from transmeta.errors import AmbiguousNameError, UnknownNameError, UnsafeFileError
from transmeta.models.library import ModelLibrary, load_weights, save_model, scratch_card
from transmeta.models.mlp import Mlp
from transmeta.training.checkpoint import write_checkpoint
from transmeta.training.staged import prepare

from .cases import images, saved, small_card, small_model, target


def test_a_saved_model_comes_back_with_its_numbers(tmp_path: Path):
    card = saved(tmp_path, small_card(), seed=3)
    x = prepare(images(2, side=32), card=card)

    loaded = ModelLibrary([tmp_path]).load(card).eval()

    assert loaded(x).equal(small_model(seed=3)(x))


def test_a_saved_card_states_the_checksum_and_comes_back_whole(tmp_path: Path):
    card = saved(tmp_path, small_card())

    assert card.is_pretrained
    assert card.weights_sha256 == hashlib.sha256((tmp_path / card.id / "weights.safetensors").read_bytes()).hexdigest()
    assert ModelLibrary([tmp_path]).cards()[card.id] == card


def test_the_library_saves_into_its_last_folder(tmp_path: Path):
    library = ModelLibrary([tmp_path / "theirs", tmp_path / "ours"])

    card = library.save(small_card(), small_model())

    assert (tmp_path / "ours" / card.id).is_dir()
    assert not (tmp_path / "theirs").exists()


def test_two_loads_share_nothing(tmp_path: Path):
    card = saved(tmp_path, small_card())
    library = ModelLibrary([tmp_path])

    first, second = library.load(card), library.load(card)
    with torch.no_grad():
        first.head.weight.zero_()

    assert second.head.weight.any()
    assert library.load(card).head.weight.equal(second.head.weight)


def test_a_later_folder_wins(tmp_path: Path):
    saved(tmp_path / "a", small_card(), seed=1)
    later = saved(tmp_path / "b", small_card(), seed=2)

    assert ModelLibrary([tmp_path / "a", tmp_path / "b"]).cards()[later.id] == later


def test_the_start_of_an_id_is_enough_where_one_model_has_it(tmp_path: Path):
    saved(tmp_path, small_card("latin-1f2e3d4c"))
    saved(tmp_path, small_card("icons-11111111"))
    saved(tmp_path, small_card("icons-22222222"))
    library = ModelLibrary([tmp_path])

    assert library.card("latin", target=target()).id == "latin-1f2e3d4c"
    with pytest.raises(AmbiguousNameError, match=r"ambiguous model 'icons'; .* icons-11111111, icons-22222222"):
        library.card("icons", target=target())


def test_an_unknown_model_is_refused_with_the_nearest_name(tmp_path: Path):
    saved(tmp_path, small_card("latin-1f2e3d4c"))

    with pytest.raises(UnknownNameError, match="did you mean 'latin-1f2e3d4c'"):
        ModelLibrary([tmp_path]).card("latin-1f2e3d4", target=target())


def test_scratch_is_the_small_model_of_the_targets_kind():
    library = ModelLibrary()

    assert library.card("scratch", target=target()).id == "scratch-small_cnn"
    assert library.card("scratch", target=target(modality=Modality.TABULAR)).id == "scratch-mlp-20"


def test_weights_without_a_source_are_drawn_the_same_each_time():
    library = ModelLibrary()
    card = scratch_card(target())

    first, second = library.load(card).state_dict(), library.load(card).state_dict()

    assert all(second[name].equal(value) for name, value in first.items())
    assert first["stages.0.0.weight"].any()


def test_a_checkpoint_is_never_offered_for_a_data_set_that_it_has_seen(tmp_path: Path):
    saved(tmp_path, small_card("birds-1f2e3d4c", seen="birds"))
    saved(tmp_path, small_card("latin-1f2e3d4c", seen="latin"))

    offered = [card.id for card in ModelLibrary([tmp_path]).candidates(target(dataset="birds"))]

    assert "birds-1f2e3d4c" not in offered
    assert "latin-1f2e3d4c" in offered
    assert offered[-1] == "scratch-small_cnn"


def test_a_checkpoint_is_never_offered_for_another_kind_of_data(tmp_path: Path):
    saved(tmp_path, small_card())

    offered = ModelLibrary([tmp_path]).candidates(target(modality=Modality.TABULAR))

    assert all(card.modality is Modality.TABULAR for card in offered)


def test_weights_of_another_architecture_are_refused_with_the_first_wrong_names(tmp_path: Path):
    card = dataclasses.replace(small_card(), architecture="resnet20")
    card = save_model(tmp_path / card.id, card=card, model=small_model())

    with pytest.raises(UnsafeFileError, match=r"another architecture \(stages\.0\.conv1\.weight is missing; "):
        ModelLibrary([tmp_path]).load(card)


def test_weights_of_another_shape_are_refused_with_both_shapes():
    wide, narrow = (Mlp().build(Mlp().card(input_shape=(columns,))) for columns in (30, 7))

    with pytest.raises(UnsafeFileError, match=r"here: .*stages\.0\.0\.weight is \(128, 7\), expected \(128, 30\)"):
        load_weights(wide, narrow.state_dict(), where="here")


def test_damaged_weights_are_refused(tmp_path: Path):
    card = saved(tmp_path, small_card())
    path = tmp_path / card.id / "weights.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)

    with pytest.raises(UnsafeFileError, match=r"weights\.safetensors: differs from its manifest"):
        ModelLibrary([tmp_path]).load(card)


def test_weights_that_are_whole_but_not_the_cards_are_refused(tmp_path: Path):
    card = saved(tmp_path, small_card(), seed=1)
    write_checkpoint(tmp_path / card.id, tensors=small_model(seed=2).state_dict(), meta=codec.to_json(card))

    with pytest.raises(UnsafeFileError, match="not those of the card"):
        ModelLibrary([tmp_path]).load(card)


def test_a_pickled_checkpoint_is_refused_even_where_its_manifest_agrees(tmp_path: Path):
    card = saved(tmp_path, small_card())
    folder = tmp_path / card.id
    torch.save(small_model().state_dict(), folder / "weights.safetensors")
    files = {name: {"sha256": digest(folder / name)} for name in ("weights.safetensors", "meta.json")}
    (folder / "MANIFEST.json").write_text(json.dumps({"schema": 1, "files": files}))

    with pytest.raises(UnsafeFileError, match="pickle"):
        ModelLibrary([tmp_path]).load(card)


def test_a_card_that_is_not_one_is_refused_with_its_path(tmp_path: Path):
    card = saved(tmp_path, small_card())
    (tmp_path / card.id / "meta.json").write_text('{"id": "latin-1f2e3d4c"}')

    with pytest.raises(UnsafeFileError, match=r"meta\.json: not a model card"):
        ModelLibrary([tmp_path]).cards()


def test_a_folder_that_is_not_there_holds_no_models(tmp_path: Path):
    assert ModelLibrary([tmp_path / "none"]).cards() == ModelLibrary().cards()


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
