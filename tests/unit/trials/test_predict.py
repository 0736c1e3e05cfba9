import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from transmeta.core.task import Direction, Metric, Task
from transmeta.errors import UnknownNameError, UnsafeFileError
from transmeta.training.checkpoint import MANIFEST, META, WEIGHTS, read_checkpoint, sha256, write_checkpoint
from transmeta.trials.environment import Environment
from transmeta.trials.predict import AdaptedModel, copy_models

from .cases import run_to_end, spec_for


@pytest.fixture(scope="module")
def kept(models: Path, digits: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a probe on digits."""
    environment = Environment(model_folders=(str(models),), checkpoint_folder=str(tmp_path_factory.mktemp("kept")))
    _, result = run_to_end(spec_for("linear_probe", target=digits), environment)
    assert result.checkpoint is not None
    return Path(result.checkpoint)


@pytest.fixture(scope="module")
def kept_two(kept: Path, models: Path, digits: Task) -> tuple[Path, Path]:
    """The folders of the probe and of a fine-tuned model with an added part, for the same task."""
    environment = Environment(model_folders=(str(models),), checkpoint_folder=str(kept.parent))
    _, result = run_to_end(spec_for("side_tuning", target=digits), environment)
    assert result.checkpoint is not None
    return kept, Path(result.checkpoint)


def changed_meta(kept: Path, folder: Path, **values: object) -> Path:
    """A copy of the model whose meta holds `values`."""
    tensors, meta = read_checkpoint(kept)
    assert isinstance(meta, dict)
    write_checkpoint(folder, tensors=tensors, meta=meta | values)  # type: ignore[arg-type]
    return folder


def test_probabilities_are_those_of_as_many_classes_and_sum_to_one(kept, digits_data):
    probabilities = AdaptedModel.load(kept).probabilities(digits_data.test.x)

    assert probabilities.shape == (len(digits_data.test), 10)
    assert probabilities.min() >= 0
    assert probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-12)


def test_an_example_is_predicted_alike_alone_and_among_others(kept, digits_data):
    model, x = AdaptedModel.load(kept), np.concatenate([digits_data.test.x, digits_data.train.x])

    together = model.probabilities(x)

    assert len(x) > 256, "more than one chunk"
    for index in (0, 255, 256, len(x) - 1):
        assert model.probabilities(x[index : index + 1])[0] == pytest.approx(together[index], abs=1e-6)


def test_no_examples_have_no_predictions(kept, digits_data):
    assert AdaptedModel.load(kept).probabilities(digits_data.test.x[:0]).shape == (0, 10)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "log_loss"])
def test_a_score_is_that_of_scikit_learn(name, kept, digits_data):
    model = AdaptedModel.load(kept)
    probabilities = model.probabilities(digits_data.test.x)
    predicted, y = probabilities.argmax(axis=1), digits_data.test.y
    expected = {
        "accuracy": metrics.accuracy_score(y, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, predicted),
        "log_loss": metrics.log_loss(y, probabilities),
    }

    score = model.score(digits_data.test, metric=Metric(name=name, direction=Direction.MAXIMISE))

    assert score == pytest.approx(expected[name], rel=1e-9)


def test_a_model_knows_its_trial_its_source_and_its_classes(kept, digits):
    meta = AdaptedModel.load(kept).meta

    assert meta.spec == spec_for("linear_probe", target=digits)
    assert meta.card.id.startswith("greek-")
    assert meta.classes == tuple(str(digit) for digit in range(10))


def test_a_model_needs_neither_its_source_nor_the_data(kept, tmp_path, digits_data):
    moved = tmp_path / "elsewhere"
    shutil.copytree(kept, moved)

    first = AdaptedModel.load(moved).probabilities(digits_data.test.x[:5])

    assert np.array_equal(first, AdaptedModel.load(kept).probabilities(digits_data.test.x[:5]))


def test_a_copy_is_checked_and_predicts_the_same(kept, tmp_path, digits_data):
    copy_models([kept], to=tmp_path / "out" / "model")

    copied = AdaptedModel.load(tmp_path / "out" / "model")
    assert np.array_equal(
        copied.probabilities(digits_data.test.x[:5]), AdaptedModel.load(kept).probabilities(digits_data.test.x[:5])
    )


def test_a_damaged_model_is_not_copied(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "damaged")
    (tmp_path / "damaged" / WEIGHTS).write_bytes(b"")

    with pytest.raises(UnsafeFileError, match="differs from its manifest"):
        copy_models([tmp_path / "damaged"], to=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_several_models_answer_by_the_mean_of_their_probabilities(kept_two, digits_data, tmp_path):
    each = [AdaptedModel.load(folder).probabilities(digits_data.test.x) for folder in kept_two]

    copy_models(kept_two, to=tmp_path / "model")

    assert np.abs(each[0] - each[1]).max() > 0.01
    for model in (AdaptedModel.together(kept_two), AdaptedModel.load(tmp_path / "model")):
        assert model.probabilities(digits_data.test.x) == pytest.approx((each[0] + each[1]) / 2, abs=1e-12)
        assert model.meta == AdaptedModel.load(kept_two[0]).meta


def test_a_model_of_several_becomes_a_member_of_a_larger_one(kept_two, digits_data, tmp_path):
    copy_models(kept_two, to=tmp_path / "two")

    copy_models([tmp_path / "two", kept_two[0]], to=tmp_path / "three")

    expected = AdaptedModel.together([*kept_two, kept_two[0]]).probabilities(digits_data.test.x)
    assert np.array_equal(AdaptedModel.load(tmp_path / "three").probabilities(digits_data.test.x), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda meta: meta["members"].pop(), r"1\.\S+ belongs to none of 1 members"),
        (lambda meta: meta["members"].clear(), "0 members, which are not for one target"),
        (lambda meta: meta["members"][1].update(classes=["a"] * 10), "2 members, which are not for one target"),
        (lambda meta: meta["members"].reverse(), "weights of another architecture"),
    ],
)
def test_a_model_of_several_whose_description_was_changed_is_refused(change, message, kept_two, tmp_path):
    copy_models(kept_two, to=tmp_path / "model")
    _, meta = read_checkpoint(tmp_path / "model")
    changed = json.loads(json.dumps(meta))
    change(changed)

    with pytest.raises(UnsafeFileError, match=message):
        AdaptedModel.load(changed_meta(tmp_path / "model", tmp_path / "changed", **changed))


def test_a_source_model_is_not_a_fine_tuned_one(models):
    (source,) = models.iterdir()

    with pytest.raises(UnsafeFileError, match=r"not a fine-tuned model .* give the folder of `adapt --out`"):
        AdaptedModel.load(source)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"classes": ["0", "1"]}, UnsafeFileError, "weights of another architecture"),
        ({"classes": "0123456789"}, UnsafeFileError, "not a fine-tuned model"),
        ({"unknown": 1}, UnsafeFileError, "unknown key 'unknown'"),
        ({"spec": None}, UnsafeFileError, "not a fine-tuned model"),
    ],
)
def test_a_model_whose_description_was_changed_is_refused(values, error, message, kept, tmp_path):
    with pytest.raises(error, match=message):
        AdaptedModel.load(changed_meta(kept, tmp_path / "model", **values))


def test_a_strategy_that_is_no_longer_installed_is_named(kept, tmp_path):
    _, meta = read_checkpoint(kept)
    spec = json.loads(json.dumps(meta))["spec"] | {"strategy": {"name": "linear_prob", "params": {}}}

    with pytest.raises(UnknownNameError, match=r"unknown strategy 'linear_prob'; did you mean 'linear_probe'\?"):
        AdaptedModel.load(changed_meta(kept, tmp_path / "model", spec=spec))


def test_a_plan_that_does_not_fit_its_card_is_refused(kept, tmp_path):
    """Only a forged description can ask for that; it must not pass for a trial that failed."""
    _, meta = read_checkpoint(kept)
    forged = json.loads(json.dumps(meta))
    stage = forged["card"]["stages"][0]
    forged["card"]["stages"] = [stage] * 9
    forged["spec"]["strategy"] = {"name": "surgical", "params": {"stage": 7}}

    with pytest.raises(UnsafeFileError, match="not a fine-tuned model"):
        AdaptedModel.load(changed_meta(kept, tmp_path / "model", card=forged["card"], spec=forged["spec"]))


def test_meta_that_is_not_json_is_refused(kept, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(kept, folder)
    (folder / META).write_bytes(b"{")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][META]["sha256"] = sha256(b"{")
    (folder / MANIFEST).write_text(json.dumps(manifest))

    with pytest.raises(UnsafeFileError, match="not JSON"):
        AdaptedModel.load(folder)
