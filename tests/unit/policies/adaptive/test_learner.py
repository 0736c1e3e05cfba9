from transmeta.policies.adaptive.policy import LeftOut
from transmeta.policies.adaptive.session import FEATURED, PORTFOLIO

from .live import LEARNER, policy, present, rows


def test_the_policy_does_not_depend_on_the_order_of_the_experience() -> None:
    backward = LEARNER.update(LEARNER.initial(), rows()[::-1])

    assert backward.suggest(present(0.2), (), count=6, seed=0) == policy().suggest(present(0.2), (), count=6, seed=0)


def test_left_out_data_sets_are_compared_with_the_portfolio() -> None:
    left_out = policy().left_out

    assert left_out is not None
    assert set(left_out.regret) == set(left_out.portfolio) == {f"set{i}" for i in range(8)}
    assert all(0 <= regret <= 3 for regret in left_out.regret.values())


def test_with_features_the_network_and_samples_count() -> None:
    assert policy().learned.knobs == FEATURED


def test_with_fewer_than_three_data_sets_there_is_nothing_to_leave_out() -> None:
    few = [line for line in rows() if line.result.spec.target.dataset in ("set0", "set7")]

    learned = LEARNER.update(LEARNER.initial(), few)
    assert learned.learned.knobs == PORTFOLIO
    assert learned.left_out is None


def test_where_it_is_worse_on_left_out_data_sets_its_choices_are_the_portfolios(monkeypatch) -> None:
    worse = LeftOut(regret={"a": 0.5, "b": 0.1}, portfolio={"a": 0.3, "b": 0.2})
    monkeypatch.setattr("transmeta.policies.adaptive.learner.left_out", lambda cases, knobs: worse)

    learned = LEARNER.update(LEARNER.initial(), rows())

    assert learned.learned.knobs == PORTFOLIO
    assert learned.left_out == LeftOut(regret=worse.portfolio, portfolio=worse.portfolio)
    monkeypatch.undo()
    assert LEARNER.update(learned, rows()).learned.knobs == FEATURED
