"""The arms that every target is tried on: all strategies on all sources, by default and at random."""

from collections.abc import Sequence

from transmeta.core.model import ModelCard
from transmeta.core.trial import Arm
from transmeta.errors import InputError
from transmeta.strategies.catalogue import default_spec, find_strategy, sample_specs, strategy_names
from transmeta.training.seeding import derive_seed


def arm_pool(
    cards: Sequence[ModelCard], *, samples: int, seed: int, strategies: Sequence[str] | None = None
) -> tuple[Arm, ...]:
    """Returns an arm for each card, each strategy that applies, and its defaults as well as `samples` random specs.

    They are ordered in layers, each of which has every source and strategy once, the defaults first; within a layer
    strategy by strategy. A beginning of whole layers is therefore a balanced one.

    Args:
        samples: 0 or more.
        strategies: names; None for all that are installed.

    Raises:
        InputError: for fewer than no samples.
        UnknownNameError: for a strategy that is not installed.
    """
    if samples < 0:
        raise InputError(f"samples: {samples} random choices; give 0 or more")
    layers: list[list[Arm]] = [[] for _ in range(samples + 1)]
    for name in strategy_names() if strategies is None else strategies:
        strategy = find_strategy(name)
        for card in cards:
            if not strategy.applies_to(card):
                continue
            drawn = (
                sample_specs(strategy, card, count=samples, seed=derive_seed(seed, card.id, name)) if samples else ()
            )
            for layer, spec in zip(layers, (default_spec(name, card), *drawn), strict=False):
                layer.append(Arm(source=card.id, strategy=spec))
    return tuple({arm.key: arm for layer in layers for arm in layer}.values())
