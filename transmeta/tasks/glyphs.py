"""Characters of the world's scripts in many fonts, one task per script, split by font family."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

from transmeta.core.task import Params, Task
from transmeta.tasks.packaged import packaged_pools
from transmeta.tasks.pool import Pools, describe_pool, describe_pools, find_pool, load_pool
from transmeta.training.data import TaskData

PROVIDER: Final = "glyphs"
PACK: Final = Path(__file__).parent / "packs" / "glyphs.npz"


@final
class GlyphTasks:
    """Tasks `glyphs-<script>`, such as `glyphs-grek`, by the parameter `task`; scripts as in ISO 15924.

    No font family is in two splits. At most 60 examples per class for training (`pool.limits_for`).
    """

    def packaged(self) -> Sequence[Task]:
        """Returns one task per script."""
        return describe_pools(_pools(), provider=PROVIDER)

    def describe(self, params: Params, *, shots: int | None = None, seed: int = 0) -> Task:
        """Returns the task that `task` names."""
        pool = find_pool(_pools(), params, provider=PROVIDER)
        return describe_pool(pool, provider=PROVIDER, params=params, shots=shots, seed=seed)

    def load(self, task: Task) -> TaskData:
        """Returns the arrays of `task`."""
        return load_pool(find_pool(_pools(), task.params, provider=PROVIDER), task=task)


def _pools() -> Pools:
    return packaged_pools(PACK, provider=PROVIDER, domain="scripts", class_array="character", task_array="script")
