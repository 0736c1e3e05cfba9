"""The tasks that ship with the package: real digits, glyphs and icons."""

import itertools

import numpy as np
import pytest

from transmeta.core.task import Task
from transmeta.errors import ConfigError
from transmeta.tasks import glyphs, icons
from transmeta.tasks.catalogue import load_task, packaged_tasks
from transmeta.tasks.digits import DigitsTasks
from transmeta.tasks.npz import read_npz

TASKS = {task.name: task for task in packaged_tasks()}


def of_domain(domain: str) -> list[Task]:
    return [task for task in TASKS.values() if task.domain == domain]


def test_there_are_at_least_15_scripts_and_15_groups_of_icons():
    assert len(of_domain("scripts")) >= 15
    assert len(of_domain("icons")) >= 15
    assert [task.name for task in of_domain("digits")] == ["digits"]


def test_every_packaged_task_is_its_own_data_set():
    assert [task.dataset for task in TASKS.values()] == list(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_a_packaged_task_loads_as_described(name: str):
    task = TASKS[name]

    data = load_task(task)

    for split, cap in ((data.train, 60), (data.validation, 15), (data.test, 25)):
        counts = np.bincount(split.y, minlength=task.class_count)
        assert split.x.dtype == np.uint8
        assert split.x.shape[1:] == task.shape == (32, 32, 1)
        assert 1 <= counts.min() <= counts.max() <= cap
        assert len(counts) == len(data.class_names) == task.class_count
    parts = [{x.tobytes() for x in split.x} for split in (data.train, data.validation, data.test)]
    assert sum(len(part) for part in parts) == len(set.union(*parts))


@pytest.mark.parametrize("module", [glyphs, icons])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_font_family_and_no_icon_set_is_in_two_splits(module, seed: int):
    arrays = read_npz(module.PACK, required=("x", "y", "group"))
    groups_of: dict[bytes, set[int]] = {}
    for x, group in zip(arrays["x"], arrays["group"], strict=True):
        groups_of.setdefault(x.tobytes(), set()).add(int(group))
    source = module.GlyphTasks() if module is glyphs else module.IconTasks()

    for task in source.packaged()[seed::3]:
        data = source.load(source.describe(task.params, seed=seed))
        parts = [
            {next(iter(groups_of[x.tobytes()])) for x in split.x[..., 0] if len(groups_of[x.tobytes()]) == 1}
            for split in (data.train, data.validation, data.test)
        ]
        assert all(parts)
        assert not any(one & other for one, other in itertools.combinations(parts, 2))


def test_digits_are_the_real_ones():
    task = TASKS["digits"]
    data = load_task(task)

    assert task.class_count == 10
    assert len(data.train) == 600
    assert data.train.x.max() == 255
    assert np.array_equal(data.train.x[:, ::4, ::4], data.train.x[:, 3::4, 3::4])


def test_digits_take_no_parameters():
    with pytest.raises(ConfigError, match="unknown parameter 'task'"):
        DigitsTasks().describe({"task": "digits"})
