"""Experience as a Parquet table, for exchange and for `meta_test`: written, read as arrays, and taken back whole."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa

from transmeta.core import codec
from transmeta.core.experience import Experience
from transmeta.core.plan import Precision
from transmeta.core.task import ParamValue
from transmeta.core.trial import TrialResult, TrialSpec, TrialStatus
from transmeta.errors import ConfigError, InputError, UnsafeFileError
from transmeta.stores.checks import fault_of, storable_payload
from transmeta.stores.schema import EXPERIENCE_SCHEMA
from transmeta.stores.table import PAIR_FEATURE, PARAM, TARGET_FEATURE, Table, read_table
from transmeta.stores.table_file import TableFile, write_table

__all__ = ["Table", "export_table", "import_experience", "read_table"]

BATCH: Final = 1024
LONGEST_PAYLOAD: Final = 4 * 2**20
MOST_PAYLOAD: Final = 2 * 2**30
"""Characters, in one trial and in all together."""

Step = tuple[float | None, float]
"""Value (None where nothing was measured, NaN where it diverged) and cost in seconds."""


def export_table(experience: Sequence[Experience], path: Path, *, has_payload: bool = True) -> int:
    """Writes `experience` as a table with a row for each measurement, and returns how many trials it holds.

    Crashed trials are left out: they say nothing about a choice. A failed trial ends in a row whose value is NaN. The
    configuration is the arm, so that the same choice has the same name on every target.

    Args:
        has_payload: whether each trial is also written whole, for `import_experience`; without, the file is a fraction
            of the size and says nothing of paths on this machine.

    Raises:
        InputError: if a trial is there twice or cannot be written, or the path cannot.
    """
    rows = [row for row in experience if row.is_lesson]
    if len({row.id for row in rows}) < len(rows):
        raise InputError("a trial is there twice; export a store or a snapshot")
    steps = [_steps(row.result) for row in rows]
    trials = _trial_columns(rows).take(pa.array([i for i, part in enumerate(steps) for _ in part], pa.int64()))
    is_last = [(i, at == len(part)) for i, part in enumerate(steps) for at in range(1, len(part) + 1)]
    columns = {
        "target": trials["target"],
        "config": trials["config"],
        "step": pa.array([at for part in steps for at in range(1, len(part) + 1)], pa.int32()),
        "value": pa.array([value for part in steps for value, _ in part], pa.float64()),
        "cost_s": pa.array([cost_s for part in steps for _, cost_s in part], pa.float64()),
        "test_value": pa.array([_test(rows[i].result) if last else None for i, last in is_last], pa.float64()),
        **{name: trials[name] for name in trials.column_names if name not in ("target", "config")},
    }
    if has_payload:
        payloads = [storable_payload(row) for row in rows]
        columns["payload"] = pa.array(
            [text if at == 0 else None for text, part in zip(payloads, steps, strict=True) for at in range(len(part))],
            pa.string(),
        )
    write_table(pa.table(columns), path=path)
    return len(rows)


def import_experience(path: Path) -> tuple[Experience, ...]:
    """Returns the trials in a file that `export_table` wrote, in its order, after checking each.

    Nothing says that the trials were run: take them from people whom you trust.

    Raises:
        ConfigError: if the file has no trials to import, or one cannot be true, with its row.
        InputError: if there is no such file.
        UnsafeFileError: if the file is damaged, too large, or could run code, or a trial is not the one that its id
            names.
    """
    found: dict[str, Experience] = {}
    for row, trial, payload in _payload_rows(TableFile(path)):
        where = f"{path}, row {row}"
        experience = _checked(payload, trial=trial, where=where)
        if experience.id in found:
            raise ConfigError(f"{where}: trial {experience.id} is there twice; export again")
        found[experience.id] = experience
    return tuple(found.values())


def step_costs(result: TrialResult) -> Sequence[float]:
    """Returns the cost of each step, a measurement or how it failed; they sum to the trial's.

    What a trial costs beside its epochs, such as its test, belongs to its end.
    """
    spent = [measurement.cost_s for measurement in result.curve]
    if result.status is TrialStatus.FAILED:
        spent.append(max([result.cost_s, *spent]))
    else:
        spent[-1:] = [max([result.cost_s, *spent[-1:]])]
    return [max(after - before, 0.0) for before, after in zip([0.0, *spent], spent, strict=False)]


def _steps(result: TrialResult) -> Sequence[Step]:
    """Returns value and cost of each step."""
    metric = result.spec.target.metric
    values: list[float | None] = [metric.utility(measurement.value) for measurement in result.curve]
    if result.status is TrialStatus.FAILED:
        values.append(float("nan"))
    elif not values:
        values.append(result.utility)
    return list(zip(values, step_costs(result), strict=True))


def _test(result: TrialResult) -> float | None:
    return None if result.test_score is None else result.spec.target.metric.utility(result.test_score)


def _trial_columns(rows: Sequence[Experience]) -> pa.Table:
    """Returns what is the same in all rows of a trial, one row for each trial."""
    specs = [row.result.spec for row in rows]
    texts = {
        "target": [spec.target.id for spec in specs],
        "config": [_config(spec) for spec in specs],
        "source": [spec.pair.source for spec in specs],
        "strategy": [spec.strategy.name for spec in specs],
        "family": [spec.target.dataset for spec in specs],
        "domain": [spec.target.domain for spec in specs],
        "status": [row.result.status.value for row in rows],
        "trial": [row.id for row in rows],
    }
    columns = {name: pa.array(values, pa.string()) for name, values in texts.items()}
    columns["seed"] = pa.array([spec.seed for spec in specs], pa.int64())
    params = [spec.strategy.params for spec in specs]
    for name in sorted({name for item in params for name in item}):
        columns[PARAM + name] = _param_column([item.get(name) for item in params])
    for prefix, features in (
        (PAIR_FEATURE, [row.pair_features for row in rows]),
        (TARGET_FEATURE, [row.target_features for row in rows]),
    ):
        for name in sorted({name for item in features for name in item}):
            columns[prefix + name] = pa.array([item.get(name) for item in features], pa.float64())
    return pa.table(columns)


def _config(spec: TrialSpec) -> str:
    """Returns a name for what a trial tries: in another precision, an arm has other curves."""
    return spec.arm.key if spec.precision is Precision.FLOAT32 else f"{spec.arm.key}|{spec.precision}"


def _param_column(values: Sequence[ParamValue | None]) -> pa.Array:
    """Returns the values as truth values, integers or numbers if all are; as texts otherwise."""
    for kinds, column in (((bool,), pa.bool_()), ((int,), pa.int64()), ((int, float), pa.float64())):
        if all(value is None or type(value) in kinds for value in values):
            try:
                return pa.array(values, column)
            except (pa.ArrowException, OverflowError):
                continue
    texts = [value if value is None or isinstance(value, str) else codec.dumps(value) for value in values]
    return pa.array(texts, pa.string())


def _payload_rows(file: TableFile) -> Iterator[tuple[int, str, str]]:
    """Yields row (from 1), trial id and payload, for the rows that have one."""
    read, total = 0, 0
    for batch in file.batches(["trial", "payload"], rows=BATCH):
        trials, payloads = batch.column(0), batch.column(1)
        for index in range(batch.num_rows):
            if not payloads[index].is_valid:
                continue
            row, trial, payload = read + index + 1, trials[index].as_py(), payloads[index].as_py()
            if not isinstance(payload, str) or not isinstance(trial, str):
                raise ConfigError(f"{file.path}, row {row}: trial or payload is no text; export again")
            total += len(payload)
            if len(payload) > LONGEST_PAYLOAD or total > MOST_PAYLOAD:
                raise UnsafeFileError(f"{file.path}, row {row}: the payload is too long ({len(payload)} characters)")
            yield row, trial, payload
        read += batch.num_rows


def _checked(payload: str, *, trial: str, where: str) -> Experience:
    """Returns the experience in `payload`, if it can be true."""
    try:
        experience = codec.loads(Experience, payload, where=where)
        if experience.schema > EXPERIENCE_SCHEMA:
            raise ConfigError(
                f"{where}: written by a newer transmeta (schema {experience.schema}, this one knows "
                f"{EXPERIENCE_SCHEMA}); upgrade transmeta"
            )
        # JSON readers accept NaN and infinity; writing refuses them, and names that no store would take.
        storable_payload(experience)
    except ConfigError:
        raise
    except (InputError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: {error}") from error
    if experience.id != trial:
        raise UnsafeFileError(f"{where}: called {trial!r}, but its spec is that of {experience.id}; it was changed")
    fault = fault_of(experience)
    if fault is not None:
        raise ConfigError(f"{where}: trial {trial}: {fault}")
    return experience
