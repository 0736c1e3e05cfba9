"""Labelled examples of one packaged task before they are split, and the task and arrays made of them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from transmeta.core.task import Modality, Params, Task
from transmeta.errors import ConfigError, DataError, UnknownNameError
from transmeta.tasks import fingerprint
from transmeta.tasks.params import check_keys, text_of
from transmeta.tasks.split import (
    POOL_FRACTIONS,
    Index,
    Limits,
    Mask,
    Partition,
    by_group,
    content_groups,
    stratified,
)
from transmeta.training.data import Examples, Labels, TaskData
from transmeta.training.seeding import derive_seed

TRAIN_CAP: Final = 60
"""Training examples per class when shots are not restricted."""
FEW: Final = 10
TABLE: Final = 2
GREY: Final = 3
"""Axes of the examples of a pool."""
CLASSES: Final = "classes"
"""The parameter that restricts a task to so many of its classes."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool:
    """Labelled examples of one task before they are split.

    Attributes:
        x: images uint8 (count, height, width) or (count, height, width, 3); or a table float32 (count, columns).
        y: int64 (count,), indices into `class_names`.
        groups: (count,), equal for examples that must stay in one split (font family, icon set, drawer); None for none.
        test: (count,), true for the examples that the publisher set aside for tests; None if all are to be split.
    """

    name: str
    dataset: str
    domain: str
    x: Examples
    y: Labels
    class_names: tuple[str, ...]
    groups: Index | None = None
    test: Mask | None = None


Pools = Mapping[str, Callable[[], Pool]]
"""By task name, what makes the pool: it takes a while, so one at a time."""


def limits_for(shots: int | None) -> Limits:
    """Returns how much of a pool a task may use, per class.

    Training: `shots`, or up to `TRAIN_CAP`. Validation: 10 for up to 10 shots, else up to 15. Test: up to 25.
    """
    validation = FEW if shots is not None and shots <= FEW else 15
    return Limits(train=TRAIN_CAP if shots is None else shots, validation=validation, test=25)


def selected(pool: Pool, *, mask: Mask) -> Pool:
    """Returns the images of `pool` at `mask`, classes renumbered without gaps, unused ones left out."""
    used, y = np.unique(pool.y[mask], return_inverse=True)
    return dataclasses.replace(
        pool,
        x=pool.x[mask],
        y=y.astype(np.int64),
        class_names=tuple(pool.class_names[index] for index in used),
        groups=None if pool.groups is None else pool.groups[mask],
        test=None if pool.test is None else pool.test[mask],
    )


def without_copies(pool: Pool) -> Pool:
    """Returns `pool` with the first of identical images only, whatever their class or group."""
    _, first = np.unique(content_groups(pool.x), return_index=True)
    mask = np.zeros(len(pool.y), dtype=np.bool_)
    mask[first] = True
    return selected(pool, mask=mask)


def with_classes_of(pool: Pool, *, at_least: int) -> Pool:
    """Returns `pool` without the classes of fewer than `at_least` images."""
    return selected(pool, mask=np.bincount(pool.y)[pool.y] >= at_least)


def find_pool(pools: Pools, params: Params, *, provider: str) -> Pool:
    """Returns the pool that the parameter `task` names.

    Raises:
        ConfigError: for unknown or missing parameters.
        UnknownNameError: if there is none of this name.
    """
    check_keys(params, known=("task", CLASSES), provider=provider)
    name = text_of(params, "task", provider=provider)
    if name not in pools:
        raise UnknownNameError("task", name=name, known=pools)
    return restricted(pools[name](), params, provider=provider)


def restricted(pool: Pool, params: Params, *, provider: str) -> Pool:
    """Returns `pool`, or so many of its classes as the parameter `classes` says, in a task named after their number.

    Which ones is drawn by the task's name, so that everybody has the same; the data set stays the same for leaks.

    Raises:
        ConfigError: if `classes` is no whole number from 2 on.
    """
    if CLASSES not in params:
        return pool
    count = params[CLASSES]
    if type(count) is not int or count < 2:
        raise ConfigError(f"task provider {provider}: {CLASSES} = {count!r}; give a whole number from 2 on")
    order = np.random.default_rng(derive_seed(0, CLASSES, pool.name)).permutation(len(pool.class_names))
    chosen = selected(pool, mask=np.isin(pool.y, order[:count]))
    return dataclasses.replace(chosen, name=f"{pool.name}-c{count}")


def describe_pool(pool: Pool, *, provider: str, params: Params, shots: int | None, seed: int) -> Task:
    """Returns the task made of `pool`; a class that cannot be in all three splits of this seed is left out.

    Raises:
        DataError: if fewer than two classes are left.
    """
    _, kept = _partition(pool, seed=seed)
    return Task(
        name=pool.name,
        provider=provider,
        params=params,
        dataset=pool.dataset,
        domain=pool.domain,
        modality=Modality.TABULAR if pool.x.ndim == TABLE else Modality.IMAGE,
        shape=_with_channels(pool.x).shape[1:],
        class_count=int(kept.sum()),
        fingerprint=_fingerprint(pool),
        shots=shots,
        seed=seed,
    )


def load_pool(pool: Pool, *, task: Task) -> TaskData:
    """Returns the arrays of `task`, which was made of `pool`, within `limits_for` its shots.

    Raises:
        DataError: if the pool has changed since.
    """
    fingerprint.check_unchanged(task, found=_fingerprint(pool))
    partition, kept = _partition(pool, seed=task.seed)
    limited = partition.limited(pool.y, limits=limits_for(task.shots), seed=derive_seed(task.seed, "shots"))
    used = Partition(
        train=limited.train[kept[pool.y[limited.train]]],
        validation=limited.validation[kept[pool.y[limited.validation]]],
        test=limited.test[kept[pool.y[limited.test]]],
    )
    renumbered = (np.cumsum(kept) - 1)[pool.y]
    names = tuple(name for name, is_kept in zip(pool.class_names, kept, strict=True) if is_kept)
    return used.take(_with_channels(pool.x), renumbered.astype(np.int64), class_names=names)


def describe_pools(pools: Pools, *, provider: str) -> tuple[Task, ...]:
    """Returns the tasks made of `pools` that the parameter `task` alone describes: seed 0, all shots."""
    return tuple(
        describe_pool(make(), provider=provider, params={"task": name}, shots=None, seed=0)
        for name, make in pools.items()
    )


def _with_channels(x: Examples) -> Examples:
    """Returns tables and colour images as they are, and grey images with one channel."""
    return x[..., None] if x.ndim == GREY else x


def _fingerprint(pool: Pool) -> str:
    names = np.array(pool.class_names)
    marks = [array for array in (pool.groups, pool.test) if array is not None]
    return fingerprint.of_arrays(pool.x, pool.y, names, *marks)


def _partition(pool: Pool, *, seed: int) -> tuple[Partition, Mask]:
    """Returns the partition for `seed`, and which classes are in all three splits."""
    class_count = len(pool.class_names)
    if pool.groups is not None:
        partition = by_group(pool.y, groups=pool.groups, class_count=class_count, fractions=POOL_FRACTIONS, seed=seed)
    elif pool.test is not None:
        rest = np.flatnonzero(~pool.test)
        fractions = (POOL_FRACTIONS[0], POOL_FRACTIONS[1])
        train, validation = stratified(pool.y[rest], groups=rest, fractions=_normal(fractions), seed=seed)
        partition = Partition(train=rest[train], validation=rest[validation], test=np.flatnonzero(pool.test))
    else:
        every = np.arange(len(pool.y))
        train, validation, test = stratified(pool.y, groups=every, fractions=POOL_FRACTIONS, seed=seed)
        partition = Partition(train=train, validation=validation, test=test)
    kept = partition.covered(pool.y, class_count=class_count)
    if kept.sum() < 2:
        raise DataError(
            f"task {pool.name}: {int(kept.sum())} of {class_count} classes can be in all three splits, and 2 are "
            "needed; give more groups or images per class"
        )
    return partition, kept


def _normal(fractions: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(fraction / sum(fractions) for fraction in fractions)
