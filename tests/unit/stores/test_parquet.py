import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transmeta.core import codec
from transmeta.core.plan import Precision
from transmeta.core.task import Direction, Metric
from transmeta.core.trial import TrialStatus
from transmeta.errors import ConfigError, InputError, UnsafeFileError
from transmeta.stores.parquet import export_table, import_experience, read_table
from transmeta.testing.store_cases import example_experience, example_spec, example_task


@pytest.fixture
def path(tmp_path):
    return tmp_path / "table.parquet"


def rows_of(path):
    return pq.read_table(path).to_pylist()


def export_forged(path, **changes):
    """Writes one good trial, with some of its cells replaced."""
    export_table([example_experience()], path)
    table = pq.read_table(path)
    for name, value in changes.items():
        first_only = [value] + [None] * (table.num_rows - 1) if name == "payload" else [value] * table.num_rows
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(first_only, pa.string()))
    pq.write_table(table, path)
    return path


def payload_with(text, replacement):
    payload = codec.dumps(example_experience())
    assert text in payload
    return payload.replace(text, replacement)


def test_a_table_without_payloads_reads_as_the_one_with_them_and_holds_no_trials(path, tmp_path):
    rows = [example_experience()]
    export_table(rows, path)
    bare = tmp_path / "bare.parquet"

    export_table(rows, bare, has_payload=False)

    assert pq.read_table(bare).equals(pq.read_table(path).drop_columns(["payload"]))
    with pytest.raises(ConfigError, match="payload"):
        import_experience(bare)


def test_every_trial_that_says_something_comes_back_equal(path):
    rows = [
        example_experience(example_spec(seed=seed), status=status, epochs=epochs, reason="naïve\0\n")
        for seed, (status, epochs) in enumerate(
            [
                (TrialStatus.COMPLETED, 3),
                (TrialStatus.FAILED, 2),
                (TrialStatus.FAILED, 0),
                (TrialStatus.STOPPED, 1),
                (TrialStatus.STOPPED, 0),
            ]
        )
    ]
    crashed = example_experience(example_spec(seed=9), status=TrialStatus.CRASHED, epochs=0)

    count = export_table([*rows, crashed], path)

    assert count == len(rows)
    assert list(import_experience(path)) == rows


def test_nothing_is_exported_and_imported_as_nothing(path):
    assert export_table([], path) == 0
    assert import_experience(path) == ()


def test_a_row_is_a_step_with_its_own_cost(path):
    row = example_experience()
    export_table([row], path)

    steps = rows_of(path)

    assert [step["step"] for step in steps] == [1, 2, 3]
    assert [step["value"] for step in steps] == [m.value for m in row.result.curve]
    # Three epochs of 0.5 s, and 0.25 s for the rest of the trial.
    assert [step["cost_s"] for step in steps] == pytest.approx([0.5, 0.5, 0.75])
    assert [step["test_value"] for step in steps] == [None, None, 0.55]
    assert [step["payload"] is None for step in steps] == [False, True, True]
    assert {step["config"] for step in steps} == {row.arm.key}
    assert {(step["source"], step["strategy"], step["family"], step["domain"]) for step in steps} == {
        ("glyphs-latn", "lora", "glyphs-grek", "scripts")
    }
    assert {(step["param.rank"], step["param.learning_rate"]) for step in steps} == {(4, 1e-3)}
    assert {(step["feature.logme"], step["target_feature.class_count"]) for step in steps} == {(0.31, 24.0)}


def test_values_are_higher_for_better_whatever_the_metric(path):
    loss = Metric(name="loss", direction=Direction.MINIMISE)
    row = example_experience(example_spec(target=dataclasses.replace(example_task(), metric=loss)))
    export_table([row], path)

    steps = rows_of(path)

    assert [step["value"] for step in steps] == [-m.value for m in row.result.curve]
    assert steps[-1]["test_value"] == -0.55


def test_a_failed_trial_ends_in_a_step_without_value_that_carries_the_rest_of_its_cost(path):
    export_table([example_experience(status=TrialStatus.FAILED, epochs=2)], path)

    steps = rows_of(path)

    assert [step["step"] for step in steps] == [1, 2, 3]
    assert np.isnan(steps[-1]["value"])
    assert [step["cost_s"] for step in steps] == pytest.approx([0.5, 0.5, 0.25])


def test_hyperparameters_of_mixed_types_are_written_as_text_and_those_of_one_type_as_they_are(path):
    params = [
        {"cut": 1, "rate": 0.1, "norm": True, "mixed": 1, "huge": 2**70},
        {"cut": 2, "rate": 1, "norm": False, "mixed": "all", "huge": 1},
        {},
    ]
    export_table([example_experience(example_spec(params=item)) for item in params], path)

    schema = pq.read_schema(path)
    table = read_table(path)

    assert [str(schema.field(f"param.{name}").type) for name in ("cut", "rate", "norm", "mixed")] == [
        "int64",
        "double",
        "bool",
        "string",
    ]
    assert {"cut": 2, "rate": 1.0, "norm": False, "mixed": "all", "huge": "1"} in table.params
    assert {} in table.params


def test_trials_of_other_arms_and_targets_become_a_table(path):
    greek, thai = example_task("glyphs-grek"), example_task("glyphs-thai")
    export_table(
        [
            example_experience(example_spec(target=greek, params={"rank": 1})),
            example_experience(example_spec(target=thai, params={"rank": 1}), status=TrialStatus.STOPPED, epochs=1),
            example_experience(
                example_spec(target=greek, source="icons", params={"rank": 2}), status=TrialStatus.FAILED, epochs=1
            ),
        ],
        path,
    )

    table = read_table(path)

    assert table.targets == (greek.id, thai.id)
    assert table.families == ("glyphs-grek", "glyphs-thai")
    assert table.domains == ("scripts", "scripts")
    assert table.sources == ("glyphs-latn", "icons")
    assert table.strategies == ("lora", "lora")
    assert table.params == ({"rank": 1}, {"rank": 2})
    assert table.observed.tolist() == [[True, True], [True, False]]
    assert table.failed.tolist() == [[False, True], [False, False]]
    assert table.censored.tolist() == [[False, False], [True, False]]
    assert table.values.shape == (2, 2, 3)
    assert table.pair_features["logme"][0, 0] == 0.31
    assert np.isnan(table.pair_features["logme"][1, 1])
    assert table.target_features["class_count"].tolist() == [24.0, 24.0]


def test_an_arm_in_another_precision_is_another_configuration_and_comes_back_equal(path):
    spec = example_spec(seed=0)
    rows = [example_experience(spec), example_experience(dataclasses.replace(spec, precision=Precision.BFLOAT16))]

    export_table(rows, path)

    assert read_table(path).configs == (spec.arm.key, f"{spec.arm.key}|bfloat16")
    assert sorted(import_experience(path), key=lambda row: row.id) == sorted(rows, key=lambda row: row.id)


def test_a_file_is_replaced_whole_or_not_at_all(path, monkeypatch):
    export_table([example_experience()], path)
    before = path.read_bytes()

    def fail(*arguments, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(InputError, match="No space left"):
        export_table([], path)

    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_trial_that_is_there_twice_is_not_exported(path):
    with pytest.raises(InputError, match="there twice"):
        export_table([example_experience(), example_experience()], path)


def test_a_trial_that_is_there_twice_is_not_imported(path):
    export_table([example_experience()], path)
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table]), path)

    with pytest.raises(ConfigError, match=r"row 4: trial .* is there twice"):
        import_experience(path)


def test_a_trial_whose_spec_was_changed_is_refused(path):
    export_forged(path, payload=payload_with('"seed":0,"strategy"', '"seed":1,"strategy"'))

    with pytest.raises(UnsafeFileError, match=r"row 1: called '.*', but its spec is that of") as caught:
        import_experience(path)

    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("[" * 100_000, "row 1"),
        ("{}", "the key 'result' is missing"),
        ("9" * 5000, "row 1"),
        (payload_with('"score":0.6', '"score":NaN'), "nan"),
        (payload_with('"score":0.6', '"score":1e999'), "inf"),
        (payload_with('"score":0.6', '"score":99.0'), "an accuracy lies outside 0 to 1"),
        (payload_with('"score":0.6', '"scores":0.6'), "unknown key 'scores'; did you mean 'score'"),
        (payload_with('"schema":1,"target_features"', '"schema":2,"target_features"'), "written by a newer transmeta"),
        (payload_with('"cost_s":1.75', '"cost_s":-1.75'), "a cost is negative"),
        (payload_with('"source":"glyphs-latn"', '"source":"\\u202egnp.exe"'), "the source is"),
        (payload_with('"name":"glyphs-grek"', '"name":"../../etc/x"'), "use 1 to 96 letters"),
        (payload_with('"class_count":24,', '"class_count":24,"class_count":1,'), "at least 2 are needed"),
    ],
)
def test_a_trial_that_cannot_be_true_is_refused_with_its_row(path, payload, message):
    export_forged(path, payload=payload)

    with pytest.raises(ConfigError, match="row 1") as caught:
        import_experience(path)

    assert message in str(caught.value)


def test_a_table_without_trials_cannot_be_imported(path):
    pq.write_table(pa.table({"target": ["t"], "config": ["c"], "step": [1], "value": [0.5], "cost_s": [1.0]}), path)

    with pytest.raises(ConfigError, match="no column trial, payload"):
        import_experience(path)


def test_the_payload_is_the_canonical_text_of_the_trial(path):
    row = example_experience()
    export_table([row], path)

    payload = rows_of(path)[0]["payload"]

    assert payload == codec.dumps(row)
    assert json.loads(payload)["provenance"]["run"] == "example"
