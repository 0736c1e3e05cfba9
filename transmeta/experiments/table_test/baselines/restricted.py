"""A method that learns, for each target, from what can run there alone.

Where image and text targets have configurations of their own, the others' rows and columns are guesses, not evidence:
left in, they would draw a portfolio towards the mean and a rank towards the middle.
"""

import dataclasses
from collections.abc import Mapping
from typing import final

import numpy as np

from transmeta.experiments.table_test.lessons import OrderLearned, ascending
from transmeta.policies.adaptive.protocol import Array, Curves, Flags, Indices, Learned, Method, Move, Present, Session


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Restricted:
    """The method on the configurations that are allowed, and the known targets that tried any of these.

    Attributes:
        is_blind: whether it can do without any known target. Others run the configurations in the table's order where
            no known target is left.
    """

    method: Method
    is_blind: bool = False

    @property
    def name(self) -> str:
        """That of the method."""
        return self.method.name

    @property
    def is_random(self) -> bool:
        """That of the method."""
        return self.method.is_random

    def learn(self, curves: Curves, *, seed: int) -> "RestrictedLearned":
        """Keeps the curves: what may be learned from depends on the present target."""
        return RestrictedLearned(self, curves, seed=seed)


@final
class RestrictedLearned:
    """Learns once for each set of allowed configurations."""

    def __init__(self, restricted: Restricted, curves: Curves, *, seed: int) -> None:
        self._restricted = restricted
        self._curves = curves
        self._seed = seed
        self._learned: dict[bytes, Learned] = {}

    def start(self, present: Present, *, seed: int) -> Session:
        """Returns the search on the target."""
        columns = np.flatnonzero(present.is_allowed)
        key = present.is_allowed.tobytes()
        if key not in self._learned:
            self._learned[key] = self._learn(columns)
        inner = dataclasses.replace(
            present,
            is_allowed=np.ones(len(columns), dtype=np.bool_),
            steps=present.steps[columns],
            pair_features=_columns(present.pair_features, columns),
        )
        return _RestrictedSession(self._learned[key].start(inner, seed=seed), columns)

    def _learn(self, columns: Indices) -> Learned:
        curves = restrict(self._curves, columns)
        if not curves.targets and not self._restricted.is_blind:
            return OrderLearned(lambda present, seed: ascending(np.zeros(len(columns)), present.is_allowed))
        return self._restricted.method.learn(curves, seed=self._seed)


@final
class _RestrictedSession:
    """Translates between the numbers of all configurations and of the allowed ones."""

    def __init__(self, session: Session, columns: Indices) -> None:
        self._session = session
        self._columns = columns
        self._place = {int(config): place for place, config in enumerate(columns)}

    def next(self) -> Move | None:
        """Returns what to run next; None to stop."""
        move = self._session.next()
        return None if move is None else Move(config=int(self._columns[move.config]), step=move.step)

    def tell(self, move: Move, values: Array, cost_s: Array, failed: bool) -> None:
        """Takes values and costs of the steps that were new."""
        self._session.tell(Move(config=self._place[move.config], step=move.step), values, cost_s, failed)


def restrict(curves: Curves, columns: Indices) -> Curves:
    """Returns the curves of some configurations, and only of targets that tried one of them."""
    rows = np.flatnonzero(curves.observed[:, columns].any(axis=1))
    block = np.ix_(rows, columns)
    return dataclasses.replace(
        curves,
        targets=_some(curves.targets, rows),
        groups=_some(curves.groups, rows),
        domains=_some(curves.domains, rows),
        values=curves.values[block],
        failed=_flags(curves.failed, block),
        observed=_flags(curves.observed, block),
        steps=curves.steps[block],
        cost_s=curves.cost_s[block],
        final=curves.final[block],
        regret=curves.regret[block],
        configs=_some(curves.configs, columns),
        sources=None if curves.sources is None else _some(curves.sources, columns),
        strategies=None if curves.strategies is None else _some(curves.strategies, columns),
        params=tuple(curves.params[column] for column in columns),
        target_features=_columns(curves.target_features, rows),
        pair_features={name: values[block] for name, values in curves.pair_features.items()},
    )


def _some(names: tuple[str, ...], places: Indices) -> tuple[str, ...]:
    return tuple(names[place] for place in places)


def _columns(features: Mapping[str, Array], places: Indices) -> dict[str, Array]:
    return {name: values[places] for name, values in features.items()}


def _flags(flags: Flags, block: tuple[Indices, ...]) -> Flags:
    return np.asarray(flags[block], dtype=np.bool_)
