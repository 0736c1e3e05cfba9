"""Finds plug-ins by their entry points; nothing is registered by being imported.

Groups: `transmeta.tasks`, `transmeta.models`, `transmeta.strategies`. Ours are declared likewise.
"""

import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from transmeta.errors import UnknownNameError

TASKS: Final = "transmeta.tasks"
MODELS: Final = "transmeta.models"
STRATEGIES: Final = "transmeta.strategies"
_KINDS: Final = {TASKS: "task", MODELS: "model", STRATEGIES: "strategy"}


def names(group: str) -> tuple[str, ...]:
    """Returns the names in `group`, sorted."""
    return tuple(sorted(_points(group)))


@functools.cache
def load(group: str, *, name: str) -> object:
    """Returns the object that the entry point `name` of `group` refers to, called without arguments.

    Raises:
        UnknownNameError: if there is no such entry point, with the nearest name.
    """
    points = _points(group)
    if name not in points:
        raise UnknownNameError(_KINDS.get(group, "plug-in"), name=name, known=points)
    factory = points[name].load()
    plugin: object = factory()
    return plugin


@functools.cache
def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}
