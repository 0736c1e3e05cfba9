import dataclasses

import pytest

from transmeta.core.task import Direction, Metric
from transmeta.core.trial import TrialStatus
from transmeta.stores.checks import fault_of
from transmeta.testing.store_cases import example_experience, example_spec, example_task


def changed(row, **values):
    return dataclasses.replace(row, result=dataclasses.replace(row.result, **values))


def with_measurement(row, **values):
    last = dataclasses.replace(row.result.curve[-1], **values)
    return changed(row, curve=(*row.result.curve[:-1], last))


@pytest.mark.parametrize("status", list(TrialStatus))
def test_rows_as_runs_append_them_have_no_fault(status):
    assert fault_of(example_experience(status=status)) is None


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (changed(example_experience(), cost_s=-1.0), "a cost is negative"),
        (with_measurement(example_experience(), cost_s=0.1), "the cost goes down"),
        (with_measurement(example_experience(), epoch=2), "out of order"),
        (with_measurement(example_experience(), progress=1.5), "outside the trial"),
        (changed(example_experience(), score=None), "no score"),
        (changed(example_experience(), score=float("inf")), "not finite"),
        (changed(example_experience(), test_score=1.01), "an accuracy lies outside"),
        (with_measurement(example_experience(), value=-0.1), "an accuracy lies outside"),
    ],
)
def test_a_row_that_cannot_be_true_is_named(row, fault):
    assert fault in fault_of(row)


def test_only_accuracies_are_bounded():
    loss = Metric(name="loss", direction=Direction.MINIMISE)
    spec = example_spec(target=dataclasses.replace(example_task(), metric=loss))

    assert fault_of(changed(example_experience(spec), score=3.5)) is None
