import numpy as np

from transmeta.metafeatures.arrays import centre, one_hot, standardise


def test_standardised_columns_have_mean_zero_and_deviation_one():
    x = np.random.default_rng(0).normal(3.0, 5.0, (50, 4)).astype(np.float32)

    z = standardise(x)

    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0), 1.0, atol=1e-12)


def test_constant_columns_become_zero_in_spite_of_rounding():
    x = np.full((7, 2), 0.1)
    x[:, 1] = 1e8 / 3

    assert not centre(x).any()
    assert not standardise(x).any()


def test_large_values_do_not_overflow():
    x = np.random.default_rng(0).normal(size=(20, 3)) * 1e200

    assert np.isfinite(standardise(x)).all()


def test_indicators_are_made_for_the_classes_that_occur():
    np.testing.assert_array_equal(one_hot(np.array([7, 2, 7])), [[0, 1], [1, 0], [0, 1]])
