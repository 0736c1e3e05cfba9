import dataclasses
from collections.abc import Mapping, Sequence

import pytest

from transmeta.core.experience import Experience, Provenance
from transmeta.core.outcome import Suggestion
from transmeta.core.task import Direction, Metric, Modality, Task, TaskPair
from transmeta.core.trial import Arm, StrategySpec, TrialResult, TrialSpec, TrialStatus
from transmeta.errors import InputError
from transmeta.experiments.figures import Measure, compare
from transmeta.experiments.meta_test import choose_default, evaluate, leave_one_dataset_out
from transmeta.experiments.replay import RecordedProposer, record, replay
from transmeta.policies.portfolio import PortfolioLearner

ARMS = {
    "a": Arm(source="latin", strategy=StrategySpec(name="linear_probe", params={})),
    "b": Arm(source="icons", strategy=StrategySpec(name="linear_probe", params={})),
    "c": Arm(source="icons", strategy=StrategySpec(name="lora", params={"rank": 4})),
    "s": Arm(source="scratch-cnn", strategy=StrategySpec(name="from_scratch", params={})),
}
LOSS = Metric(name="loss", direction=Direction.MINIMISE)
Scores = Mapping[str, Mapping[str, tuple[float, float]]]


def task(dataset: str, *, shots: int = 10, metric: Metric | None = None) -> Task:
    plain = Task(
        name=dataset,
        provider="pack",
        params={},
        dataset=dataset,
        domain="scripts",
        modality=Modality.IMAGE,
        shape=(32, 32, 1),
        class_count=5,
        fingerprint="0" * 16,
        shots=shots,
    )
    return plain if metric is None else dataclasses.replace(plain, metric=metric)


def row(
    target: Task,
    arm: Arm,
    score: float | None,
    test_score: float | None,
    *,
    seed: int = 0,
    status: TrialStatus = TrialStatus.COMPLETED,
) -> Experience:
    spec = TrialSpec(pair=TaskPair(source=arm.source, target=target), strategy=arm.strategy, seed=seed)
    return Experience(
        result=TrialResult(spec=spec, status=status, score=score, test_score=test_score, cost_s=1.0),
        target_features={"log_examples": 1.0},
        pair_features={},
        provenance=Provenance(version="0", run="test", executor="local", created_at="2026-01-01T00:00:00Z"),
    )


def rows(scores: Scores, *, shots: int = 10) -> list[Experience]:
    """Returns a trial for each (validation, test) score in data set → arm name → scores."""
    return [
        row(task(dataset, shots=shots), ARMS[label], *pair)
        for dataset, line in scores.items()
        for label, pair in line.items()
    ]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ListPolicy:
    """Suggests arms in a given order, then nothing."""

    name: str
    order: tuple[str, ...]

    def suggest(self, features, history, *, count: int, seed: int) -> Sequence[Suggestion]:
        tried = {result.spec.arm.key for result in history}
        arms = [ARMS[label] for label in self.order if ARMS[label].key not in tried]
        return [Suggestion(arm=arm) for arm in arms][:count]


KNOWN = {
    "grek": {"a": (0.9, 0.85), "b": (0.7, 0.7), "c": (0.6, 0.6), "s": (0.5, 0.5)},
    "armn": {"a": (0.8, 0.75), "b": (0.7, 0.7), "c": (0.5, 0.5), "s": (0.4, 0.4)},
}
HELD = {"thai": {"a": (0.6, 0.55), "b": (0.8, 0.70), "c": (0.7, 0.75), "s": (0.5, 0.60)}}
ROWS = [*rows(KNOWN), *rows(HELD)]
ABC = ListPolicy(name="abc", order=("a", "b", "c"))
CBA = ListPolicy(name="cba", order=("c", "b", "a"))


def held_out_report(*policies: ListPolicy, experience: Sequence[Experience] = ROWS, budgets=(1, 2, 3)):
    return evaluate(lambda training: policies, experience, held_out=["thai"], budgets=budgets)


def test_the_incumbent_is_chosen_by_validation_and_reported_by_test():
    report = held_out_report(ABC)

    scores = [report.find("abc", budget=budget).test_score.mean for budget in (1, 2, 3)]
    assert scores == [0.55, 0.70, 0.70]


def test_regret_is_that_of_the_validation_score_in_both_scales():
    figures = held_out_report(ABC).find("abc", budget=1)

    assert figures.regret.mean == pytest.approx((0.8 - 0.6) / (0.8 - 0.65))
    assert figures.regret_worst.mean == pytest.approx((0.8 - 0.6) / (0.8 - 0.5))


def test_anytime_is_the_mean_regret_over_the_trials():
    report = held_out_report(ABC)

    first = report.find("abc", budget=1).regret.mean
    assert report.find("abc", budget=3).anytime.mean == pytest.approx(first / 3)


def test_negative_transfer_counts_targets_where_scratch_tests_better():
    report = held_out_report(ABC)

    assert report.find("abc", budget=1).negative_transfer == 1
    assert report.find("abc", budget=2).negative_transfer == 0


def test_the_references_are_the_best_arm_of_training_its_scratch_and_the_best_test_score():
    report = held_out_report(ABC)

    assert report.find("best_fixed", budget=1).test_score.mean == 0.55
    assert report.find("scratch", budget=1).test_score.mean == 0.60
    assert report.find("oracle", budget=1).test_score.mean == 0.75


def test_where_the_best_fixed_arm_is_barred_the_next_one_stands_in():
    barred = [item for item in ROWS if item.result.spec.target.dataset != "thai" or item.arm.source != "latin"]

    assert held_out_report(CBA, experience=barred).find("best_fixed", budget=1).test_score.mean == 0.70


def test_an_arm_tried_on_an_easy_target_alone_is_not_the_best_fixed_one():
    easy = rows({"easy": {"b": (0.99, 0.99), "c": (0.995, 0.995), "s": (0.98, 0.98)}})

    report = held_out_report(ABC, experience=[*ROWS, *easy])
    assert report.find("best_fixed", budget=1).test_score.mean == 0.55


def test_suggestions_without_a_record_are_passed_over():
    without_a = [item for item in ROWS if item.arm != ARMS["a"] or item.result.spec.target.dataset != "thai"]

    assert held_out_report(ABC, experience=without_a).find("abc", budget=1).test_score.mean == 0.70


def test_policies_never_see_the_held_out_data_sets():
    seen: list[set[str]] = []

    def learn(training):
        seen.append({item.result.spec.target.dataset for item in training})
        return [ABC]

    leave_one_dataset_out(learn, ROWS, budgets=(1,))
    assert seen == [{"grek", "thai"}, {"armn", "thai"}, {"armn", "grek"}]


def test_all_shots_of_a_data_set_leave_together_and_are_averaged():
    more = [*ROWS, *rows({"thai": {"a": (0.4, 0.35), "b": (0.3, 0.3)}}, shots=3)]
    report = held_out_report(ABC, experience=more, budgets=(1,))

    assert len(report.targets) == 2
    assert report.find("abc", budget=1).by_dataset["thai"].test_score == pytest.approx((0.55 + 0.35) / 2)


def test_several_data_sets_can_share_a_fold():
    calls: list[int] = []

    def learn(training):
        calls.append(len(training))
        return [ABC]

    report = leave_one_dataset_out(learn, ROWS, budgets=(1,), most_folds=2)
    assert len(calls) == 2
    assert len(report.find("abc", budget=1).by_dataset) == 3


def test_a_failed_pick_costs_a_trial_and_has_the_worst_regret():
    failed = [item for item in ROWS if item.arm != ARMS["a"] or item.result.spec.target.dataset != "thai"]
    failed.append(row(task("thai"), ARMS["a"], None, None, status=TrialStatus.FAILED))
    report = held_out_report(ABC, experience=failed)

    assert report.find("abc", budget=1).regret.mean == 3
    assert report.find("abc", budget=1).test_score.mean == 0.60
    assert report.find("abc", budget=2).test_score.mean == 0.70


def test_censored_and_crashed_trials_are_not_in_the_record():
    extra = [
        row(task("thai"), ARMS["a"], 0.99, None, seed=1, status=TrialStatus.STOPPED),
        row(task("thai"), ARMS["a"], None, None, seed=2, status=TrialStatus.CRASHED),
    ]

    assert held_out_report(ABC, experience=[*ROWS, *extra]) == held_out_report(ABC)


def test_seeds_of_an_arm_are_averaged():
    again = row(task("thai"), ARMS["a"], 0.8, 0.65, seed=1)

    report = held_out_report(ABC, experience=[*ROWS, again], budgets=(1,))
    assert report.find("abc", budget=1).test_score.mean == pytest.approx(0.60)


def test_a_loss_is_turned_so_that_higher_is_better():
    target = task("thai", metric=LOSS)
    losses = [row(target, ARMS["a"], 2.0, 2.5), row(target, ARMS["b"], 1.0, 1.5), row(target, ARMS["s"], 3.0, 3.0)]

    report = held_out_report(ABC, experience=[*rows(KNOWN), *losses])
    assert report.find("abc", budget=3).test_score.mean == -1.5
    assert report.find("oracle", budget=1).test_score.mean == -1.5


def test_a_comparison_pairs_the_data_sets():
    report = leave_one_dataset_out(lambda training: [ABC, CBA], ROWS, budgets=(1, 3))

    first, fixed = compare(report, "abc", budget=1, rivals=[("cba", 1), ("best_fixed", 1)])
    assert first.test.gain.mean == pytest.approx((0.25 + 0.25 - 0.20) / 3)
    assert (first.test.wins, first.test.losses) == (2, 1)
    assert first.p_holm >= first.test.p
    assert (fixed.test.wins, fixed.test.ties) == (2, 1)


def test_regret_is_compared_with_less_as_better():
    report = leave_one_dataset_out(lambda training: [ABC, CBA], ROWS, budgets=(1,))

    (test,) = compare(report, "abc", budget=1, rivals=[("cba", 1)], measure=Measure.REGRET)
    assert test.test.wins == 2


def test_figures_that_are_not_there_are_refused_with_what_is():
    with pytest.raises(InputError, match="abc@1"):
        held_out_report(ABC).find("abc", budget=7)


def test_nothing_held_out_is_refused():
    with pytest.raises(InputError, match="held-out"):
        evaluate(lambda training: [ABC], ROWS, held_out=[])


def test_two_policies_of_one_name_are_refused():
    with pytest.raises(InputError, match="same name"):
        held_out_report(ABC, ABC)


def test_the_default_is_the_candidate_with_the_least_regret_on_left_out_targets():
    choice = choose_default({"cba": lambda training: CBA, "abc": lambda training: ABC}, ROWS, budgets=(1,))

    assert choice.name == "abc"
    assert choice.regret["abc"] < choice.regret["cba"]


def test_equal_candidates_leave_the_first():
    choice = choose_default({"one": lambda training: ABC, "two": lambda training: ABC}, ROWS)

    assert choice.name == "one"


def test_no_candidate_is_refused():
    with pytest.raises(InputError, match="no candidates"):
        choose_default({}, ROWS)


def test_a_real_policy_learns_from_the_training_targets():
    proposer = RecordedProposer.of(ROWS)
    learner = PortfolioLearner(proposer=proposer)

    report = evaluate(
        lambda training: [learner.update(learner.initial(), training)], ROWS, held_out=["thai"], budgets=(1, 4)
    )
    assert report.find("portfolio", budget=1).test_score.mean == 0.55
    assert report.find("portfolio", budget=4).regret.mean == 0


def test_recorded_arms_are_drawn_in_an_order_fixed_by_the_seed():
    proposer = RecordedProposer.of(ROWS)

    drawn = proposer.propose(sources=["icons"], count=9, seed=3)
    assert {arm.key for arm in drawn} == {ARMS["b"].key, ARMS["c"].key}
    assert drawn == proposer.propose(sources=["icons"], count=9, seed=3)


def test_a_policy_that_runs_out_of_arms_keeps_its_incumbent():
    only = ListPolicy(name="only", order=("b",))

    (target,) = record(rows(HELD))
    assert len(replay(only, target, count=3, seed=0)) == 1
    assert held_out_report(only).find("only", budget=3).test_score.mean == 0.70
