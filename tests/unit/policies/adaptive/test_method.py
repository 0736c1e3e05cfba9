"""The adaptive portfolio on tables of curves."""

import dataclasses

import numpy as np
import pytest

from tests.unit.policies.adaptive.cases import curves, present, take, without
from transmeta.policies.adaptive.knowledge import part_costs
from transmeta.policies.adaptive.method import AdaptiveMethod
from transmeta.policies.adaptive.protocol import Curves, Move, Present
from transmeta.policies.adaptive.session import DEFAULT, FEATURED, PORTFOLIO, AdaptiveSession
from transmeta.policies.network.training import TrainingPlan

PLAN = TrainingPlan(members=2, fold_members=1, steps=150, hidden=16)


def _play(session: AdaptiveSession, known: Curves, t: int) -> tuple[list[Move], float]:
    """Returns the moves, and the evaluations that they cost."""
    moves, reached, spent = [], {}, 0.0
    while (move := session.next()) is not None:
        begin = reached.get(move.config, 0)
        new = slice(begin, move.step)
        session.tell(move, known.values[t, move.config, new], known.cost_s[t, move.config, new], failed=False)
        spent += (move.step - begin) / known.steps[t, move.config]
        reached[move.config] = move.step
        moves.append(move)
    return moves, spent


def _first(method: AdaptiveMethod, known: Curves, here: Present) -> int:
    move = method.learn(known, seed=0).start(here, seed=0).next()
    assert move is not None
    return move.config


def test_pair_features_make_the_first_choice_right_where_the_average_is_wrong() -> None:
    everything = curves()
    wrong_by_average = 0
    for group in ("g0", "g3", "g5"):
        known = without(everything, group)
        for t in [i for i, name in enumerate(everything.groups) if name == group]:
            best = int(np.argmax(everything.final[t]))
            learned = AdaptiveMethod(knobs=FEATURED, plan=PLAN)
            assert everything.regret[t, _first(learned, known, present(everything, t)), -1] < 0.5
            wrong_by_average += _first(AdaptiveMethod(knobs=PORTFOLIO), known, present(everything, t)) != best
    assert wrong_by_average


def test_no_more_is_spent_than_the_budget_and_no_step_twice() -> None:
    everything = curves()
    session = AdaptiveMethod(knobs=DEFAULT, plan=PLAN).learn(take(everything, list(range(2, 16))), seed=0)
    moves, spent = _play(session.start(present(everything, 0, evaluations=3.0), seed=0), everything, 0)

    assert 2 < spent <= 3 + 1e-9
    for config in {move.config for move in moves}:
        steps = [move.step for move in moves if move.config == config]
        assert steps == sorted(set(steps))


def test_a_budget_of_cost_is_kept_with_what_was_really_paid() -> None:
    everything = curves()
    learned = AdaptiveMethod(knobs=DEFAULT, plan=PLAN).learn(take(everything, list(range(2, 16))), seed=0)

    moves, _ = _play(learned.start(present(everything, 0, evaluations=None, cost_s=6.0), seed=0), everything, 0)

    paid = sum(
        float(everything.cost_s[0, config, : max(move.step for move in moves if move.config == config)].sum())
        for config in {move.config for move in moves}
    )
    assert moves
    assert paid <= 6.0 + float(everything.cost_s[0].max())


def test_only_allowed_configurations_are_run() -> None:
    everything = curves()
    learned = AdaptiveMethod(knobs=FEATURED, plan=PLAN).learn(take(everything, list(range(2, 16))), seed=0)
    allowed = np.array([source != "near" for source in everything.sources or ()])
    here = dataclasses.replace(present(everything, 0), is_allowed=allowed)

    moves, _ = _play(learned.start(here, seed=0), everything, 0)

    assert moves
    assert all(allowed[move.config] for move in moves)


def test_a_run_that_diverged_is_not_gone_on_with() -> None:
    everything = curves()
    session = (
        AdaptiveMethod(knobs=DEFAULT)
        .learn(take(everything, list(range(2, 16))), seed=0)
        .start(present(everything, 0), seed=0)
    )
    first = session.next()
    assert first is not None

    session.tell(first, np.full(first.step, np.nan), np.ones(first.step), failed=True)
    moves, _ = _play(session, everything, 0)

    assert first.config not in {move.config for move in moves}


def test_the_same_curves_and_seed_give_the_same_moves() -> None:
    everything = curves()
    known = take(everything, list(range(2, 16)))

    def moves() -> list[Move]:
        learned = AdaptiveMethod(plan=PLAN).learn(known, seed=3)
        return _play(learned.start(present(everything, 0), seed=0), everything, 0)[0]

    assert moves() == moves()


def test_without_features_there_is_no_network_and_the_search_still_runs() -> None:
    everything = dataclasses.replace(curves(), sources=None, strategies=None, target_features={}, pair_features={})
    learned = AdaptiveMethod().learn(take(everything, list(range(2, 16))), seed=0)

    moves, _ = _play(learned.start(present(everything, 0), seed=0), everything, 0)

    assert learned.ensemble is None
    assert moves


def test_intervals_of_left_out_targets_cover_most_of_their_values() -> None:
    everything = curves(groups=12)
    hits = []
    for group in ("g1", "g4", "g7", "g10"):
        learned = AdaptiveMethod(knobs=FEATURED, plan=PLAN).learn(without(everything, group), seed=0)
        for t in [i for i, name in enumerate(everything.groups) if name == group]:
            session = learned.start(present(everything, t), seed=0)
            for c in range(len(everything.configs)):
                forecast = session.predict(c)
                assert forecast.low < forecast.value < forecast.high
                hits.append(forecast.low <= everything.final[t, c] <= forecast.high)
    assert np.mean(hits) > 0.75


def test_predicted_costs_are_close_to_what_is_paid() -> None:
    everything = curves()
    learned = AdaptiveMethod(knobs=DEFAULT).learn(take(everything, list(range(2, 16))), seed=0)
    session = learned.start(present(everything, 0), seed=0)

    predicted = [session.predict(c).cost_s for c in range(len(everything.configs))]

    assert predicted == pytest.approx(list(everything.cost_s[0].sum(axis=1)), rel=0.2)


def test_a_first_step_that_costs_more_than_others_is_no_sign_of_a_slow_machine() -> None:
    everything = curves()
    dear = dataclasses.replace(everything, cost_s=everything.cost_s * np.array([7.0, 1.0, 1.0]))
    session = AdaptiveMethod(knobs=DEFAULT).learn(without(dear, "g0"), seed=0).start(present(dear, 0), seed=0)
    before = session.predict(8).cost_s

    for config in range(4):
        session.tell(Move(config=config, step=1), dear.values[0, config, :1], dear.cost_s[0, config, :1], failed=False)

    assert session.predict(8).cost_s == pytest.approx(before, rel=0.05)


def test_the_share_of_the_cost_at_each_rung_is_a_mean_over_those_who_ran_it() -> None:
    known = curves(groups=2)
    cost_s = known.cost_s.copy()
    cost_s[0, 0], cost_s[1, 0] = [2.0, 1.0, 1.0], [6.0, 1.0, 1.0]
    observed = known.observed.copy()
    observed[:, 1] = False
    observed[2:, 0] = False

    parts = part_costs(dataclasses.replace(known, cost_s=cost_s, observed=observed))

    assert parts[0] == pytest.approx([0.625, 0.625, 0.625, 0.8125, 0.8125, 1.0])  # steps 1, 1, 1, 2, 2 and 3 of 3
    assert parts[1] == pytest.approx(np.delete(parts, 1, axis=0).mean(axis=0))  # the mean of its strategy
    assert parts[2] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 1.0])


def test_costs_that_were_paid_correct_those_that_are_predicted() -> None:
    everything = curves()
    learned = AdaptiveMethod(knobs=DEFAULT).learn(take(everything, list(range(2, 16))), seed=0)
    session = learned.start(present(everything, 0), seed=0)
    last = len(everything.configs) - 1
    before = session.predict(last).cost_s

    slow = dataclasses.replace(everything, cost_s=3.0 * everything.cost_s)  # a machine that takes three times as long
    _play(session, slow, 0)

    assert session.predict(last).cost_s / before == pytest.approx(3.0, rel=0.2)


@pytest.mark.parametrize(("hidden", "expected"), [(("near", "far"), {"scratch"}), (("far",), set())])
def test_scratch_is_the_reference_where_nobody_tried_any_source(hidden: tuple[str, ...], expected: set[str]) -> None:
    everything = curves()
    known = take(everything, list(range(2, 16)))
    is_hidden = np.array([source in hidden for source in known.sources or ()])[None, :, None]
    known = dataclasses.replace(known, observed=known.observed & ~is_hidden[:, :, 0])

    case = AdaptiveMethod(knobs=DEFAULT).learn(known, seed=0).unseen(everything, 0)

    assert {
        source for source, is_one in zip(everything.sources or (), case.reference, strict=True) if is_one
    } == expected


def test_with_two_groups_nothing_is_left_out_and_the_default_knobs_stand() -> None:
    learned = AdaptiveMethod(plan=PLAN).learn(take(curves(), [0, 1, 2, 3]), seed=0)

    assert learned.knobs == PORTFOLIO


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("has_samples", {"sampled": 0.0}),
        ("has_weights", {"beta": 0.0}),
        ("has_cost", {"exponents": (0.0,)}),
        ("has_curves", {"is_partial": False}),
    ],
)
def test_a_part_that_is_taken_out_is_not_among_the_knobs(part: str, expected: dict[str, object]) -> None:
    method = dataclasses.replace(AdaptiveMethod(plan=PLAN), **{part: False})

    knobs = method.learn(take(curves(), list(range(8))), seed=0).knobs

    assert {name: getattr(knobs, name) for name in expected} == expected
