import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transmeta.core.task import ACCURACY, Direction, Metric, Modality, Task, check_identifier, params_key
from transmeta.errors import InputError

TASK = Task(
    name="glyphs-grek",
    provider="glyphs",
    params={"script": "grek"},
    dataset="glyphs-grek",
    domain="scripts",
    modality=Modality.IMAGE,
    shape=(32, 32, 1),
    class_count=24,
    fingerprint="0123456789abcdef",
)


def test_the_id_says_name_shots_seed_and_data():
    few = dataclasses.replace(TASK, shots=10, seed=3)

    assert TASK.id == "glyphs-grek.all.s0.01234567"
    assert few.id == "glyphs-grek.k10.s3.01234567"


def test_changed_data_is_another_task():
    assert dataclasses.replace(TASK, fingerprint="f" * 16).id != TASK.id


def test_a_task_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TASK.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize("count", [-1, 0, 1])
def test_fewer_than_two_classes_are_refused(count):
    with pytest.raises(InputError, match=f"task glyphs-grek: {count} class"):
        dataclasses.replace(TASK, class_count=count)


@pytest.mark.parametrize("shots", [-3, 0])
def test_fewer_than_one_shot_is_refused(shots):
    with pytest.raises(InputError, match=f"{shots} shots; give 1 or more, or leave it out"):
        dataclasses.replace(TASK, shots=shots)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-rf", "a/b", "a\\b", "a b", "é", "a\n", "a" * 97, "a\0b"])
def test_a_name_that_is_not_safe_in_a_path_is_refused(name):
    with pytest.raises(InputError, match=r"task name .*: use 1 to 96 letters"):
        dataclasses.replace(TASK, name=name)


def test_a_long_name_is_shown_by_its_head_only():
    with pytest.raises(InputError) as caught:
        check_identifier("x" * 10_000, kind="run")

    assert len(str(caught.value)) < 200


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", fullmatch=True))
def test_a_safe_name_is_returned_unchanged(name):
    assert check_identifier(name, kind="name") == name


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_utility_is_higher_where_the_metric_is_better(a, b):
    loss = Metric(name="log_loss", direction=Direction.MINIMISE)

    assert (ACCURACY.utility(a) > ACCURACY.utility(b)) == (a > b)
    assert (loss.utility(a) > loss.utility(b)) == (a < b)


def test_the_key_of_parameters_does_not_depend_on_their_order():
    assert params_key({"b": 1, "a": 0.5}) == params_key({"a": 0.5, "b": 1}) == '{"a":0.5,"b":1}'
