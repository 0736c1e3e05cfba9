"""Baselines that fix an order of full runs before they see the target's first value."""

import dataclasses
from collections.abc import Sequence
from typing import Final, final

import numpy as np

from transmeta.experiments.table_test.lessons import (
    OrderLearned,
    ascending,
    final_regret,
    greedy_order,
    mean_regret,
    ranks,
)
from transmeta.policies.adaptive.protocol import Array, Curves, Flags, Indices, Present
from transmeta.policies.greedy import filled
from transmeta.policies.table import is_scratch
from transmeta.training.seeding import derive_seed

MOST_RUNS: Final = 500
"""Length of a greedy order; what comes later never runs within a sensible budget."""
NEIGHBOURS: Final = 3
SOURCES: Final = 3
LOGME: Final = "logme"
FARTHEST: Final = 5.0
"""Standard scores are clipped to this, so that one odd feature does not decide alone."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RandomOrder:
    """All allowed configurations in random order."""

    name: str = "random"
    is_random: bool = True

    def learn(self, curves: Curves, *, seed: int) -> OrderLearned:
        """Learns nothing."""

        def order_of(present: Present, seed: int) -> Indices:
            rng = np.random.default_rng(derive_seed(seed, "random", present.target))
            return np.asarray(rng.permutation(np.flatnonzero(present.is_allowed)), dtype=np.int64)

        return OrderLearned(order_of)


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MeanRank:
    """Least mean rank over the known targets first."""

    name: str = "mean_rank"
    is_random: bool = False

    def learn(self, curves: Curves, *, seed: int) -> OrderLearned:
        """Ranks the configurations on each known target."""
        means = ranks(curves).mean(axis=0)
        return OrderLearned(lambda present, seed: ascending(means, present.is_allowed))


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GreedyRegret:
    """The greedy portfolio on regret: each next configuration removes the most regret over the known targets."""

    name: str = "greedy_regret"
    is_random: bool = False

    def learn(self, curves: Curves, *, seed: int) -> OrderLearned:
        """Takes the regrets; untried ones are guessed with caution."""
        rows = filled(final_regret(curves))
        return OrderLearned(lambda present, seed: greedy_order(rows, present.is_allowed, count=MOST_RUNS))


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GreedyRank:
    """The greedy portfolio on ranks: the rule of Syne Tune's ZeroShotTransfer (Wistuba et al. 2015).

    The configuration with the least mean rank comes first; then ranks are clipped at those of what was chosen. Equal
    ones are told apart by their unclipped mean, there by their index.
    """

    name: str = "greedy_rank"
    is_random: bool = False

    def learn(self, curves: Curves, *, seed: int) -> OrderLearned:
        """Ranks the configurations on each known target."""
        rows = ranks(curves)
        return OrderLearned(lambda present, seed: greedy_order(rows, present.is_allowed, count=MOST_RUNS))


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """One strategy on every target, with the sources and hyperparameters that did best on the known ones."""

    strategy: str
    is_random: bool = False

    @property
    def name(self) -> str:
        """That of the strategy."""
        return self.strategy

    def learn(self, curves: Curves, *, seed: int) -> OrderLearned:
        """Takes the mean regrets of the strategy's configurations."""
        return _best_of(curves, [name == self.strategy for name in curves.strategies or ()])


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """Training from scratch on every target, with the hyperparameters that did best on the known ones."""

    name: str = "scratch"
    is_random: bool = False

    def learn(self, curves: Curves, *, seed: int) -> OrderLearned:
        """Takes the mean regrets of the configurations without a source."""
        return _best_of(curves, [is_scratch(source) for source in curves.sources or ()])


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The greedy portfolio of the three known targets whose features are nearest, each data set once.

    Features are standardised by the known targets alone.
    """

    name: str = "nearest"
    is_random: bool = False

    def learn(self, curves: Curves, *, seed: int) -> OrderLearned:
        """Standardises the features."""
        names = sorted(curves.target_features)
        known = np.stack([curves.target_features[name] for name in names], axis=1)
        is_known = ~np.isnan(known)
        counts = np.maximum(is_known.sum(axis=0), 1)
        centre = np.where(is_known, known, 0.0).sum(axis=0) / counts
        spread = np.sqrt((np.where(is_known, known - centre, 0.0) ** 2).sum(axis=0) / counts)
        scale = np.where(spread > 1e-9, spread, np.inf)
        rows = filled(final_regret(curves))
        scores = np.clip((known - centre) / scale, -FARTHEST, FARTHEST)

        def order_of(present: Present, seed: int) -> Indices:
            features = np.array([present.target_features.get(name, np.nan) for name in names])
            now = np.clip((features - centre) / scale, -FARTHEST, FARTHEST)
            distance = np.nan_to_num((scores - now) ** 2, nan=0.0).mean(axis=1)
            near = _one_each(np.argsort(distance, kind="stable"), curves.groups)[:NEIGHBOURS]
            return greedy_order(rows[near], present.is_allowed, count=MOST_RUNS)

        return OrderLearned(order_of)


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LogmeTopK:
    """The three sources with the best LogME on the target in turn, each with what did best from it; then the others.

    Source: You et al., LogME (ICML 2021).
    """

    name: str = "logme_top_k"
    is_random: bool = False

    def learn(self, curves: Curves, *, seed: int) -> OrderLearned:
        """Takes the mean regrets; LogME is that of the present target."""
        assert curves.sources is not None, "the catalogue asks for sources"
        sources, means = np.array(curves.sources), mean_regret(curves)

        def order_of(present: Present, seed: int) -> Indices:
            logme = np.nan_to_num(present.pair_features[LOGME], nan=-np.inf)
            best = {
                source: logme[(sources == source) & present.is_allowed].max(initial=-np.inf) for source in set(sources)
            }
            top = sorted(best, key=lambda source: (-best[source], source))[:SOURCES]
            return _in_turn(ascending(means, present.is_allowed), sources, top)

        return OrderLearned(order_of)


def _best_of(curves: Curves, is_wanted: Sequence[bool]) -> OrderLearned:
    means, wanted = mean_regret(curves), np.array(is_wanted, dtype=np.bool_)
    return OrderLearned(lambda present, seed: ascending(means, present.is_allowed & wanted))


def _one_each(order: Indices, groups: Sequence[str]) -> list[int]:
    """Returns `order` with only the first of each group."""
    first: dict[str, int] = {}
    for index in order:
        first.setdefault(groups[index], int(index))
    return list(first.values())


def _in_turn(order: Indices, labels: Array | Flags, top: Sequence[str]) -> Indices:
    """Returns `order` rearranged: the labels `top` in turn as long as they last, then the others."""
    places = np.array([top.index(label) if label in top else len(top) for label in labels[order]])
    turn = np.zeros(len(order), dtype=np.int64)
    for place in range(len(top)):
        turn[places == place] = np.arange((places == place).sum())
    turn[places == len(top)] = len(order)
    return np.asarray(order[np.lexsort((places, turn))])
