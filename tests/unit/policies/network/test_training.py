import dataclasses

import numpy as np
import torch

from transmeta.policies.network.ensemble import Ensemble
from transmeta.policies.network.training import Fold, TrainingPlan, train

RNG = np.random.default_rng(0)
INPUTS = RNG.standard_normal((6, 5, 4))
REGRET = np.clip(INPUTS[:, :, 0] + 1.0, 0, 3)
GROUPS = ["a", "a", "b", "b", "c", "c"]
ALL = np.ones(6, dtype=np.bool_)
PLAN = TrainingPlan(members=2, hidden=8, steps=80, dropout=0.0)
FOLD = Fold(inputs=INPUTS, priors=INPUTS[:, :, -1], is_known=ALL, members=2)


def _trained(*, plan=PLAN, regret=REGRET, seed=0) -> Ensemble:
    return train([FOLD], regret=regret, groups=GROUPS, plan=plan, seed=seed)[0]


def _expected(ensemble: Ensemble) -> float:
    return float(np.mean([ensemble.choice(x) @ g for x, g in zip(INPUTS, REGRET, strict=True)]))


def test_training_lowers_the_expected_regret():
    start = Ensemble.random(members=2, inputs=4, hidden=8, seed=0)

    assert _expected(_trained()) < 0.6 * _expected(start)


def test_the_predicted_regret_follows_the_table():
    predicted = np.stack([_trained().regret(x).mean(axis=0) for x in INPUTS])

    assert np.corrcoef(predicted.ravel(), REGRET.ravel())[0, 1] > 0.8


def test_the_same_seed_gives_the_same_weights():
    first, second, other = _trained(), _trained(), _trained(seed=1)

    np.testing.assert_array_equal(first.output_weights, second.output_weights)
    assert not np.array_equal(first.output_weights, other.output_weights)


def test_a_target_that_is_left_out_does_not_change_the_weights():
    is_known = np.array([True, True, True, True, False, False])
    changed = REGRET.copy()
    changed[4:] = 3 - changed[4:]

    fold = dataclasses.replace(FOLD, is_known=is_known)
    first, second = (train([fold], regret=regret, groups=GROUPS, plan=PLAN, seed=0)[0] for regret in (REGRET, changed))
    np.testing.assert_array_equal(first.output_weights, second.output_weights)


def test_untried_cells_do_not_change_the_weights():
    gaps = REGRET.copy()
    gaps[:, 4] = np.nan
    other = INPUTS.copy()
    other[:, 4] = 7.0

    first = train([FOLD], regret=gaps, groups=GROUPS, plan=PLAN, seed=0)[0]
    second = train([dataclasses.replace(FOLD, inputs=other)], regret=gaps, groups=GROUPS, plan=PLAN, seed=0)[0]
    np.testing.assert_allclose(first.output_weights, second.output_weights, atol=1e-6)


def test_folds_that_are_trained_side_by_side_learn_what_they_learn_alone():
    priors = RNG.standard_normal((6, 5))
    is_known = np.array([True, True, True, True, False, False])
    other = dataclasses.replace(FOLD, priors=priors, is_known=is_known, members=1)

    both = train([FOLD, other], regret=REGRET, groups=GROUPS, plan=PLAN, seed=0)

    predicted = [
        np.stack([e.regret(f.read(t)).mean(axis=0) for t in range(6)]) for e, f in zip(both, (FOLD, other), strict=True)
    ]
    assert np.corrcoef(predicted[0].ravel(), REGRET.ravel())[0, 1] > 0.8
    assert np.corrcoef(predicted[1][:4].ravel(), REGRET[:4].ravel())[0, 1] > 0.8
    assert np.array_equal(other.read(0)[:, -1], priors[0])


def test_the_forward_pass_is_the_one_that_was_trained():
    ensemble = Ensemble.random(members=3, inputs=4, hidden=8, seed=2)
    x = torch.from_numpy(INPUTS[0].astype(np.float32)).expand(3, 5, 4)
    first = torch.tanh(x @ torch.from_numpy(ensemble.input_weights) + torch.from_numpy(ensemble.input_bias))
    second = torch.tanh(first @ torch.from_numpy(ensemble.hidden_weights) + torch.from_numpy(ensemble.hidden_bias))
    expected = second @ torch.from_numpy(ensemble.output_weights) + torch.from_numpy(ensemble.output_bias)

    np.testing.assert_allclose(ensemble.outputs(INPUTS[0]), expected.numpy(), atol=1e-5)


def test_training_leaves_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    _trained(plan=dataclasses.replace(PLAN, steps=1))

    assert torch.get_num_threads() == before


def test_a_larger_table_is_read_in_blocks():
    inputs = RNG.standard_normal((40, 60, 2))
    regret = np.clip(inputs[:, :, 0] + 1, 0, 3)
    fold = Fold(inputs=inputs, priors=inputs[:, :, -1], is_known=np.ones(40, dtype=np.bool_), members=1)
    plan = TrainingPlan(hidden=4, steps=3)

    (ensemble,) = train([fold], regret=regret, groups=[str(i) for i in range(40)], plan=plan, seed=0)
    assert np.isfinite(ensemble.output_weights).all()
