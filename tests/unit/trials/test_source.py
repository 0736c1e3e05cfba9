import dataclasses
import shutil

import numpy as np
import pytest

from transmeta.core import codec
from transmeta.core.model import TrainedOn
from transmeta.core.plan import OptimiserPlan
from transmeta.core.task import Modality, Task
from transmeta.errors import DataError, InputError, UnknownNameError
from transmeta.models.library import ModelLibrary
from transmeta.training.data import Split, TaskData
from transmeta.trials import source as module
from transmeta.trials.describe import source_outputs
from transmeta.trials.source import SourceSpec, merged, open_source_training

NUMBERS = OptimiserPlan(learning_rate=3e-3, epochs=2)


def spec_on(*tasks: Task, **changes: object) -> SourceSpec:
    values = {"name": "digits", "architecture": "small_cnn", "tasks": tasks, "optimiser": NUMBERS} | changes
    return SourceSpec(**values)  # type: ignore[arg-type]


def table(name: str = "wine", columns: int = 3) -> Task:
    return Task(
        name=name,
        provider="arrays",
        params={},
        dataset=name,
        domain="tables",
        modality=Modality.TABULAR,
        shape=(columns,),
        class_count=2,
        fingerprint="0" * 16,
    )


def part(*, classes: int, shape: tuple[int, ...], value: int, dtype: type = np.uint8) -> TaskData:
    y = np.arange(2 * classes, dtype=np.int64) % classes
    split = Split(x=np.full((len(y), *shape), value, dtype=dtype), y=y)
    return TaskData(
        train=split, validation=split, test=split, class_names=tuple(f"{value}-{i}" for i in range(classes))
    )


# The spec


def test_the_id_of_a_model_says_its_name_and_changes_with_whatever_changes_its_weights(digits):
    spec = spec_on(digits)
    others = [
        spec_on(digits, seed=1),
        spec_on(digits, augment_shift=0),
        spec_on(digits, optimiser=dataclasses.replace(NUMBERS, epochs=3)),
        spec_on(dataclasses.replace(digits, seed=1)),
        spec_on(digits, architecture="other"),
    ]

    assert spec.model_id == f"digits-{spec.digest[:8]}"
    assert len({spec.model_id, *(other.model_id for other in others)}) == 6


def test_the_id_of_a_model_is_the_same_on_a_worker_that_was_told_of_it_as_json(digits):
    spec = spec_on(digits, optimiser=OptimiserPlan(learning_rate=1, epochs=2, head_multiplier=3))

    assert codec.loads(SourceSpec, codec.dumps(spec)).model_id == spec.model_id


def test_a_source_without_tasks_is_refused():
    with pytest.raises(DataError, match="source digits: no tasks; name at least one"):
        spec_on()


@pytest.mark.parametrize("other", [table(columns=32), "larger"], ids=["a table", "larger images"])
def test_tasks_of_other_sizes_cannot_be_mixed(other, digits):
    other = dataclasses.replace(digits, shape=(64, 64, 1)) if other == "larger" else other

    with pytest.raises(DataError, match=r"tasks of different sizes .* train one model for each"):
        spec_on(digits, other)


def test_tables_of_other_widths_cannot_be_mixed():
    with pytest.raises(DataError, match="tasks of different sizes"):
        spec_on(table(columns=3), table("iris", columns=4))


def test_grey_and_colour_images_can_be_mixed(digits):
    assert len(spec_on(digits, dataclasses.replace(digits, shape=(32, 32, 3))).tasks) == 2


def test_a_name_that_is_not_safe_in_a_path_is_refused(digits):
    with pytest.raises(InputError, match="model name"):
        spec_on(digits, name="../x")


# Merging


def test_the_classes_of_each_part_follow_those_of_the_part_before():
    both = merged([part(classes=2, shape=(4, 4, 1), value=1), part(classes=3, shape=(4, 4, 1), value=2)])

    assert both.class_names == ("1-0", "1-1", "2-0", "2-1", "2-2")
    for split in (both.train, both.validation, both.test):
        assert split.y.tolist() == [0, 1, 0, 1, 2, 3, 4, 2, 3, 4]
        assert split.y.dtype == np.int64
        assert split.x[:, 0, 0, 0].tolist() == [1] * 4 + [2] * 6


def test_grey_images_beside_colour_ones_get_three_channels():
    both = merged([part(classes=2, shape=(4, 4, 1), value=1), part(classes=2, shape=(4, 4, 3), value=2)])

    assert both.train.x.shape == (8, 4, 4, 3)
    assert both.train.x.dtype == np.uint8
    assert both.train.x[0].max() == both.train.x[0].min() == 1


def test_tables_are_merged_as_they_are():
    both = merged(
        [part(classes=2, shape=(1,), value=1, dtype=np.float32), part(classes=2, shape=(1,), value=2, dtype=np.float32)]
    )

    assert both.train.x.shape == (8, 1)
    assert both.train.x.dtype == np.float32


# Training


def test_a_source_is_trained_from_random_weights_on_all_its_tasks(digits, digits_data):
    training = open_source_training(spec_on(digits, digits))

    assert len(training.data.train) == 2 * len(digits_data.train)
    assert training.card.class_count == training.planned.model.head.out_features == 20
    assert training.planned.plan.trainable == (0, 1, 2, 3)
    assert training.planned.plan.augment_shift == 2
    assert not training.planned.frozen


def test_a_table_is_never_shifted(monkeypatch):
    monkeypatch.setattr(module, "load_task", lambda task: part(classes=2, shape=(3,), value=1, dtype=np.float32))

    training = open_source_training(spec_on(table(), architecture="mlp"))

    assert training.planned.plan.augment_shift == 0
    assert training.card.input_shape == (3,)
    assert training.fit.advance().epoch == 1


def test_the_weights_depend_on_the_spec_alone(digits):
    def first_weight(seed: int) -> list[float]:
        training = open_source_training(spec_on(digits, seed=seed))
        return training.planned.model.stages[0][0].weight.flatten().tolist()

    assert first_weight(0) == first_weight(0) != first_weight(1)


def test_an_architecture_that_is_not_installed_is_refused_with_the_nearest_one(digits):
    with pytest.raises(UnknownNameError, match=r"unknown model 'smal_cnn'; did you mean 'small_cnn'\?"):
        open_source_training(spec_on(digits, architecture="smal_cnn"))


def test_a_saved_source_is_found_with_its_score_its_statistics_and_what_it_has_seen(digits, digits_data, tmp_path):
    training = open_source_training(spec_on(digits))
    report = training.fit.advance()

    card = training.save(tmp_path, score=report.value)

    library = ModelLibrary([tmp_path])
    assert library.cards()[card.id] == card
    assert card.id == spec_on(digits).model_id
    assert card.score == round(report.value, 6)
    assert card.trained_on == (TrainedOn(dataset="digits", domain="digits"),)
    assert card.note == "2 epochs on digits"
    assert not card.is_allowed_for(digits)
    features, _ = source_outputs(library.load(card), digits_data.train.x, card=card)
    assert np.array(card.feature_mean) == pytest.approx(features.mean(axis=0), abs=1e-4)
    assert np.array(card.feature_std) == pytest.approx(features.std(axis=0), abs=1e-4)


def test_what_a_killed_writer_leaves_is_not_offered(digits, models, greek, tmp_path):
    shutil.copytree(models / greek.id, tmp_path / f".{greek.id}.k3y9x1")

    assert ModelLibrary([tmp_path]).cards() == ModelLibrary().cards()


def test_the_statistics_of_a_large_source_are_those_of_a_sample(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FEATURE_EXAMPLES", 10)
    training = open_source_training(spec_on(digits))

    card = training.save(tmp_path, score=0.5)

    features, _ = source_outputs(training.planned.model, training.data.train.x[::3], card=card)
    assert np.array(card.feature_mean) == pytest.approx(features.mean(axis=0), abs=1e-4)
