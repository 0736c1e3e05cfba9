"""Small tables, by hand."""

from collections.abc import Mapping, Sequence

import numpy as np

from transmeta.experiments.table_test.ground import Ground
from transmeta.policies.adaptive.protocol import Array, Move
from transmeta.stores.table import Table

NAN = float("nan")


def table(
    values: object,
    *,
    cost_s: object = None,
    families: Sequence[str] | None = None,
    domains: Sequence[str] | None = None,
    sources: Sequence[str] | None = None,
    strategies: Sequence[str] | None = None,
    test: object = None,
    censored: object = None,
    pair_features: Mapping[str, Array] | None = None,
    target_features: Mapping[str, Array] | None = None,
) -> Table:
    """Returns a table of `values` (targets, configurations, steps); a run whose last step is NaN failed."""
    array = np.array(values, dtype=np.float64)
    targets, configs, _ = array.shape
    names = tuple(f"t{index}" for index in range(targets))
    return Table(
        targets=names,
        configs=tuple(f"c{index}" for index in range(configs)),
        values=array,
        cost_s=np.ones_like(array) if cost_s is None else np.array(cost_s, dtype=np.float64),
        test=None if test is None else np.array(test, dtype=np.float64),
        failed=np.isnan(array[:, :, -1]),
        censored=np.zeros((targets, configs), dtype=np.bool_) if censored is None else np.array(censored),
        families=names if families is None else tuple(families),
        domains=None if domains is None else tuple(domains),
        sources=None if sources is None else tuple(sources),
        strategies=None if strategies is None else tuple(strategies),
        params=tuple({} for _ in range(configs)),
        pair_features=pair_features or {},
        target_features=target_features or {},
    )


def finals(values: object, **columns: object) -> Table:
    """Returns a table of runs with one step, `values` (targets, configurations)."""
    return table(np.array(values, dtype=np.float64)[:, :, None], **columns)  # type: ignore[arg-type]


def random_table(*, targets: int = 6, configs: int = 15, steps: int = 9, seed: int = 0, **columns: object) -> Table:
    """Returns a table of rising curves; one run in ten fails."""
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.random((targets, configs, steps)), axis=2) * rng.random((1, configs, 1))
    values[rng.random((targets, configs)) < 0.1, steps // 2 :] = NAN
    return table(values, **columns)  # type: ignore[arg-type]


def ground(values: object, **columns: object) -> Ground:
    """Returns the ground of `table`."""
    return Ground(table(values, **columns))  # type: ignore[arg-type]


class Script:
    """A session that does what it is told, and remembers what it was told."""

    def __init__(self, *moves: tuple[int, int]) -> None:
        self._moves = [Move(config=config, step=step) for config, step in moves]
        self.told: list[tuple[list[float], list[float], bool]] = []

    def next(self) -> Move | None:
        return self._moves.pop(0) if self._moves else None

    def tell(self, move: Move, values: Array, cost_s: Array, failed: bool) -> None:
        self.told.append((values.tolist(), cost_s.tolist(), failed))
