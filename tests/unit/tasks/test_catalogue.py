"""Tasks are found by name or path, through the entry points."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from transmeta import plugins
from transmeta.core import codec
from transmeta.core.task import Task
from transmeta.errors import ConfigError, DataError, InputError, UnknownNameError
from transmeta.tasks.catalogue import find_task, load_task, packaged_tasks
from transmeta.tasks.source import TaskSource


@pytest.mark.parametrize("name", ["arrays", "digits", "folder", "glyphs", "icons", "pack", "table"])
def test_every_provider_is_a_task_source(name: str):
    assert isinstance(plugins.load(plugins.TASKS, name=name), TaskSource)


def test_packaged_tasks_have_seed_0_and_all_shots():
    tasks = packaged_tasks()

    assert {(task.seed, task.shots) for task in tasks} == {(0, None)}
    assert len({task.name for task in tasks}) == len(tasks)


def test_a_packaged_task_is_found_by_name():
    assert find_task("glyphs-grek") in packaged_tasks()


def test_shots_follow_an_at_sign():
    task = find_task("digits@10", seed=3)

    assert (task.name, task.shots, task.seed) == ("digits", 10, 3)
    assert np.bincount(load_task(task).train.y).tolist() == [10] * 10


def test_no_shots_are_refused():
    with pytest.raises(InputError, match="0 shots"):
        find_task("digits@0")


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(UnknownNameError, match="unknown task, file or folder 'glyphs-greek'; did you mean 'glyphs-gre"):
        find_task("glyphs-greek")


@pytest.mark.parametrize("ending", ["", "/", "/@2"])
def test_a_folder_is_found_by_path(make_folder: Callable[..., Path], ending: str):
    task = find_task(str(make_folder({"a": 6, "b": 6})) + ending)

    assert (task.provider, task.name) == ("folder", "photos")
    assert task.shots == (2 if ending == "/@2" else None)


def test_a_folder_in_the_working_directory_is_found(make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(make_folder({"a": 3, "b": 3}).parent)

    assert find_task("photos").provider == "folder"


def test_a_folder_read_at_another_size_is_another_task(make_folder: Callable[..., Path]):
    path = str(make_folder({"a": 6, "b": 6}))
    usual, same, larger = find_task(path), find_task(path, size=32), find_task(path, size=48)

    assert same == usual
    assert load_task(larger).train.x.shape[1:] == (48, 48, 3)
    assert larger.id != usual.id


def test_only_a_folder_has_a_size(make_folder: Callable[..., Path]):
    with pytest.raises(InputError, match="only a folder of images has one, and digits is none"):
        find_task("digits@3", size=48)
    with pytest.raises(ConfigError, match="from 8 to 512"):
        find_task(str(make_folder({"a": 3, "b": 3})), size=4)


def test_a_table_is_found_by_path(tmp_path: Path):
    (tmp_path / "t.csv").write_text("x,kind\n" + "".join(f"{number},{number % 2}\n" for number in range(10)))

    assert find_task(str(tmp_path / "t.csv"), label="kind").params["label"] == "kind"
    with pytest.raises(DataError, match="no column 'label'; it has x, kind"):
        find_task(str(tmp_path / "t.csv"))


def test_arrays_are_found_by_path(tmp_path: Path):
    np.savez(tmp_path / "mine.npz", x=np.arange(20.0).reshape(10, 2), y=np.arange(10) % 2)

    assert find_task(str(tmp_path / "mine.npz")).provider == "arrays"


def test_a_task_of_a_pack_follows_a_hash(tmp_path: Path):
    x = np.random.default_rng(0).integers(0, 256, size=(40, 32, 32), dtype=np.uint8)
    np.savez(tmp_path / "usps_test32.npz", x=x, y=np.arange(40) % 4)

    task = find_task(f"{tmp_path}#usps@3")

    assert (task.provider, task.name, task.shots) == ("pack", "usps", 3)


@pytest.mark.parametrize("name", ["./gone", "gone/photos", "gone.csv", "~/gone-for-good"])
def test_a_missing_path_is_named(name: str):
    with pytest.raises(DataError, match=r"gone.*: No such file or directory; check the path"):
        find_task(name)


def test_a_task_survives_json():
    task = find_task("glyphs-grek@3")

    again = codec.loads(Task, codec.dumps(task))

    assert again == task
    assert np.array_equal(load_task(again).train.x, load_task(task).train.x)


def test_an_unknown_provider_is_refused():
    with pytest.raises(UnknownNameError, match="unknown task 'glyph'; did you mean 'glyphs'"):
        load_task(dataclasses.replace(find_task("digits"), provider="glyph"))


def test_finding_a_task_loads_neither_torch_nor_ray_nor_pandas_nor_scikit_learn():
    program = (
        "import sys; from transmeta.tasks.catalogue import find_task, load_task; load_task(find_task('digits@3'));"
        "import transmeta.tasks.table, transmeta.tasks.folder, transmeta.tasks.arrays;"
        "print(sorted({'torch', 'ray', 'pandas', 'sklearn'} & set(sys.modules)))"
    )

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "[]"
