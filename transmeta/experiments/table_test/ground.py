"""A table made ready for replay: what is known of each target, and what a method may learn from some of them.

Letters: T targets, C configurations, S steps.
"""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Final, final

import numpy as np

from transmeta.errors import InputError
from transmeta.policies.adaptive.protocol import Allowance, Array, Curves, Flags, Indices, Present
from transmeta.policies.table import WORST, regret_scale
from transmeta.stores.table import Table

FEWEST_COMPLETED: Final = 2
"""Regret is relative to the other trials of a target, so one with fewer says nothing."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """What was recorded on one target: the ground that methods are replayed on.

    Attributes:
        utility: (C, S) value of a run that ends after the step: the last one measured; −∞ before the first one, and
            from the step on where the run diverged.
        step_cost_s: (C, S), 0 where not recorded.
        steps: (C,), 0 where there is no full run to replay; `ends` (C,) where the run ends, earlier if it diverged.
        final: (C,) value of the full run, −∞ where it failed, NaN where there is none.
        test: (C,) of the full run; NaN where unknown.
        best, scale, spread: best, best − median and best − worst of the completed runs.
    """

    name: str
    group: str
    domain: str
    utility: Array
    step_cost_s: Array
    steps: Indices
    ends: Indices
    failed: Flags
    final: Array
    test: Array
    best: float
    scale: float
    spread: float

    def regret(self, values: Array) -> Array:
        """Returns the regret of values; 3 for −∞."""
        return np.asarray(np.clip((self.best - values) / self.scale, 0.0, WORST))


@final
class Ground:
    """A table's targets for replay, and the same table as a source of lessons.

    Targets with fewer than two completed trials are left out. Trials that were stopped early are lessons, but cannot be
    replayed.

    Attributes:
        table: as it was read.
        rows: indices of the targets in use.
        targets: in the same order.
        dropped: names of the others.

    Raises:
        InputError: if no target is left.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self._utility = _utility(table)
        self.steps = _steps(table)
        final = _final(table, self._utility, self.steps)
        is_used = np.isfinite(final).sum(axis=1) >= FEWEST_COMPLETED
        self.rows = tuple(int(row) for row in np.flatnonzero(is_used))
        self.dropped = tuple(name for name, kept in zip(table.targets, is_used, strict=True) if not kept)
        if not self.rows:
            raise InputError("meta-test: no target of the table has two completed trials; collect more first")
        self._final = final
        self.targets = tuple(self._target(row) for row in self.rows)

    @property
    def configs(self) -> int:
        """Number of configurations."""
        return len(self.table.configs)

    def curves(self, rows: Sequence[int], *, without_sources: Collection[str] = ()) -> Curves:
        """Returns what may be learned from the targets `rows`, as if `without_sources` did not exist."""
        table, kept = self.table, list(rows)
        is_seen = np.ones(self.configs, dtype=np.bool_)
        if without_sources and table.sources is not None:
            is_seen = np.array([source not in without_sources for source in table.sources], dtype=np.bool_)
        observed = table.observed[kept] & is_seen
        gap = ~observed[:, :, None]
        final = np.where(np.isfinite(self._final[kept]) & is_seen, self._final[kept], np.nan)
        return Curves(
            targets=tuple(table.targets[row] for row in kept),
            groups=tuple(table.families[row] for row in kept),
            domains=tuple((table.domains or table.families)[row] for row in kept),
            values=np.where(gap, np.nan, table.values[kept]),
            failed=table.failed[kept] & observed,
            observed=observed,
            steps=np.where(observed, self.steps[kept], 0),
            cost_s=np.where(gap, np.nan, table.cost_s[kept]),
            final=final,
            regret=self._regret(kept, final, observed),
            configs=table.configs,
            sources=table.sources,
            strategies=table.strategies,
            params=table.params,
            target_features={name: values[kept] for name, values in table.target_features.items()},
            pair_features={
                name: np.where(is_seen, values[kept], np.nan) for name, values in table.pair_features.items()
            },
        )

    def present(self, index: int, *, allowance: Allowance) -> Present:
        """Returns what is known of the target `targets[index]` before anything runs on it."""
        table, row, target = self.table, self.rows[index], self.targets[index]
        features = {name: float(values[row]) for name, values in table.target_features.items()}
        return Present(
            target=target.name,
            is_allowed=target.steps > 0,
            steps=target.steps,
            target_features={name: value for name, value in features.items() if np.isfinite(value)},
            pair_features={name: values[row] for name, values in table.pair_features.items()},
            allowance=allowance,
        )

    def _target(self, row: int) -> Target:
        table = self.table
        is_full = table.observed[row] & ~table.censored[row]
        steps = np.where(is_full, self.steps[row], 0)
        final = np.where(is_full, self._final[row], np.nan)
        completed = final[np.isfinite(final)]
        utility = self._utility[row]
        is_down = _is_down(utility, table.failed[row])
        ends = np.where(is_down.any(axis=1), np.minimum(is_down.argmax(axis=1) + 1, steps), steps)
        return Target(
            name=table.targets[row],
            group=table.families[row],
            domain=(table.domains or table.families)[row],
            utility=utility,
            step_cost_s=np.nan_to_num(table.cost_s[row], nan=0.0),
            steps=steps,
            ends=ends,
            failed=table.failed[row],
            final=final,
            test=np.full(self.configs, np.nan) if table.test is None else table.test[row],
            best=float(completed.max()),
            scale=regret_scale(completed),
            spread=float(np.ptp(completed)) or 1.0,
        )

    def _regret(self, rows: Sequence[int], final: Array, observed: Flags) -> Array:
        """Returns the regrets of `Curves`, (T, C, S)."""
        regret = np.full((len(rows), *self._utility.shape[1:]), np.nan)
        for i, row in enumerate(rows):
            completed = final[i][~np.isnan(final[i])]
            if not completed.size:
                continue
            utility = self._utility[row]
            losses = np.clip((completed.max() - utility) / regret_scale(completed), 0.0, WORST)
            is_known = np.isfinite(utility) & (np.arange(utility.shape[1]) < self.steps[row][:, None])
            is_known |= _is_down(utility, self.table.failed[row])
            regret[i] = np.where(is_known & observed[i][:, None], losses, np.nan)
        return regret


def _steps(table: Table) -> Indices:
    """Returns the last recorded step of each cell, (T, C), from 1; 0 where there is none."""
    is_recorded = np.isfinite(table.cost_s)
    return np.asarray((is_recorded * np.arange(1, is_recorded.shape[2] + 1)).max(axis=2), dtype=np.int64)


def _utility(table: Table) -> Array:
    """Returns the value of runs that end after each step, (T, C, S), as in `Target.utility`."""
    values, length = table.values, table.values.shape[2]
    steps = np.arange(length)
    latest = np.maximum.accumulate(np.where(np.isnan(values), -1, steps), axis=2)
    carried = np.where(latest >= 0, np.take_along_axis(values, np.maximum(latest, 0), axis=2), -np.inf)
    # A failed run is down from the step after its last value on; at its last recorded step at the latest.
    down = np.minimum(latest[:, :, -1] + 1, _steps(table) - 1)
    is_down = table.failed[:, :, None] & (steps >= down[:, :, None])
    return np.where(is_down, -np.inf, carried)


def _final(table: Table, utility: Array, steps: Indices) -> Array:
    """Returns the value of the full runs, (T, C): −∞ where it failed, NaN where it was not recorded or was stopped."""
    last = np.take_along_axis(utility, np.maximum(steps - 1, 0)[:, :, None], axis=2)[:, :, 0]
    return np.where(table.observed & ~table.censored, last, np.nan)


def _is_down(utility: Array, failed: Flags) -> Flags:
    """Returns where failed runs are down, (C, S): not where they just were not measured yet."""
    first = np.isfinite(utility).argmax(axis=1)[:, None]
    return np.asarray(failed[:, None] & np.isneginf(utility) & (np.arange(utility.shape[1]) >= first))
