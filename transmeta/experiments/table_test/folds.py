"""What leaves together, and what may then be learned from."""

import dataclasses
from collections.abc import Sequence
from typing import Final, final

from transmeta.errors import InputError
from transmeta.experiments.table_test.ground import Ground
from transmeta.experiments.table_test.split import Split

MOST_FOLDS: Final = 12
"""With more data sets, several leave together: a harder test than one at a time, and a quarter of the learning."""
MOST_PARTS: Final = 4
FEWEST_PARTS: Final = 2
MANY_SOURCES: Final = 6
"""With a source left out, the data sets leave in at most four parts, with many sources in two: one each would make
hundreds of folds."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Learn from `known`, be tested on `test`; both are indices into `Ground.targets`.

    Attributes:
        hidden: sources whose trials may not be learned from; on the tested targets they may be used.
    """

    name: str
    known: tuple[int, ...]
    test: tuple[int, ...]
    hidden: tuple[str, ...] = ()


def default_split(ground: Ground) -> Split:
    """Returns `family` where the table has domains, else `target`."""
    domains = {target.domain for target in ground.targets}
    return Split.FAMILY if ground.table.domains is not None and len(domains) > 1 else Split.TARGET


def folds(ground: Ground, split: Split) -> tuple[Fold, ...]:
    """Returns the folds of `split`; each keeps at least one target to learn from.

    - target: for each data set, all its targets leave; with more than twelve data sets, in twelve parts.
    - family: for each domain (data set where the table has none), all its targets leave.
    - source: for each source, its trials leave, and with them the data sets that are tested, in at most four parts
      (two with more than six sources).
    - time: data sets in the order of their names; each is tested with those before it known, from the third on.

    Raises:
        InputError: if the table has too few groups, or no sources.
    """
    groups = [target.group for target in ground.targets]
    if split is Split.TIME:
        return _chronological(groups)
    if split is Split.SOURCE:
        return _by_source(ground, groups)
    labels = [target.domain for target in ground.targets] if split is Split.FAMILY else groups
    names = sorted(set(labels))
    _check_enough(names, 2, split)
    count = min(MOST_FOLDS, len(names))
    parts = [names[index::count] for index in range(count)]
    return tuple(_without(" ".join(part), labels, set(part)) for part in parts)


def _without(name: str, labels: Sequence[str], left: set[str], *, hidden: tuple[str, ...] = ()) -> Fold:
    return Fold(
        name=name,
        known=tuple(i for i, label in enumerate(labels) if label not in left),
        test=tuple(i for i, label in enumerate(labels) if label in left),
        hidden=hidden,
    )


def _chronological(groups: Sequence[str]) -> tuple[Fold, ...]:
    names = sorted(set(groups))
    _check_enough(names, 3, Split.TIME)
    return tuple(
        Fold(
            name=name,
            known=tuple(i for i, group in enumerate(groups) if group < name),
            test=tuple(i for i, group in enumerate(groups) if group == name),
        )
        for name in names[2:]
    )


def _by_source(ground: Ground, groups: Sequence[str]) -> tuple[Fold, ...]:
    sources = ground.table.sources
    if sources is None or len(set(sources)) < 2:
        raise InputError("meta-test: --split source needs a column 'source' with two or more; use --split target")
    names = sorted(set(groups))
    _check_enough(names, 2, Split.SOURCE)
    count = min(FEWEST_PARTS if len(set(sources)) > MANY_SOURCES else MOST_PARTS, len(names))
    parts = [set(names[index::count]) for index in range(count)]
    return tuple(
        _without(f"{source}, part {number}", groups, part, hidden=(source,))
        for source in sorted(set(sources))
        for number, part in enumerate(parts, start=1)
    )


def _check_enough(names: Sequence[str], least: int, split: Split) -> None:
    if len(names) < least:
        raise InputError(
            f"meta-test: the targets are of {len(names)} group(s) ({', '.join(names)}), and --split {split.value} "
            f"needs {least}; collect on more data sets"
        )
