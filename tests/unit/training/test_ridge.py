import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.linear_model import Ridge, RidgeClassifier
from torch.nn import functional

from transmeta.errors import Diverged
from transmeta.training import ridge
from transmeta.training.ridge import RidgePath

PENALTIES = (1e-6, 1e-4, 1e-2, 1.0)
SHAPES = {"more examples": (60, 12), "more features": (15, 40), "square": (20, 20)}


def features(count: int, width: int, *, classes: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Overlapping classes away from the origin, on features of different sizes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = rng.normal(size=(classes, width))
    z = (centres[labels] + rng.normal(size=(count, width))) * np.geomspace(0.1, 10, width) + 5.0
    return torch.from_numpy(z.astype(np.float32)), torch.from_numpy(labels.astype(np.int64))


def targets(labels: torch.Tensor, *, classes: int = 3) -> np.ndarray:
    """±1, one against the rest."""
    return 2.0 * np.eye(classes)[labels.numpy()] - 1.0


def strength(z: np.ndarray, penalty: float) -> float:
    """The λ of a penalty."""
    return float(penalty * np.square(z - z.mean(axis=0)).sum())


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_head_has_the_coefficients_of_scikit_learns_ridge(shape, penalty):
    z, y = features(*SHAPES[shape])
    exact = z.double().numpy()
    reference = Ridge(alpha=strength(exact, penalty), solver="svd", tol=1e-12).fit(exact, targets(y))

    weight, bias = RidgePath(z, labels=y, class_count=3).head(penalty)

    assert weight.numpy() == pytest.approx(reference.coef_, abs=1e-8)
    assert bias.numpy() == pytest.approx(reference.intercept_, abs=1e-8)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_head_chooses_as_scikit_learns_ridge_classifier(classes):
    z, y = features(60, 12, classes=classes)
    exact = z.double().numpy()
    reference = RidgeClassifier(alpha=strength(exact, 0.01), solver="svd").fit(exact, y.numpy())

    weight, bias = RidgePath(z, labels=y, class_count=classes).head(0.01)

    outputs = exact @ weight.numpy().T + bias.numpy()
    assert (outputs.argmax(axis=1) == reference.predict(exact)).all()
    assert outputs[:, -1] == pytest.approx(reference.decision_function(exact).reshape(60, -1)[:, -1], abs=1e-8)


def test_many_examples_are_summed_in_chunks_to_the_same_head(monkeypatch):
    z, y = features(60, 12)
    whole = RidgePath(z, labels=y, class_count=3).head(0.01)
    monkeypatch.setattr(ridge, "CHUNK", 7)

    weight, bias = RidgePath(z, labels=y, class_count=3).head(0.01)

    assert weight.numpy() == pytest.approx(whole[0].numpy(), abs=1e-12)
    assert bias.numpy() == pytest.approx(whole[1].numpy(), abs=1e-12)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_a_penalty_means_the_same_for_features_of_any_size(factor):
    z, y = features(60, 12)
    weight, bias = RidgePath(z, labels=y, class_count=3).head(0.01)

    scaled, same = RidgePath(z.double() * factor, labels=y, class_count=3).head(0.01)

    assert scaled.numpy() * factor == pytest.approx(weight.numpy(), abs=1e-9)
    assert same.numpy() == pytest.approx(bias.numpy(), abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_left_out_is_predicted_as_by_a_head_without_it(shape):
    z, y = features(*SHAPES[shape])
    exact = z.double().numpy()
    alpha = strength(exact, 0.01)
    expected = []
    for index in range(len(y)):
        rest = np.arange(len(y)) != index
        model = Ridge(alpha=alpha, solver="svd").fit(exact[rest], targets(y)[rest])
        expected.append(model.predict(exact[index : index + 1])[0])

    left_out = RidgePath(z, labels=y, class_count=3).left_out(0.01)

    assert left_out.numpy() == pytest.approx(np.array(expected), abs=1e-8)


def test_only_some_rows_are_left_out_where_there_are_many(monkeypatch):
    z, y = features(60, 12)
    whole = RidgePath(z, labels=y, class_count=3).left_out(0.01)
    monkeypatch.setattr(ridge, "CALIBRATION_ROWS", 4)

    left_out = RidgePath(z, labels=y, class_count=3).left_out(0.01)

    assert left_out.numpy() == pytest.approx(whole[[0, 20, 39, 59]].numpy(), abs=1e-10)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_scale_has_the_least_softened_log_loss_on_what_is_left_out(shape, penalty):
    z, y = features(*SHAPES[shape])
    path = RidgePath(z, labels=y, class_count=3)
    outputs = path.left_out(penalty)
    soft = 1 / (len(y) + 1)

    def loss(log_scale: float) -> float:
        return float(functional.cross_entropy(np.exp(log_scale) * outputs, y, label_smoothing=soft))

    bound = np.log(ridge.SCALE_LIMIT)
    best = minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-9})
    assert path.scale(penalty) > 0
    assert loss(np.log(path.scale(penalty))) == pytest.approx(best.fun, abs=1e-6)


def test_separable_classes_get_a_finite_scale():
    y = torch.arange(20) % 2
    z = torch.nn.functional.one_hot(y).float()

    assert 1.0 < RidgePath(z, labels=y, class_count=2).scale(1e-6) < ridge.SCALE_LIMIT


def test_a_constant_feature_gets_no_weight():
    z, y = features(60, 12)
    z[:, 3], z[:, 5] = 0.0, 1e4 / 3

    weight, _ = RidgePath(z, labels=y, class_count=3).head(1e-6)
    without, _ = RidgePath(z[:, [i for i in range(12) if i not in (3, 5)]], labels=y, class_count=3).head(1e-6)

    assert (weight[:, [3, 5]] == 0).all()
    assert weight[:, [i for i in range(12) if i not in (3, 5)]].numpy() == pytest.approx(without.numpy(), abs=1e-10)


@pytest.mark.parametrize("count", [6, 30])
def test_constant_features_leave_the_frequencies_of_the_classes(count):
    y = torch.tensor([0, 0, 1] * (count // 3))

    path = RidgePath(torch.full((count, 8), 0.1), labels=y, class_count=3)

    weight, bias = path.head(1e-3)
    assert (weight == 0).all()
    assert bias.numpy() == pytest.approx(np.array([1 / 3, -1 / 3, -1.0]))
    assert path.scale(1e-3) > 0


def test_a_class_without_examples_is_never_chosen():
    z, y = features(60, 12)

    weight, bias = RidgePath(z, labels=y, class_count=4).head(1e-3)

    assert weight.shape == (4, 12)
    assert weight[3].numpy() == pytest.approx(np.zeros(12), abs=1e-9)
    assert float(bias[3]) == pytest.approx(-1.0)


@pytest.mark.parametrize("wrong", [np.inf, np.nan])
def test_features_that_are_not_finite_fail_the_trial(wrong):
    z, y = features(20, 12)
    z[3, 4] = wrong

    with pytest.raises(Diverged, match="features are not finite"):
        RidgePath(z, labels=y, class_count=3)


def test_the_memory_of_a_path_does_not_grow_with_the_examples():
    def path(count: int) -> RidgePath:
        z, y = features(count, 8)
        return RidgePath(z, labels=y, class_count=3)

    assert path(6000).memory_bytes - path(600).memory_bytes == 5400 * 8, "labels alone"
