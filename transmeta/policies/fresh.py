"""Arms that no trial has tried yet, drawn from the strategies' spaces when the known arms are exhausted."""

from collections.abc import Callable, Collection
from typing import Final

from transmeta.core.experience import MetaFeatures
from transmeta.core.outcome import Suggestion
from transmeta.core.space import Proposer
from transmeta.core.trial import Arm
from transmeta.training.seeding import derive_seed

PERSISTENCE: Final = 32
"""Draws end with one of so many arms for each that is wanted or excluded: more are not left in the space, or hardly."""


def anything(_arm: Arm) -> bool:
    """Returns True: every arm is wanted."""
    return True


def fresh_suggestions(
    proposer: Proposer,
    features: MetaFeatures,
    *,
    exclude: Collection[str],
    count: int,
    seed: int,
    is_wanted: Callable[[Arm], bool] = anything,
) -> tuple[Suggestion, ...]:
    """Returns up to `count` arms without predictions, none of the keys in `exclude`; the same for the same seed.

    Args:
        is_wanted: restricts the arms, such as to one strategy.
    """
    found: dict[str, Arm] = {}
    sources = sorted(features.pairs)
    asked = count
    while len(found) < count and asked <= PERSISTENCE * (count + len(exclude)):
        for arm in proposer.propose(sources=sources, count=asked, seed=derive_seed(seed, "fresh", asked)):
            if arm.key not in exclude and is_wanted(arm):
                found.setdefault(arm.key, arm)
        asked *= 2
    return tuple(Suggestion(arm=arm) for arm in list(found.values())[:count])
