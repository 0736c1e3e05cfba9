import dataclasses

from transmeta.core.experience import Experience, Provenance
from transmeta.core.task import TaskPair
from transmeta.core.trial import Arm, StrategySpec, TrialResult, TrialSpec, TrialStatus
from transmeta.experiments.gate import left_out_gate, replay_regret
from transmeta.experiments.meta_train import GateReport
from transmeta.policies.portfolio import PortfolioLearner
from transmeta.policies.table import WORST, RegretTable
from transmeta.testing.store_cases import example_task

ARMS = [Arm(source=source, strategy=StrategySpec(name="lora", params={})) for source in ("latin", "icons", "kana")]
PROVENANCE = Provenance(version="1", run="r", executor="local", created_at="2026-01-01T00:00:00Z")
RIGHT, WRONG = (0.9, 0.5, 0.4), (0.1, 0.9, 0.4)
"""Scores of the arms: where the first is best, and where the second is."""


class NoFreshArms:
    def propose(self, *, sources, count, seed):
        return ()


LEARNER = PortfolioLearner(proposer=NoFreshArms())


def rows(names, scores, *, shots=10, pool=ARMS):
    found = []
    for name in names:
        target = dataclasses.replace(example_task(shots=shots), name=name, dataset=name)
        for arm, score in zip(pool, scores, strict=True):
            pair = TaskPair(source=arm.source, target=target)
            spec = TrialSpec(pair=pair, strategy=arm.strategy, seed=0)
            result = TrialResult(spec=spec, status=TrialStatus.COMPLETED, score=score, test_score=score)
            found.append(Experience(result=result, target_features={}, pair_features={}, provenance=PROVENANCE))
    return found


def test_more_of_the_same_experience_is_accepted():
    report = left_out_gate(LEARNER)(rows("abcd", RIGHT), rows("abcdef", RIGHT))

    assert report.before == report.after == 0.0
    assert report.is_accepted


def test_experience_of_the_other_kind_of_target_helps_where_most_targets_are_of_it():
    before = rows("abcdefghi", RIGHT)
    report = left_out_gate(LEARNER)(before, [*before, *rows("jklmnopqrstuvwxyz", WRONG)])

    assert report.after < report.before


def test_nothing_learned_before_passes_and_so_do_too_few_data_sets():
    assert left_out_gate(LEARNER)((), rows("abcdef", RIGHT)).is_accepted
    assert left_out_gate(LEARNER)(rows("a", RIGHT), rows("ab", RIGHT)).is_accepted
    assert left_out_gate(LEARNER)((), ()).is_accepted


def test_what_is_judged_on_was_not_learned_from_and_all_shots_of_a_data_set_leave_together():
    learned = []

    class Watched:
        def initial(self):
            return LEARNER.initial()

        def update(self, policy, experience):
            learned.append({row.result.spec.target.dataset for row in experience})
            return LEARNER.update(policy, experience)

    both = [*rows("abcdef", RIGHT, shots=3), *rows("abcdef", RIGHT, shots=10)]
    left_out_gate(Watched())(rows("abcdef", RIGHT, shots=3), both)

    assert len(learned) == 6, "three parts, without the new experience and with it"
    assert {frozenset(set("abcdef") - seen) for seen in learned} == {frozenset(part) for part in ("ad", "be", "cf")}


def test_a_trial_that_crashed_and_was_mended_counts_as_new_experience():
    """The same trials, of which one had crashed when the policy in force was learned."""
    mended = rows("abcdef", RIGHT)
    crashed = [
        dataclasses.replace(
            row, result=dataclasses.replace(row.result, status=TrialStatus.CRASHED, score=None, test_score=None)
        )
        if row.arm == ARMS[0]
        else row
        for row in mended
    ]
    report = left_out_gate(LEARNER)(crashed, mended)

    assert report.after == 0.0
    assert report.before > 0.5, "without the crashed arm, another seemed the best"


def test_a_difference_within_its_standard_error_is_accepted_and_a_larger_one_is_not():
    assert GateReport(before=1.0, after=1.1, tolerance=0.1).is_accepted
    assert not GateReport(before=1.0, after=1.11, tolerance=0.1).is_accepted
    assert GateReport(before=1.0, after=0.5, tolerance=0.0).is_accepted


def test_picks_that_were_never_tried_on_a_target_are_passed_over_and_none_left_is_the_worst():
    """On `y` the third arm alone was tried besides the second; what the policy likes best was not."""
    policy = LEARNER.update(LEARNER.initial(), rows("abc", RIGHT))
    there = [row for row in rows("y", WRONG) if row.arm != ARMS[0]]
    elsewhere = [dataclasses.replace(arm, strategy=StrategySpec(name="lp_ft", params={})) for arm in ARMS]

    assert replay_regret(policy, RegretTable.from_experience(there)) == {"y": 0.0}
    assert replay_regret(policy, RegretTable.from_experience(rows("y", WRONG, pool=elsewhere))) == {"y": WORST}


def test_a_policy_that_picks_worse_on_left_out_targets_is_refused():
    class Forgetful:
        """Learns the better, the less it is given."""

        def initial(self):
            return LEARNER.initial()

        def update(self, policy, experience):
            few = [row for row in experience if row.result.spec.target.dataset in "abc"]
            is_much = len(experience) > 9
            return LEARNER.update(policy, rows("xyz", WRONG) if is_much else few)

    report = left_out_gate(Forgetful())(rows("abcd", RIGHT), rows("abcdefgh", RIGHT))

    assert report.after > report.before
    assert not report.is_accepted


def test_the_regret_of_a_replay_is_that_of_its_picks():
    policy = LEARNER.update(LEARNER.initial(), rows("abc", RIGHT))

    figures = replay_regret(policy, RegretTable.from_experience(rows("xy", WRONG)))
    assert set(figures) == {"x", "y"}
    # the first pick has regret (0.9 - 0.1) / (0.9 - 0.4), the best of all has none
    assert all(abs(figure - 1.6 / 2) < 1e-9 for figure in figures.values())
