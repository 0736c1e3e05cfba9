"""Icons by what they show, one task per group of concepts, split by icon set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

from transmeta.core.task import Params, Task
from transmeta.tasks.packaged import packaged_pools
from transmeta.tasks.pool import Pools, describe_pool, describe_pools, find_pool, load_pool
from transmeta.training.data import TaskData

PROVIDER: Final = "icons"
PACK: Final = Path(__file__).parent / "packs" / "icons.npz"


@final
class IconTasks:
    """Tasks `icons-<group of concepts>`, such as `icons-arrows`, by the parameter `task`.

    No icon set is in two splits. At most 60 examples per class for training (`pool.limits_for`).
    """

    def packaged(self) -> Sequence[Task]:
        """Returns one task per group of concepts."""
        return describe_pools(_pools(), provider=PROVIDER)

    def describe(self, params: Params, *, shots: int | None = None, seed: int = 0) -> Task:
        """Returns the task that `task` names."""
        pool = find_pool(_pools(), params, provider=PROVIDER)
        return describe_pool(pool, provider=PROVIDER, params=params, shots=shots, seed=seed)

    def load(self, task: Task) -> TaskData:
        """Returns the arrays of `task`."""
        return load_pool(find_pool(_pools(), task.params, provider=PROVIDER), task=task)


def _pools() -> Pools:
    return packaged_pools(PACK, provider=PROVIDER, domain="icons", class_array="concept", task_array="concept_group")
