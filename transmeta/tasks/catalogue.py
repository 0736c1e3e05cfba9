"""All tasks, by name or by path."""

import functools
from pathlib import Path
from typing import Final

from transmeta import plugins
from transmeta.core.task import Params, Task
from transmeta.errors import InputError, UnknownNameError
from transmeta.tasks.encoding import TableEncoder
from transmeta.tasks.params import existing
from transmeta.tasks.source import EncodingSource, TaskSource
from transmeta.training.data import TaskData

DEFAULT_LABEL: Final = "label"
_FOLDER: Final = "folder"
_PROVIDERS_BY_SUFFIX: Final = {".csv": "table", ".parquet": "table", ".pq": "table", ".npz": "arrays"}


def packaged_tasks() -> tuple[Task, ...]:
    """Returns the tasks that come with transmeta and its plug-ins, seed 0, all shots, by provider and name.

    Raises:
        DataError: if packaged data is missing.
    """
    return tuple(task for provider in plugins.names(plugins.TASKS) for task in _packaged_by(provider))


def find_task(name: str, *, seed: int = 0, label: str = DEFAULT_LABEL, size: int | None = None) -> Task:
    """Returns the task that people mean by `name`.

    Args:
        name: a packaged task, such as `glyphs-grek`; or a path to a folder of images, a .csv or .parquet file, or an
            .npz file; or `<folder of packs>#<task>`. With `@10` at the end: 10 training examples per class.
        label: the column to predict, for .csv and .parquet files.
        size: pixels of each side that the images of a folder are read at; None for its default.

    Raises:
        ConfigError: for a senseless size.
        DataError: if the data at the path cannot be used.
        InputError: for a size of what is no folder.
        UnknownNameError: if there is no such task, with the nearest name.
    """
    stem, shots = _split_shots(name)
    provider, params = _at_path(stem, label=label) if _looks_like_path(stem) else _packaged(stem)
    if size is not None:
        if provider != _FOLDER:
            raise InputError(f"size {size}: only a folder of images has one, and {stem} is none; leave it out")
        params = {**params, "size": size}
    return _source(provider).describe(params, shots=shots, seed=seed)


def load_task(task: Task) -> TaskData:
    """Returns the arrays of `task`, split by its seed and restricted to its shots; the same in every process.

    Raises:
        DataError: if the data is gone, or has changed since the task was described.
        UnknownNameError: if its provider is not installed.
    """
    return _source(task.provider).load(task)


def task_encoder(task: Task) -> TableEncoder | None:
    """Returns how a table's columns became the task's inputs, to be kept with a model of it; None for images."""
    source = _source(task.provider)
    return source.encoder(task) if isinstance(source, EncodingSource) else None


def _source(provider: str) -> TaskSource:
    source = plugins.load(plugins.TASKS, name=provider)
    if not isinstance(source, TaskSource):
        raise InputError(f"task provider {provider}: {type(source).__name__} is no TaskSource; correct the plug-in")
    return source


@functools.cache
def _packaged_by(provider: str) -> tuple[Task, ...]:
    return tuple(sorted(_source(provider).packaged(), key=lambda task: task.name))


def _packaged(name: str) -> tuple[str, Params]:
    """Returns the provider and parameters of a packaged task, or those of a folder in the working directory."""
    likely = sorted(plugins.names(plugins.TASKS), key=lambda provider: not name.startswith(provider))
    for provider in likely:  # the most likely one first: the data of the others need not be read then
        for task in _packaged_by(provider):
            if task.name == name:
                return provider, task.params
    if Path(name).is_dir():
        return _at_path(name, label=DEFAULT_LABEL)
    known = [task.name for task in packaged_tasks()]
    raise UnknownNameError("task, file or folder", name=name, known=known)


def _split_shots(name: str) -> tuple[str, int | None]:
    stem, at, shots = name.rpartition("@")
    return (stem, int(shots)) if at and shots.isascii() and shots.isdecimal() else (name, None)


def _looks_like_path(text: str) -> bool:
    return text.startswith(("~", ".")) or any(mark in text for mark in "/\\#") or _provider_of(text) is not None


def _provider_of(path: str) -> str | None:
    return _PROVIDERS_BY_SUFFIX.get(Path(path).suffix.lower())


def _at_path(text: str, *, label: str) -> tuple[str, Params]:
    folder, mark, task = text.rpartition("#")
    if mark and folder:
        return "pack", {"path": str(existing(folder)), "task": task}
    path = existing(text)
    provider = _provider_of(text)
    if provider is None or path.is_dir():
        return _FOLDER, {"path": str(path)}
    return provider, {"path": str(path), "label": label} if provider == "table" else {"path": str(path)}
