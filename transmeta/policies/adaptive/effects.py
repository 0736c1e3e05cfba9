"""Which features mattered for a choice: what the network would say, were a feature average.

Source: occlusion (Zeiler and Fergus, 2014), a feature at a time. Letters: A arms.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Final

from transmeta.core.experience import MetaFeatures
from transmeta.core.outcome import FeatureEffect
from transmeta.core.trial import Arm
from transmeta.policies.network.encoding import Encoder, Scaled
from transmeta.policies.network.ensemble import Ensemble
from transmeta.policies.table import Features

MOST: Final = 3
LEAST: Final = 0.01
"""Regret below which a feature did not matter."""


def feature_effects(
    features: MetaFeatures, arms: Sequence[Arm], *, encoder: Encoder, ensemble: Ensemble
) -> tuple[tuple[FeatureEffect, ...], ...]:
    """Returns for each of `arms` the features that mattered most, at most three, the largest effect first.

    A feature of the pair is made average for all sources at once, so that it no longer tells them apart.
    """
    if not arms:
        return ()
    as_it_is = ensemble.regret(encoder.encode(features, arms)).mean(axis=0)
    found: list[list[FeatureEffect]] = [[] for _ in arms]
    for name, changed in _averaged(features, encoder):
        effect = ensemble.regret(encoder.encode(changed, arms)).mean(axis=0) - as_it_is
        for place, arm in enumerate(arms):
            value = features.pairs.get(arm.source, {}).get(name, features.target.get(name))
            if value is not None and abs(effect[place]) >= LEAST:
                found[place].append(FeatureEffect(name=name, value=value, effect=float(effect[place])))
    return tuple(tuple(sorted(effects, key=lambda item: -abs(item.effect))[:MOST]) for effects in found)


def _averaged(features: MetaFeatures, encoder: Encoder) -> Iterator[tuple[str, MetaFeatures]]:
    """Yields the features with one of them at its mean over what is known, by name."""
    for scale in encoder.target:
        if scale.name in features.target:
            yield scale.name, dataclasses.replace(features, target=_at_mean(features.target, scale))
    for scale in encoder.pair:
        pairs = {source: _at_mean(vector, scale) for source, vector in features.pairs.items()}
        yield scale.name, dataclasses.replace(features, pairs=pairs)


def _at_mean(vector: Features, scale: Scaled) -> Features:
    if scale.name not in vector:
        return vector
    return {**vector, scale.name: math.exp(scale.mean) if scale.is_log else scale.mean}
