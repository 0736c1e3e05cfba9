"""Each baseline against a plain reference, or against what follows by hand."""

import itertools

import numpy as np
import pytest
from scipy.stats import rankdata

from transmeta.errors import InputError, UnknownNameError
from transmeta.experiments.table_test.catalogue import ablations, choose, names
from transmeta.experiments.table_test.gaussian import GaussianProcess
from transmeta.experiments.table_test.ground import Ground
from transmeta.experiments.table_test.halving import HalvingSession, StoppingRule, rungs
from transmeta.experiments.table_test.orders import (
    Fixed,
    GreedyRank,
    GreedyRegret,
    LogmeTopK,
    MeanRank,
    Nearest,
    RandomOrder,
    Scratch,
)
from transmeta.experiments.table_test.split import Split
from transmeta.experiments.table_test.tpe import Space, Tpe
from transmeta.policies.adaptive.protocol import Allowance, Array, Method
from transmeta.stores.table import Table

from .cases import NAN, finals, random_table

ANY = Allowance(evaluations=20)


def picks(method: Method, table: Table, *, target: int = 0, count: int = 5, seed: int = 0) -> list[int]:
    """Returns the first configurations that the method runs on `target`, learned from all others."""
    ground = Ground(table)
    learned = method.learn(ground.curves([row for row in ground.rows if row != target]), seed=0)
    session = learned.start(ground.present(target, allowance=ANY), seed=seed)
    chosen: list[int] = []
    while len(chosen) < count and (move := session.next()) is not None:
        chosen.append(move.config)
        values = ground.targets[target].utility[move.config, : move.step]
        session.tell(move, values, np.ones(len(values)), bool(np.isneginf(values[-1])))
    return chosen


def best_first(rows: Array, *, count: int) -> list[int]:
    """Returns the greedy portfolio of `rows` (targets, configurations), by trying everything."""
    chosen: list[int] = []
    while len(chosen) < count:
        left = [column for column in range(rows.shape[1]) if column not in chosen]
        chosen.append(
            min(
                left,
                key=lambda column: (
                    round(float(np.mean([min(row[[*chosen, column]]) for row in rows])), 9),
                    round(float(rows[:, column].mean()), 9),
                    column,
                ),
            )
        )
    return chosen


def regrets(table: Table) -> Array:
    rows = []
    for final in table.values[1:, :, -1]:
        done = final[~np.isnan(final)]
        scale = done.max() - np.median(done)
        rows.append([3.0 if np.isnan(value) else min((done.max() - value) / scale, 3.0) for value in final])
    return np.array(rows)


@pytest.mark.parametrize("seed", range(5))
def test_the_greedy_portfolio_is_what_trying_everything_finds(seed: int) -> None:
    table = random_table(seed=seed)

    assert picks(GreedyRegret(), table) == best_first(regrets(table), count=5)


@pytest.mark.parametrize("seed", range(3))
def test_the_greedy_portfolio_on_ranks_follows_syne_tunes_rule(seed: int) -> None:
    table = random_table(seed=seed)
    table = Ground(table).table
    ranks = rankdata(np.round(regrets(table), 12), axis=1)
    # ZeroShotTransfer: the least mean rank, then all ranks are clipped at those of what was chosen.
    for pick in picks(GreedyRank(), table, count=5):
        means = ranks.mean(axis=0)
        assert means[pick] == pytest.approx(means.min())
        ranks = np.minimum(ranks, ranks[:, pick][:, None])


def test_mean_ranks_are_those_by_hand() -> None:
    table = finals([[1, 2, 3], [1, 2, 3], [2, 3, 1], [2, 3, 1]])

    # of the known ones: 3 2 1, 2 1 3, 2 1 3, so 7/3, 4/3, 7/3
    assert picks(MeanRank(), table) == [1, 0, 2]


def test_what_failed_is_ranked_last() -> None:
    assert picks(MeanRank(), finals([[1, 2, 3], [NAN, 2, 1], [NAN, 3, 1]])) == [1, 2, 0]


def test_a_strategy_is_fixed_with_what_did_best_elsewhere() -> None:
    table = finals(
        [[0, 0, 0, 9], [1, 4, 5, 9], [1, 4, 5, 9]], strategies=["lora", "linear_probe", "linear_probe", "lora"]
    )

    assert picks(Fixed(strategy="linear_probe"), table) == [2, 1]
    assert picks(Fixed(strategy="lora"), table) == [3, 0]


def test_scratch_is_what_has_no_source() -> None:
    sources = ["scratch", "cats", "scratch-cnn"]

    assert picks(Scratch(), finals([[0, 0, 0], [1, 9, 2], [1, 9, 3]], sources=sources)) == [2, 0]


def test_the_nearest_targets_count_each_data_set_once() -> None:
    size = np.array([5.0, 5.1, 5.2, 5.3, 5.4, 90.0, 91.0])
    values = [[0, 0, 0]] + [[9, 1, 2]] * 4 + [[1, 2, 9]] * 2
    table = finals(values, families=list("xaaabcd"), target_features={"size": size})

    # a, b and c: two of three prefer the first; of all six targets, a's three would weigh more.
    assert picks(Nearest(), table)[0] == 0


def test_sources_with_the_best_logme_take_turns() -> None:
    sources = ["cats", "cats", "dogs", "dogs", "fish", "fish", "rare"]
    logme = np.tile([0.1, 0.1, 0.9, 0.9, 0.5, 0.5, 0.0], (3, 1))
    values = [[0] * 7, [1, 2, 3, 4, 5, 6, 9], [1, 2, 3, 4, 5, 6, 9]]

    table = finals(values, sources=sources, pair_features={"logme": logme})

    assert picks(LogmeTopK(), table, count=7) == [3, 5, 1, 2, 4, 0, 6]


def test_random_orders_differ_by_seed_and_run_everything_once() -> None:
    table = random_table()
    orders = [picks(RandomOrder(), table, count=99, seed=seed) for seed in range(3)]

    assert all(sorted(order) == list(range(15)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert orders[0] == picks(RandomOrder(), table, count=99, seed=0)


def test_a_run_goes_on_if_it_is_among_the_best_third_so_far() -> None:
    rule = StoppingRule()

    # cutoffs: none, then the 2/3 quantiles 5, 4.67, 5, 5
    assert [rule.continues(0, value) for value in (5, 4, 5, 7, 4.9)] == [True, False, True, True, False]


def test_rungs_are_a_ninth_a_third_and_all_of_the_steps() -> None:
    assert rungs(51).tolist() == [6, 17, 51]
    assert rungs(9).tolist() == [1, 3, 9]
    assert rungs(2).tolist() == [1, 1, 2]
    assert rungs(1).tolist() == [1, 1, 1]


def test_a_stopped_run_is_left_for_the_next() -> None:
    session = HalvingSession(np.array([0, 1, 2]), np.array([9, 9, 9]))
    moves = []
    for value in (5.0, 5.0, 5.0, 1.0, 6.0, 4.0):
        move = session.next()
        assert move is not None
        moves.append((move.config, move.step))
        session.tell(move, np.array([value]), np.ones(1), False)

    assert moves == [(0, 1), (0, 3), (0, 9), (1, 1), (2, 1), (2, 3)]
    assert session.next() is None


def test_a_failed_run_does_not_go_on() -> None:
    session = HalvingSession(np.array([0, 1]), np.array([9, 9]))
    move = session.next()
    assert move is not None
    session.tell(move, np.array([-np.inf]), np.ones(1), True)

    assert [getattr(session.next(), "config", None)] == [1]


def test_the_gaussian_process_starts_with_the_best_mean_and_follows_what_correlates() -> None:
    rng = np.random.default_rng(0)
    kind = rng.standard_normal((30, 1))
    values = np.concatenate([0.1 + 0 * kind, kind, -kind, kind - 0.2], axis=1) + 0.01 * rng.standard_normal((30, 4))
    values[0] = [0.1, -1.0, 1.0, -1.2]
    order = picks(GaussianProcess(), finals(values), count=4)

    assert sorted(order) == [0, 1, 2, 3]
    # Once the second kind was seen to be bad, the one that does as it does is the last.
    assert order.index(2) < order.index(3)


def test_the_gaussian_process_ignores_level_and_scale_of_the_target() -> None:
    table = random_table(seed=3)
    values = table.values.copy()
    values[0] = 100 + 50 * values[0]
    moved = finals(values[:, :, -1])

    assert picks(GaussianProcess(), moved, count=8) == picks(GaussianProcess(), finals(table.values[:, :, -1]), count=8)


def test_tpe_runs_what_is_nearest_and_each_configuration_once() -> None:
    pytest.importorskip("optuna")
    table = random_table(sources=["cats"] * 8 + ["dogs"] * 7, strategies=["lora", "probe", "full"] * 5)
    params = tuple({"rate": 10.0 ** -(index % 5), **({"rank": index} if index % 3 == 0 else {})} for index in range(15))
    table = type(table)(**{name: getattr(table, name) for name in table.__slots__ if name != "params"}, params=params)

    order = picks(Tpe(), table, count=99)

    assert sorted(order) == list(range(15))
    assert order == picks(Tpe(), table, count=99)


def test_the_space_is_logarithmic_where_numbers_span_much_and_skips_what_does_not_vary() -> None:
    table = finals([[1, 2, 3], [1, 2, 3]])
    params = ({"rate": 1e-4, "size": 2, "kind": "a", "same": 1}, {"rate": 1e-1, "size": 8, "kind": "b", "same": 1}, {})
    table = type(table)(**{name: getattr(table, name) for name in table.__slots__ if name != "params"}, params=params)
    space = Space(Ground(table).curves([0]))

    assert set(space.numbers) == {"rate", "size"}
    assert (space.numbers["rate"].is_log, space.numbers["size"].is_log) == (True, False)
    assert space.numbers["rate"].scaled(10**-2.5) == pytest.approx(0.5)
    assert space.choices == {"kind": ("a", "b")}
    assert space.values(2) == {}
    assert space.nearest(np.array([0.9, 0.8]), np.array([NAN]), among=np.arange(3)) == 1


def test_tpe_chooses_among_names_where_there_is_nothing_else() -> None:
    pytest.importorskip("optuna")

    assert sorted(picks(Tpe(), random_table(), count=99)) == list(range(15))


def test_methods_are_left_out_where_the_table_lacks_their_columns() -> None:
    ground = Ground(finals([[1, 2], [3, 4]]))
    methods, notices = choose(ground, None, split=Split.TARGET)
    left = {notice.split()[1].rstrip(":") for notice in notices}

    assert {method.name for method in methods} | left == set(names())
    assert {"nearest", "logme_top_k", "scratch", "full_finetune", "linear_probe", "random_asha"} <= left
    with pytest.raises(InputError, match="no column 'strategy'"):
        choose(ground, ["linear_probe"], split=Split.TARGET)
    with pytest.raises(UnknownNameError, match="did you mean 'random'"):
        choose(ground, ["randum"], split=Split.TARGET)


def test_each_ablation_is_our_method_without_one_part() -> None:
    without = [method.name for method in ablations(Split.TARGET)]

    assert "adaptive-without-network" in without
    assert all(one != other for one, other in itertools.combinations(without, 2))
