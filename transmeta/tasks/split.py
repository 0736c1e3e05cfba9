"""Splits examples into train, validation and test: pure functions of labels, groups and a seed."""

import dataclasses
import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

from transmeta.errors import InputError
from transmeta.training.data import Examples, Labels, Split, TaskData
from transmeta.training.seeding import derive_seed

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

OWN_FRACTIONS: Final = (0.6, 0.2, 0.2)
"""Train, validation and test of data that a user brings."""
POOL_FRACTIONS: Final = (0.5, 0.2, 0.3)
"""Of packaged data, where tests are to be sharp and training is few-shot."""
DEALS: Final = 4
ROUND: Final = 100
URGENT: Final = 1e6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """At most so many examples per class and split; None for all."""

    train: int | None
    validation: int | None = None
    test: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Partition:
    """Indices of the examples of each split, ascending."""

    train: Index
    validation: Index
    test: Index

    def limited(self, labels: Labels, *, limits: Limits, seed: int) -> "Partition":
        """Returns this partition within `limits`; a smaller limit gives a subset of what a larger one gives."""
        return Partition(
            train=first_per_class(labels, index=self.train, count=limits.train, seed=derive_seed(seed, "train")),
            validation=first_per_class(
                labels, index=self.validation, count=limits.validation, seed=derive_seed(seed, "validation")
            ),
            test=first_per_class(labels, index=self.test, count=limits.test, seed=derive_seed(seed, "test")),
        )

    def take(self, x: Examples, y: Labels, *, class_names: tuple[str, ...]) -> TaskData:
        """Returns the three splits of `x` and `y`, as copies."""
        return TaskData(
            train=Split(x=x[self.train], y=y[self.train]),
            validation=Split(x=x[self.validation], y=y[self.validation]),
            test=Split(x=x[self.test], y=y[self.test]),
            class_names=class_names,
        )

    def covered(self, labels: Labels, *, class_count: int) -> Mask:
        """Returns, for each class, whether it is in all three splits."""
        parts = (self.train, self.validation, self.test)
        counts = np.stack([np.bincount(labels[part], minlength=class_count) for part in parts])
        return np.asarray((counts > 0).all(axis=0), dtype=np.bool_)


def check_shots(shots: int | None, *, labels: Labels) -> None:
    """Checks that some class has as many examples, in all splits together, as are asked for to train on.

    Raises:
        InputError: if not: the task would be the one without a limit, under another name.
    """
    largest = int(np.bincount(labels).max(initial=0))
    if shots is not None and shots > largest:
        raise InputError(
            f"@{shots}: no class has so many examples, the largest has {largest}, those for validation and test "
            "included; give a smaller number, or none for all that there are"
        )


def content_groups(x: Examples) -> Index:
    """Returns a number for each example of `x` (count, ...), equal for identical examples only."""
    seen: dict[bytes, int] = {}
    rows = np.ascontiguousarray(x)
    digests = (hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows)
    return np.fromiter((seen.setdefault(key, len(seen)) for key in digests), dtype=np.int64, count=len(rows))


def row_groups(x: Examples, y: Labels) -> Index:
    """Returns a number for each row of a table `x` (rows, columns), equal for identical rows of one class only.

    Where columns hold few values, rows of different classes are often alike, which is no leak.
    """
    return content_groups(np.column_stack([x, y]).astype(np.float32))


def group_labels(labels: Labels, *, groups: Index) -> tuple[Labels, Index]:
    """Returns the label of the first example of each group, and for each example the index of its group."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return labels[first], inverse.astype(np.int64)


def stratified(labels: Labels, *, groups: Index, fractions: tuple[float, ...], seed: int) -> tuple[Index, ...]:
    """Returns the indices of each part; classes are spread alike, and a group never leaves its part.

    A group counts for the class of its first example. Each class has to have at least as many groups as there are
    parts, and is then in all of them. For many small groups, such as copies of one image: those of a class are dealt
    in turn, the largest first and equal ones in random order, so that the parts are alike in examples too.

    Args:
        fractions: of each part; they add up to 1.
    """
    leaders, member_of = group_labels(labels, groups=groups)
    sizes = np.bincount(member_of)
    order = np.random.default_rng(derive_seed(seed, "split")).permutation(len(leaders))
    order = order[np.argsort(-sizes[order], kind="stable")]
    turns = _turns(fractions)
    part = np.empty(len(leaders), dtype=np.int64)
    part[order] = turns[_rank_in_class(leaders[order]) % len(turns)]
    return tuple(np.flatnonzero(part[member_of] == number) for number in range(len(fractions)))


def by_group(labels: Labels, *, groups: Index, class_count: int, fractions: tuple[float, ...], seed: int) -> Partition:
    """Returns a partition in which no group is split and as many classes as possible are in all three splits.

    For few large groups that hold many classes each, such as font families. Groups are dealt one by one, those of
    the rarest class first (as in iterative stratification, Sechidis et al. 2011), to the split where that brings the
    shares of their classes nearest to `fractions` in Σ (share − fraction)² / fraction, except that a class about to
    miss a split comes first. The best of several such deals is kept.
    """
    names, member_of = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), class_count), dtype=np.int64)
    np.add.at(counts, (member_of, labels), 1)
    deals = [_deal(counts, fractions=fractions, seed=derive_seed(seed, "split", attempt)) for attempt in range(DEALS)]
    part = max(deals, key=lambda deal: _quality(deal, counts=counts, fractions=fractions))[member_of]
    train, validation, test = (np.flatnonzero(part == number) for number in range(3))
    return Partition(train=train, validation=validation, test=test)


def first_per_class(labels: Labels, *, index: Index, count: int | None, seed: int) -> Index:
    """Returns up to `count` of `index` for each class, ascending; a smaller count gives a subset."""
    if count is None:
        return index
    order = np.random.default_rng(seed).permutation(index)
    return np.sort(order[_rank_in_class(labels[order]) < count])


def _rank_in_class(labels: Labels) -> Index:
    """Returns how many earlier entries have the same label."""
    by_class = np.argsort(labels, kind="stable")
    ordered = labels[by_class]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(labels) else np.zeros(0, dtype=np.int64)
    lengths = np.diff(np.r_[starts, len(labels)])
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(starts, lengths)
    return rank


def _turns(fractions: tuple[float, ...]) -> Index:
    """Returns whose turn it is in dealing: each part once, then always the one that is furthest behind."""
    wanted = np.array(fractions)
    dealt = np.ones(len(wanted))
    turns = list(range(len(wanted)))
    while len(turns) < ROUND:
        behind = int(np.argmax(wanted * (len(turns) + 1) - dealt))
        dealt[behind] += 1
        turns.append(behind)
    return np.array(turns, dtype=np.int64)


def _deal(counts: Index, *, fractions: tuple[float, ...], seed: int) -> Index:
    """Returns the split (0, 1 or 2) of each group, given how many examples it has of each class."""
    rng = np.random.default_rng(seed)
    present = counts > 0
    is_open = np.ones(len(counts), dtype=np.bool_)
    part = np.zeros(len(counts), dtype=np.int64)
    wanted = np.outer(fractions, np.ones(counts.shape[1]))
    share = counts / np.maximum(1, counts.sum(axis=0))
    has = np.zeros(wanted.shape, dtype=np.bool_)
    left = present.sum(axis=0)
    while left.any():
        rarest = int(np.argmin(np.where(left > 0, left, len(counts) + 1)))
        sizes = counts[:, rarest] * rng.uniform(0.5, 1.5, size=len(counts))  # large ones first, small ones fill up
        group = int(np.argmax(np.where(is_open, sizes, 0.0)))
        is_urgent = ~has & (left <= (~has).sum(axis=0))
        gain = share[group] * (2 * wanted - share[group]) / np.array(fractions)[:, None]
        score = gain.sum(axis=1) + URGENT * (is_urgent & present[group]).sum(axis=1)
        chosen = int(np.argmax(score))
        part[group] = chosen
        is_open[group] = False
        wanted[chosen] -= share[group]
        has[chosen] |= present[group]
        left -= present[group]
    return part


def _quality(part: Index, *, counts: Index, fractions: tuple[float, ...]) -> tuple[int, float]:
    """Returns (number of classes in all splits, minus the mean distance of their shares from `fractions`)."""
    dealt = np.stack([counts[part == number].sum(axis=0) for number in range(3)])
    is_covered = (dealt > 0).all(axis=0)
    shares = dealt / np.maximum(1, dealt.sum(axis=0))
    return int(is_covered.sum()), -float(np.abs(shares - np.array(fractions)[:, None]).mean())
