"""What a method sees of the known targets when configurations come in blocks."""

import dataclasses

import numpy as np
import pytest

from transmeta.experiments.table_test.baselines.restricted import Restricted, restrict
from transmeta.experiments.table_test.catalogue import OURS, choose, names
from transmeta.experiments.table_test.ground import Ground
from transmeta.experiments.table_test.halving import RandomHalving
from transmeta.experiments.table_test.orders import GreedyRank, GreedyRegret, MeanRank
from transmeta.experiments.table_test.split import Split
from transmeta.policies.adaptive.protocol import Allowance, Method
from transmeta.stores.table import Table

from ..cases import NAN, random_table

ANY = Allowance(evaluations=20)
IMAGES, TEXTS, CONFIGS = 5, 4, 6


def rich(*, seed: int = 0) -> Table:
    """Returns a table with everything that a baseline may need."""
    rng = np.random.default_rng(seed)
    table = random_table(
        targets=IMAGES + TEXTS,
        configs=2 * CONFIGS,
        seed=seed,
        sources=["scratch", "cats", "dogs"] * 4,
        strategies=["full_finetune", "linear_probe"] * 6,
        target_features={"size": rng.random(IMAGES + TEXTS), "dim": rng.random(IMAGES + TEXTS)},
        pair_features={"logme": rng.random((IMAGES + TEXTS, 2 * CONFIGS))},
    )
    return dataclasses.replace(table, params=tuple({"rate": 10.0**-index} for index in range(2 * CONFIGS)))


def blocks(*, seed: int = 0) -> Table:
    """Returns `rich`, where image targets tried the first half of the configurations and text targets the others."""
    table = rich(seed=seed)
    values, cost_s = table.values.copy(), table.cost_s.copy()
    for array in (values, cost_s):
        array[:IMAGES, CONFIGS:] = NAN
        array[IMAGES:, :CONFIGS] = NAN
    return dataclasses.replace(table, values=values, cost_s=cost_s, failed=table.failed & np.isfinite(cost_s[:, :, 0]))


def run(method: Method, table: Table, *, target: int, known: list[int], seed: int = 0) -> list[tuple[int, int]]:
    """Returns the (configuration, step) of all moves on `target`."""
    ground = Ground(table)
    session = method.learn(ground.curves(known), seed=0).start(ground.present(target, allowance=ANY), seed=seed)
    moves: list[tuple[int, int]] = []
    reached = dict.fromkeys(range(ground.configs), 0)
    while (move := session.next()) is not None:
        assert move.step > reached[move.config], "a step that was paid for already"
        values = ground.targets[target].utility[move.config, reached[move.config] : move.step]
        reached[move.config] = move.step
        moves.append((move.config, move.step))
        session.tell(move, values, np.ones(len(values)), bool(np.isneginf(values[-1])))
    return moves


def test_only_allowed_configurations_and_the_targets_that_tried_them_are_kept() -> None:
    curves = Ground(blocks()).curves(range(IMAGES + TEXTS))
    kept = restrict(curves, np.array([6, 9]))

    assert kept.targets == ("t5", "t6", "t7", "t8")
    assert kept.configs == ("c6", "c9")
    assert kept.sources == ("scratch", "scratch")
    assert kept.strategies == ("full_finetune", "linear_probe")
    np.testing.assert_array_equal(kept.regret, curves.regret[5:][:, [6, 9]])
    np.testing.assert_array_equal(kept.target_features["size"], curves.target_features["size"][5:])
    np.testing.assert_array_equal(kept.pair_features["logme"], curves.pair_features["logme"][5:][:, [6, 9]])


@pytest.mark.parametrize("method", [GreedyRegret(), GreedyRank(), MeanRank()], ids=lambda method: method.name)
def test_the_other_block_does_not_change_the_order(method: Method) -> None:
    for seed in range(5):
        table = blocks(seed=seed)
        whole = run(Restricted(method=method), table, target=0, known=[1, 2, 3, 4, 5, 6, 7, 8])

        assert whole == run(Restricted(method=method), table, target=0, known=[1, 2, 3, 4])


@pytest.mark.parametrize("seed", range(3))
def test_nothing_changes_where_everything_is_allowed(seed: int) -> None:
    table = rich(seed=seed)
    known = [1, 2, 3, 4]

    assert run(Restricted(method=GreedyRegret()), table, target=0, known=known) == run(
        GreedyRegret(), table, target=0, known=known
    )


def test_without_a_known_target_that_helps_configurations_come_in_the_tables_order() -> None:
    moves = run(Restricted(method=MeanRank()), blocks(), target=0, known=[5, 6, 7, 8])

    assert [config for config, _ in moves] == list(range(CONFIGS))


def test_a_method_of_parts_is_told_about_its_own_configurations() -> None:
    table = blocks()
    same = run(Restricted(method=RandomHalving(), is_blind=True), table, target=6, known=[5, 7])

    assert {config for config, _ in same} == set(range(CONFIGS, 2 * CONFIGS))
    assert len({step for _, step in same}) > 1


@pytest.mark.parametrize("name", [name for name in names() if name != OURS])
@pytest.mark.parametrize("known", [[1, 2, 3, 4, 5, 6, 7, 8], [5, 6]], ids=["known", "unknown"])
def test_no_baseline_runs_what_is_not_allowed_or_anything_twice(name: str, known: list[int]) -> None:
    ((method,), _) = choose(Ground(blocks()), [name], split=Split.TARGET)
    moves = run(method, blocks(), target=0, known=known)

    assert moves
    assert {config for config, _ in moves} <= set(range(CONFIGS))
    assert len(set(moves)) == len(moves)
    if method.name not in ("full_finetune", "linear_probe", "scratch"):
        assert {config for config, _ in moves} == set(range(CONFIGS))
    assert moves == run(method, blocks(), target=0, known=known), "the same seed, another search"
