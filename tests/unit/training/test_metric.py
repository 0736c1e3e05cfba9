import numpy as np
import pytest
import torch
from sklearn import metrics

from transmeta.core.task import Direction, Metric
from transmeta.errors import UnknownNameError
from transmeta.training.metric import evaluate


def measure(name: str, logits: torch.Tensor, labels: torch.Tensor) -> float:
    return evaluate(Metric(name=name, direction=Direction.MAXIMISE), logits=logits, labels=labels)


@pytest.fixture(params=range(4))
def case(request: pytest.FixtureRequest) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of 6 classes in unequal numbers, the last one of which never occurs."""
    rng = np.random.default_rng(request.param)
    labels = rng.choice(5, size=97, p=[0.5, 0.3, 0.1, 0.05, 0.05])
    logits = rng.normal(size=(97, 6)) + 2 * np.eye(6)[labels]
    return torch.from_numpy(logits.astype(np.float32)), torch.from_numpy(labels)


def test_accuracy_is_scikit_learns(case):
    logits, labels = case

    assert measure("accuracy", logits, labels) == metrics.accuracy_score(labels, logits.argmax(dim=1))


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_balanced_accuracy_is_scikit_learns(case):
    logits, labels = case
    expected = metrics.balanced_accuracy_score(labels, logits.argmax(dim=1))

    assert measure("balanced_accuracy", logits, labels) == pytest.approx(expected, abs=1e-12)


def test_log_loss_is_scikit_learns(case):
    logits, labels = case
    probabilities = torch.softmax(logits.double(), dim=1).numpy()
    expected = metrics.log_loss(labels, probabilities, labels=range(6))

    assert measure("log_loss", logits, labels) == pytest.approx(expected, rel=1e-6)  # float32 logits


def test_an_unknown_metric_is_refused_with_the_nearest_one():
    with pytest.raises(UnknownNameError, match=r"unknown metric 'acuracy'; did you mean 'accuracy'\?"):
        measure("acuracy", torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))
