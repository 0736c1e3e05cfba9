"""What a cache can be asked by: values without a hash, under a text that is equal for equal ones."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Generic, TypeVar, final

from transmeta.core.experience import MetaFeatures
from transmeta.core.trial import Arm
from transmeta.policies.adaptive.protocol import Present

T = TypeVar("T")


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Named(Generic[T]):
    """A value that equals any other of the same text."""

    text: str
    value: T = dataclasses.field(compare=False)


def named_arms(arms: Sequence[Arm]) -> Named[Sequence[Arm]]:
    """Returns arms by their keys."""
    return Named(text="\n".join(arm.key for arm in arms), value=arms)


def named_features(features: MetaFeatures) -> Named[MetaFeatures]:
    """Returns features by all their values."""
    pairs = [(source, sorted(vector.items())) for source, vector in sorted(features.pairs.items())]
    return Named(text=repr((features.target_id, sorted(features.target.items()), pairs)), value=features)


def named_present(present: Present) -> Named[Present]:
    """Returns a target at hand by what is known of it, and what is allowed there."""
    names = sorted(present.pair_features)
    arrays = (present.is_allowed, *(present.pair_features[name] for name in names))
    sums = [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]
    return Named(text=repr((present.target, sorted(present.target_features.items()), names, sums)), value=present)
