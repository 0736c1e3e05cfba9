import pytest

from transmeta.experiments.statistics import bootstrap, holm, paired


def test_the_interval_holds_the_mean_and_is_the_same_each_time():
    interval = bootstrap([0.1, 0.2, 0.6, 0.3])

    assert interval.mean == pytest.approx(0.3)
    assert interval.low < 0.3 < interval.high
    assert interval == bootstrap([0.1, 0.2, 0.6, 0.3])


def test_equal_values_have_no_width():
    interval = bootstrap([0.5, 0.5, 0.5])

    assert (interval.low, interval.high) == (0.5, 0.5)


def test_the_interval_has_the_width_that_the_normal_theory_says():
    values = [float(i % 10) for i in range(400)]
    interval = bootstrap(values)

    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 2.872 / 20, rel=0.05)


def test_nothing_cannot_be_averaged():
    with pytest.raises(ValueError, match="no values"):
        bootstrap([])


def test_wins_ties_and_losses_add_up():
    test = paired([0.1, 0.2, 0.0, -0.1])

    assert (test.wins, test.ties, test.losses) == (2, 1, 1)
    assert test.gain.mean == pytest.approx(0.05)


def test_no_difference_is_no_evidence():
    assert paired([0.0, 0.0, 0.0]).p == 1


def test_six_wins_of_six_have_the_exact_probability():
    assert paired([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).p == pytest.approx(2 / 64)


def test_holm_multiplies_by_the_number_of_hypotheses_left():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))


def test_holm_never_exceeds_one():
    assert holm([0.6, 0.9]) == (1.0, 1.0)
