"""The seam between a task and where its arrays come from."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from transmeta.core.task import Params, Task
from transmeta.tasks.encoding import TableEncoder
from transmeta.training.data import TaskData


@runtime_checkable
class TaskSource(Protocol):
    """Turns parameters into tasks and tasks into arrays; an entry point in the group `transmeta.tasks`.

    Every call is a function of its arguments and of the data they point to: same parameters, shots, seed and data,
    same splits, in every process.
    """

    def packaged(self) -> Sequence[Task]:
        """Returns the tasks that come with the package, seed 0, all shots; empty where the user brings the data."""
        ...

    def describe(self, params: Params, *, shots: int | None = None, seed: int = 0) -> Task:
        """Returns the task behind `params`, after one look at its data: readable, splittable, fingerprinted.

        Raises:
            ConfigError: for unknown or missing parameters.
            DataError: for data from which nothing can be learned.
            UnsafeFileError: for a file that is corrupt or could run code.
        """
        ...

    def load(self, task: Task) -> TaskData:
        """Returns the arrays of `task`, split by its seed and restricted to its shots.

        Raises:
            DataError: if the data is gone, or has changed since the task was described.
        """
        ...


@runtime_checkable
class EncodingSource(Protocol):
    """A task source that turns columns into inputs, which new data must be turned into likewise."""

    def encoder(self, task: Task) -> TableEncoder | None:
        """Returns the encoding of the task's columns; None where its examples are images."""
        ...
