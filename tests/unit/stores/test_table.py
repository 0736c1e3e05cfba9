import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transmeta.errors import ConfigError
from transmeta.stores.table import read_table


@pytest.fixture
def write(tmp_path):
    def write(file="table.parquet", /, **columns):
        path = tmp_path / file
        pq.write_table(pa.table(columns), path)
        return path

    return write


def curves(**more):
    """Two targets × two configurations, one of them tried on one target only, out of order."""
    return {
        "target": ["b", "a", "a", "a", "b"],
        "config": ["c1", "c2", "c1", "c1", "c1"],
        "step": [2, 1, 1, 2, 1],
        "value": [0.4, 0.9, 0.1, 0.2, 0.3],
        "cost_s": [2.0, 5.0, 1.0, 1.0, 2.0],
        **more,
    }


def test_rows_in_any_order_become_sorted_arrays(write):
    table = read_table(write(**curves()))

    assert table.targets == ("a", "b")
    assert table.configs == ("c1", "c2")
    np.testing.assert_array_equal(table.values, [[[0.1, 0.2], [0.9, np.nan]], [[0.3, 0.4], [np.nan, np.nan]]])
    np.testing.assert_array_equal(table.cost_s, [[[1.0, 1.0], [5.0, np.nan]], [[2.0, 2.0], [np.nan, np.nan]]])
    assert table.values.dtype == np.float64
    assert table.observed.tolist() == [[True, True], [True, False]]
    assert not table.failed.any()


def test_what_a_table_lacks_is_none_and_each_target_is_its_own_family(write):
    table = read_table(write(**curves()))

    assert table.families == table.targets
    assert table.test is table.domains is table.sources is table.strategies is None
    assert table.params == ({}, {})
    assert table.pair_features == table.target_features == {}


def test_arrays_are_read_only(write):
    table = read_table(write(**curves(test_value=[0.5] * 5)))

    for array in (table.values, table.cost_s, table.test, table.failed, table.censored):
        with pytest.raises(ValueError, match="read-only"):
            array.flat[0] = 0


def test_dictionaries_narrow_types_and_large_texts_are_read_like_plain_ones(write, tmp_path):
    plain = read_table(write(**curves()))
    columns = curves()
    pq.write_table(
        pa.table(
            {
                "target": pa.array(columns["target"]).dictionary_encode(),
                "config": pa.array(columns["config"], pa.large_string()),
                "step": pa.array(columns["step"], pa.int16()),
                "value": pa.array(columns["value"], pa.float64()),
                "cost_s": pa.array([2, 5, 1, 1, 2], pa.int8()),
            }
        ),
        tmp_path / "other.parquet",
    )

    other = read_table(tmp_path / "other.parquet")

    assert (other.targets, other.configs) == (plain.targets, plain.configs)
    np.testing.assert_array_equal(other.values, plain.values)
    np.testing.assert_array_equal(other.cost_s, plain.cost_s)


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_curve_that_ends_without_value_failed(write, nothing):
    table = read_table(write(**curves(value=[nothing, 0.9, nothing, 0.2, 0.3])))

    # Of the curve that diverged once and recovered, the end counts.
    assert table.failed.tolist() == [[False, False], [True, False]]
    np.testing.assert_array_equal(table.values[0, 0], [np.nan, 0.2])


def test_a_status_tells_failed_from_stopped_and_unmeasured(write):
    status = ["failed", "stopped", "completed", "completed", "failed"]
    table = read_table(write(**curves(status=status, value=[None, None, 0.1, 0.2, 0.3])))

    assert table.failed.tolist() == [[False, False], [True, False]]
    assert table.censored.tolist() == [[False, True], [False, False]]


def test_the_test_value_is_that_of_the_last_step(write):
    table = read_table(write(**curves(test_value=[0.44, None, 0.11, 0.22, 0.33])))

    np.testing.assert_array_equal(table.test, [[0.22, np.nan], [0.44, np.nan]])


def test_repetitions_with_other_seeds_are_averaged_and_one_failure_fails_the_cell(write):
    big = 2**62
    table = read_table(
        write(
            target=["a"] * 5,
            config=["c1", "c1", "c1", "c2", "c2"],
            seed=[big, big + 1, big + 1, 0, 1],
            step=[1, 1, 2, 1, 1],
            value=[0.2, 0.4, 0.6, 0.5, float("nan")],
            cost_s=[1.0, 3.0, 2.0, 1.0, 1.0],
            test_value=[0.1, None, 0.3, None, None],
        )
    )

    np.testing.assert_allclose(table.values, [[[0.3, 0.6], [np.nan, np.nan]]])
    np.testing.assert_allclose(table.cost_s, [[[2.0, 2.0], [1.0, np.nan]]])
    np.testing.assert_allclose(table.test, [[0.2, np.nan]])
    assert table.failed.tolist() == [[False, True]]


def test_hyperparameters_come_from_the_rows_and_from_the_file_of_configurations(write):
    path = write(**curves(**{"param.rank": pa.array([1, None, 1, 1, 1])}))
    configs = write(
        "configs.parquet",
        config=["c2", "c1", "c3"],
        learning_rate=[0.2, 0.1, 0.3],
        rank=[7, 7, 7],
        name=[None, "x", "y"],
    )

    table = read_table(path, configs=configs)

    assert table.params == ({"learning_rate": 0.1, "rank": 1, "name": "x"}, {"learning_rate": 0.2, "rank": 7})


def test_features_are_read_by_pair_and_by_target(write):
    features = {
        "feature.logme": [0.3, 0.2, 0.1, 0.1, 0.3],
        "target_feature.size": [20.0, 10.0, 10.0, 10.0, 20.0],
    }
    table = read_table(write(**curves(**features)))

    np.testing.assert_allclose(table.pair_features["logme"], [[0.1, 0.2], [0.3, np.nan]])
    np.testing.assert_allclose(table.target_features["size"], [10.0, 20.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": [0.4, 0.9, float("inf"), 0.2, 0.3]}, r"row 3 \(target 'a', config 'c1', step 1.*value is infinite"),
        ({"cost_s": [2.0, None, 1.0, 1.0, 2.0]}, "row 2 .*the cost"),
        ({"cost_s": [2.0, 5.0, -1.0, 1.0, 2.0]}, "row 3 .*the cost"),
        ({"step": [2, 1, 1, 0, 1]}, "row 4 .*the step is not 1, 2"),
        ({"step": [2.0, 1.0, 1.5, 2.0, 1.0]}, "row 3 .*the step is not 1, 2"),
        ({"step": [2, 1, 1, 1, 1]}, "row 4 .*there twice; a column 'seed'"),
        ({"target": ["b", None, "a", "a", "b"]}, "row 2 .*no target"),
        ({"family": ["f", "f", "f", "g", "f"]}, "row 2 .*the family differs"),
        ({"source": ["s", "s", "s", "s", "t"]}, "the source differs"),
        ({"param.rank": [1, 1, 1, 2, 2]}, "the param.rank differs"),
        ({"feature.logme": [1.0, float("inf"), 1.0, 1.0, 1.0]}, "row 2 .*infinite"),
        ({"value": ["0.4", "x", "0.1", "0.2", "0.3"]}, "column 'value' holds .*give numbers"),
        ({"value": [[0.4]] * 5}, "column 'value' holds list.*give texts, numbers"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(write, change, message):
    with pytest.raises(ConfigError, match=message):
        read_table(write(**curves(**change)))


def test_a_missing_column_is_named(write):
    columns = curves()
    del columns["cost_s"]

    with pytest.raises(ConfigError, match="no column cost_s; it has target, config, step, value"):
        read_table(write(**columns))


def test_a_table_without_rows_is_refused(write):
    empty = {name: pa.array([], pa.string() if name in ("target", "config") else pa.float64()) for name in curves()}

    with pytest.raises(ConfigError, match="no rows"):
        read_table(write(**empty))


def test_a_table_that_would_not_fit_into_memory_is_refused(write):
    with pytest.raises(ConfigError, match="more than 100000000 cells"):
        read_table(write(**curves(step=[2, 1, 1, 2**26, 1])))


def test_a_configuration_that_the_other_file_lacks_is_named(write):
    with pytest.raises(ConfigError, match="lacks 'c2'"):
        read_table(write(**curves()), configs=write("configs.parquet", config=["c1"], rank=[1]))
