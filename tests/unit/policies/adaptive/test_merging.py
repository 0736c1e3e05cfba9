import numpy as np

from transmeta.policies.adaptive.merging import aligned, known_curves, merged, table_curves
from transmeta.policies.adaptive.rows import at_rungs
from transmeta.policies.adaptive.trials import curves_of
from transmeta.policies.table import RegretTable

from ..cases import arm, row
from .live import ARMS, LEARNER, policy, present, rows, stopped, trial

NEW = tuple(row(trial("unseen", choice, 0.3 + 0.1 * i)) for i, choice in enumerate((*ARMS[:3], arm("other", "lora"))))


def test_what_a_policy_knows_are_the_curves_that_it_learned_from() -> None:
    taught, known = curves_of(rows()), known_curves(policy().learned)

    assert known.configs == taught.configs
    for name in ("final", "failed", "observed"):
        np.testing.assert_allclose(getattr(known, name), getattr(taught, name), rtol=1e-6)
    np.testing.assert_allclose(
        at_rungs(known.regret, known.steps), at_rungs(taught.regret, taught.steps), rtol=1e-6, atol=1e-7
    )
    np.testing.assert_allclose(np.nansum(known.cost_s, axis=2), np.nansum(taught.cost_s, axis=2), rtol=1e-6)
    np.testing.assert_allclose(known.pair_features["logme"], taught.pair_features["logme"])


def test_learned_again_from_what_it_knows_a_policy_chooses_alike() -> None:
    again = LEARNER.learn(policy(), known_curves(policy().learned))

    for fit in (-0.7, 0.7):
        ours, before = (p.suggest(present(fit), (), count=3, seed=0) for p in (again, policy()))
        assert [item.arm for item in ours] == [item.arm for item in before]


def test_curves_of_stopped_trials_are_kept_as_far_as_they_go() -> None:
    few = [*rows()[:6], *rows()[6:12], *rows()[12:18], row(stopped("set0", arm("near", "lora"), 0.3))]
    learned = LEARNER.update(LEARNER.initial(), few).learned

    known = known_curves(learned)
    column = known.configs.index(arm("near", "lora").key)
    assert not known.observed[0, column]
    rungs = at_rungs(known.regret, known.steps)[0, column]
    np.testing.assert_array_equal(np.isnan(rungs), np.isnan(learned.rungs[0, column]))
    assert not np.isnan(rungs).all()


def test_merged_curves_have_the_targets_and_arms_of_both() -> None:
    both = merged(known_curves(policy().learned), curves_of(NEW))

    assert both.targets[-1].startswith("unseen")
    assert len(both.targets) == 9
    assert set(both.configs) == {choice.key for choice in (*ARMS, arm("other", "lora"))}
    assert list(both.configs) == sorted(both.configs)
    assert both.observed[-1].sum() == 4
    assert not both.observed[:-1, both.configs.index(arm("other", "lora").key)].any()
    assert LEARNER.learn(policy(), both).table.targets[-1].dataset == "unseen"


def test_a_target_that_both_know_is_taken_from_where_more_was_finished() -> None:
    first = curves_of(rows())
    few = curves_of([row(trial("set0", choice, 0.9)) for choice in ARMS[:2]])

    assert merged(first, few).final[0].tolist() == first.final[0].tolist()
    assert merged(few, first).targets == first.targets


def test_a_table_of_full_runs_is_merged_as_well() -> None:
    table = RegretTable.from_experience(rows())

    both = merged(table_curves(table), curves_of(NEW))

    final = at_rungs(aligned(both, ARMS).regret, aligned(both, ARMS).steps)[:8, :, -1]
    np.testing.assert_allclose(final, np.stack([table.regret[:, table.columns()[c.key]] for c in ARMS], axis=1))
