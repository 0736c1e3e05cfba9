"""The strategies that are installed, and specs of them: by default, at random, around another."""

import functools
import random
from collections.abc import Mapping, Sequence
from typing import final

from transmeta import plugins
from transmeta.core.model import ModelCard
from transmeta.core.space import SpaceDescription
from transmeta.core.trial import Arm, StrategySpec
from transmeta.errors import UnknownNameError
from transmeta.strategies.spaces import describe, resolve, sample, vary
from transmeta.strategies.strategy import Strategy
from transmeta.training.seeding import derive_seed


def strategy_names() -> tuple[str, ...]:
    """Returns the names of all installed strategies, sorted."""
    return plugins.names(plugins.STRATEGIES)


def find_strategy(name: str) -> Strategy:
    """Returns the strategy called `name`.

    Raises:
        UnknownNameError: if there is none, with the nearest name.
        TypeError: if the plug-in under this name is not a strategy.
    """
    if name not in strategy_names():
        raise UnknownNameError("strategy", name=name, known=strategy_names())
    return _checked(plugins.load(plugins.STRATEGIES, name=name), name)


@functools.lru_cache(maxsize=256)
def _checked(plugin: object, name: str) -> Strategy:
    """Returns the plug-in; to look for all that a strategy has takes a while, and one is asked for with every trial."""
    if not isinstance(plugin, Strategy):
        raise TypeError(f"the plug-in {name!r} is a {type(plugin).__name__}, not a Strategy; give it what it lacks")
    return plugin


def default_spec(name: str, card: ModelCard) -> StrategySpec:
    """Returns the strategy called `name` with all its defaults for `card` written out.

    Raises:
        UnknownNameError: if there is no such strategy.
        ConfigError: if it does not apply to `card`.
    """
    return StrategySpec(name=name, params=resolve(find_strategy(name), {}, model=card).params)


def describe_space(strategy: Strategy, card: ModelCard) -> SpaceDescription:
    """Returns the hyperparameters of `strategy` on `card`; a child with several conditions needs all of them."""
    return describe(strategy.space(card), strategy=strategy.name)


def sample_specs(strategy: Strategy, card: ModelCard, *, count: int, seed: int) -> tuple[StrategySpec, ...]:
    """Returns up to `count` distinct specs drawn from the space, fewer only where it has no more.

    Values are plain JSON scalars, floats with 6 significant digits. The same for the same seed.
    """
    drawn = sample(strategy.space(card), count=count, seed=seed)
    return tuple(StrategySpec(name=strategy.name, params=params) for params in drawn)


def neighbours(spec: StrategySpec, card: ModelCard, *, count: int, seed: int) -> tuple[StrategySpec, ...]:
    """Returns up to `count` distinct specs that differ from `spec` in one hyperparameter, for a local search.

    Raises:
        UnknownNameError: if there is no such strategy.
        ConfigError: if `spec` is not valid on `card`.
    """
    strategy = find_strategy(spec.name)
    centre = resolve(strategy, spec.params, model=card).params
    varied = vary(strategy.space(card), centre, count=count, seed=seed)
    return tuple(StrategySpec(name=spec.name, params=params) for params in varied)


@final
class SpaceProposer:
    """Draws arms evenly over all (source, strategy) pairs that go together; implements `core.space.Proposer`.

    Args:
        cards: model card id → card, of all sources that may be asked for.
        strategies: names to draw from; None for all that are installed.

    Raises:
        UnknownNameError: for a strategy that is not installed.
    """

    def __init__(self, *, cards: Mapping[str, ModelCard], strategies: tuple[str, ...] | None = None) -> None:
        names = strategy_names() if strategies is None else strategies
        self._strategies = tuple(find_strategy(name) for name in names)
        self._cards = dict(cards)

    def propose(self, *, sources: Sequence[str], count: int, seed: int) -> Sequence[Arm]:
        """Returns up to `count` distinct arms, each pair as often as any other (but for one), in mixed order.

        Raises:
            UnknownNameError: for a source without a card.
        """
        pairs = [
            (source, strategy)
            for source in dict.fromkeys(sources)
            for strategy in self._strategies
            if strategy.applies_to(self._card(source))
        ]
        random.Random(seed).shuffle(pairs)
        rounds: list[list[Arm]] = [[] for _ in range(-(-count // len(pairs)))] if pairs else []
        for source, strategy in pairs:
            specs = sample_specs(
                strategy, self._card(source), count=len(rounds), seed=derive_seed(seed, source, strategy.name)
            )
            for arms, spec in zip(rounds, specs, strict=False):  # a small space has fewer specs than rounds
                arms.append(Arm(source=source, strategy=spec))
        return [arm for arms in rounds for arm in arms][:count]

    def _card(self, source: str) -> ModelCard:
        if source not in self._cards:
            raise UnknownNameError("source", name=source, known=self._cards)
        return self._cards[source]
