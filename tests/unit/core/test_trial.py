import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transmeta.core.experience import Experience, Provenance
from transmeta.core.plan import Precision
from transmeta.core.task import Direction, Metric, Modality, Task, TaskPair
from transmeta.core.trial import Arm, Measurement, StrategySpec, TrialResult, TrialSpec, TrialStatus

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
    shots=10,
)
SPEC = TrialSpec(
    pair=TaskPair(source="latin-1a2b3c4d", target=TASK),
    strategy=StrategySpec(name="lora", params={"rank": 4, "learning_rate": 1e-3}),
    seed=0,
)


def measurements(epochs: int) -> list[Measurement]:
    ends = [e for e in range(1, epochs + 1) if e * 9 // epochs > (e - 1) * 9 // epochs]
    return [
        Measurement(
            epoch=end,
            progress=end / epochs,
            progress_before=before / epochs,
            value=0.5,
            train_loss=1.0,
            cost_s=1.0,
            wall_s=1.0,
        )
        for before, end in zip([0, *ends], ends, strict=False)
    ]


def test_the_id_of_a_spec_never_changes():
    """Stores are keyed by it: another value here means that no trial of any user is recognised any more."""
    assert SPEC.id == "06449fa642ea7a346cab"


def test_the_id_does_not_depend_on_the_order_of_parameters():
    swapped = dataclasses.replace(SPEC, strategy=StrategySpec(name="lora", params={"learning_rate": 1e-3, "rank": 4}))

    assert swapped.id == SPEC.id


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(SPEC, seed=1),
        dataclasses.replace(SPEC, pair=TaskPair(source="icons-1a2b3c4d", target=TASK)),
        dataclasses.replace(SPEC, pair=TaskPair(source=SPEC.pair.source, target=dataclasses.replace(TASK, seed=1))),
        dataclasses.replace(SPEC, strategy=StrategySpec(name="lora", params={"rank": 5, "learning_rate": 1e-3})),
        dataclasses.replace(SPEC, strategy=StrategySpec(name="l2_sp", params=SPEC.strategy.params)),
        dataclasses.replace(SPEC, schema=2),
        dataclasses.replace(SPEC, precision=Precision.BFLOAT16),
    ],
    ids=["seed", "source", "target", "params", "strategy", "schema", "precision"],
)
def test_whatever_changes_the_numbers_changes_the_id(other):
    assert other.id != SPEC.id


def test_the_arm_is_the_choice_without_target_and_seed():
    assert dataclasses.replace(SPEC, seed=7).arm == SPEC.arm == Arm(source="latin-1a2b3c4d", strategy=SPEC.strategy)
    assert SPEC.arm.key == 'latin-1a2b3c4d|lora|{"learning_rate":0.001,"rank":4}'
    assert SPEC.target is TASK


@given(st.integers(1, 500), st.sampled_from([1 / 9, 1 / 3, 2 / 9, 0.5, 1.0]))
def test_each_rung_is_reached_by_exactly_one_measurement(epochs, rung):
    reached = [m for m in measurements(epochs) if m.reaches(rung)]

    assert len(reached) == 1
    assert reached[0].progress >= rung


@given(st.integers(1, 60))
def test_where_nine_divides_the_epochs_the_usual_rungs_are_met_exactly(ninths):
    curve = measurements(9 * ninths)

    assert [m.progress for m in curve if m.reaches(1 / 9) or m.reaches(1 / 3)] == [1 / 9, 1 / 3]


def test_a_measurement_reaches_its_end_but_not_its_beginning():
    second = measurements(3)[1]

    assert second.reaches(second.progress)
    assert not second.reaches(second.progress_before)


def test_utility_turns_the_score_of_a_loss_around():
    loss = Metric(name="log_loss", direction=Direction.MINIMISE)
    spec = dataclasses.replace(SPEC, pair=TaskPair(source="s", target=dataclasses.replace(TASK, metric=loss)))

    assert TrialResult(spec=spec, status=TrialStatus.COMPLETED, score=0.3).utility == -0.3
    assert TrialResult(spec=SPEC, status=TrialStatus.COMPLETED, score=0.3).utility == 0.3
    assert TrialResult(spec=SPEC, status=TrialStatus.FAILED).utility is None


@pytest.mark.parametrize("status", TrialStatus)
def test_all_but_a_crash_is_a_lesson(status):
    row = Experience(
        result=TrialResult(spec=SPEC, status=status),
        target_features={},
        pair_features={},
        provenance=Provenance(version="0", run="r", executor="local", created_at="2026-01-01T00:00:00Z"),
    )

    assert row.is_lesson == (status is not TrialStatus.CRASHED)
    assert (row.id, row.arm) == (SPEC.id, SPEC.arm)
