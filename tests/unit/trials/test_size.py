from pathlib import Path

import pytest

from transmeta.core.task import Task
from transmeta.core.trial import Arm
from transmeta.models.library import ModelLibrary
from transmeta.strategies.catalogue import default_spec
from transmeta.trials.size import SizeBook


@pytest.fixture
def book(models: Path, digits: Task) -> SizeBook:
    return SizeBook(ModelLibrary([models]), target=digits)


def test_a_probe_trains_its_head_alone_and_full_finetuning_everything(
    book: SizeBook, models: Path, digits: Task
) -> None:
    card = ModelLibrary([models]).card("greek", target=digits)
    probe, full = (
        book.size(Arm(source=card.id, strategy=default_spec(name, card))) for name in ("linear_probe", "full_finetune")
    )

    head = (card.feature_count + 1) * digits.class_count
    assert (probe.parameters, full.parameters) == (head, card.parameter_count + head)
    assert probe.macs == full.macs == sum(stage.macs for stage in card.stages) + card.feature_count * digits.class_count
    assert probe.memory_bytes < full.memory_bytes == 16 * full.parameters


def test_arms_of_equal_structure_are_built_once(book: SizeBook, models: Path, digits: Task) -> None:
    card = ModelLibrary([models]).card("greek", target=digits)
    spec = default_spec("linear_probe", card)
    other = type(spec)(name=spec.name, params={**spec.params, "learning_rate": 0.0123})

    assert book.size(Arm(source=card.id, strategy=spec)) is book.size(Arm(source=card.id, strategy=other))
