import math

import numpy as np
import pytest

from transmeta.core.task import Modality
from transmeta.errors import DataError
from transmeta.metafeatures.target import (
    class_scatter,
    colourfulness,
    edge_density,
    ink_fraction,
    target_features,
)

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
TABLE = RNG.normal(size=(40, 6)).astype(np.float32)
LABELS = np.arange(40) % 4


def of_images(images=IMAGES, labels=LABELS, counts=(10, 10, 10, 10)):
    return target_features(images, labels, class_counts=counts, modality=Modality.IMAGE)


def of_table(table=TABLE, labels=LABELS, counts=(10, 10, 10, 10)):
    return target_features(table, labels, class_counts=counts, modality=Modality.TABULAR)


def test_sizes_are_natural_logarithms():
    found = of_images()

    assert found["log_examples"] == math.log(40)
    assert found["log_classes"] == math.log(4)
    assert found["log_examples_per_class"] == math.log(10)
    assert found["log_size"] == math.log(32 * 32)
    assert found["channels"] == 3.0
    assert found["is_image"] == 1.0


def test_a_table_has_the_same_names_and_no_statistics_of_images():
    found = of_table()

    assert found.keys() == of_images().keys()
    assert found["log_size"] == math.log(6)
    names = ("is_image", "channels", "mean_intensity", "contrast", "ink_fraction", "edge_density", "colourfulness")
    assert [found[name] for name in names] == [0.0] * 7


def test_balanced_classes_have_no_imbalance_and_one_class_has_all():
    assert of_images()["imbalance"] == pytest.approx(0.0, abs=1e-12)
    assert of_images(counts=(40, 0, 0, 0))["imbalance"] == 1.0
    skewed = -(0.7 * math.log(0.7) + 3 * 0.1 * math.log(0.1)) / math.log(4)
    assert of_images(counts=(28, 4, 4, 4))["imbalance"] == pytest.approx(1 - skewed)


def test_intensity_and_contrast_are_shares_of_white():
    images = np.zeros((2, 8, 8, 1), dtype=np.uint8)
    images[:, :4] = 255

    found = of_images(images, np.array([0, 1]), (1, 1))

    assert found["mean_intensity"] == 0.5
    assert found["contrast"] == 0.5


def test_ink_is_what_differs_from_the_border_whatever_its_polarity():
    dark = np.ones((1, 8, 8, 1))
    dark[:, 2:6, 2:6] = 0.0

    assert ink_fraction(dark) == 16 / 64
    assert ink_fraction(1 - dark) == 16 / 64


def test_edges_are_counted_between_neighbours():
    half = np.zeros((1, 4, 4, 1))
    half[:, :, 2:] = 1.0

    assert edge_density(half) == 4 / 24  # 4 of 12 pairs across, none of 12 down


def test_grey_images_have_no_colour():
    grey = np.repeat(RNG.random((3, 5, 5, 1)), 3, axis=3)

    assert colourfulness(grey) == pytest.approx(0.0, abs=1e-12)
    assert colourfulness(grey[..., :1]) == 0.0


def test_colourfulness_is_the_formula_of_hasler_and_suesstrunk():
    image = RNG.random((1, 6, 6, 3))
    r, g, b = np.moveaxis(image[0], 2, 0)
    rg, yb = r - g, 0.5 * (r + g) - b

    expected = math.sqrt(rg.var() + yb.var()) + 0.3 * math.sqrt(rg.mean() ** 2 + yb.mean() ** 2)

    assert colourfulness(image) == pytest.approx(expected)


def test_class_scatter_is_the_share_of_variance_between_classes_corrected_for_chance():
    x, labels = RNG.normal(size=(30, 1)) + np.arange(30)[:, None] % 3, np.arange(30) % 3
    z = (x - x.mean()) / x.std()
    within = sum(((z[labels == c] - z[labels == c].mean()) ** 2).sum() for c in range(3))

    expected = (30 - within - 2 * within / 27) / 30

    assert class_scatter(x, labels) == pytest.approx(expected)


@pytest.mark.parametrize("shots", [2, 3, 30])
def test_class_scatter_of_noise_is_about_zero_for_any_number_of_shots(shots):
    x = np.random.default_rng(1).normal(size=(10 * shots, 400))

    assert class_scatter(x, np.arange(10 * shots) % 10) < 0.02


def test_separate_classes_scatter_fully():
    assert class_scatter(np.repeat(np.eye(3), 4, axis=0), np.repeat(np.arange(3), 4)) == pytest.approx(1.0)


def test_counts_may_be_of_more_than_what_is_looked_at():
    assert of_images(counts=(100, 100, 100, 100))["log_examples"] == math.log(400)


@pytest.mark.parametrize(
    ("examples", "labels", "modality"),
    [
        (np.zeros((4, 8, 8, 1), dtype=np.uint8), np.arange(4), Modality.IMAGE),
        (np.full((4, 1, 1, 3), 255, dtype=np.uint8), np.zeros(4, dtype=np.int64), Modality.IMAGE),
        (np.full((4, 3), 1e30, dtype=np.float32), np.arange(4) % 2, Modality.TABULAR),
        (np.zeros((1, 1), dtype=np.float32), np.zeros(1, dtype=np.int64), Modality.TABULAR),
    ],
)
def test_degenerate_targets_have_finite_features(examples, labels, modality):
    counts = np.bincount(labels)

    found = target_features(examples, labels, class_counts=counts, modality=modality)

    assert np.isfinite(list(found.values())).all(), found
    assert all(type(value) is float for value in found.values())


def test_a_large_split_is_looked_at_in_part_with_every_class():
    table = RNG.normal(size=(5000, 3)).astype(np.float32)
    labels = np.sort(RNG.integers(0, 5, 5000))
    table[:, 0] += labels

    found = of_table(table, labels, tuple(np.bincount(labels)))

    assert found["log_examples"] == math.log(5000)
    assert found["class_scatter"] == pytest.approx(class_scatter(table, labels), abs=0.02)


def test_values_that_are_not_finite_are_refused():
    table = TABLE.copy()
    table[3, 2] = np.nan

    with pytest.raises(DataError, match="NaN"):
        of_table(table)


def test_no_examples_are_refused():
    with pytest.raises(DataError, match="no training examples"):
        of_table(TABLE[:0], LABELS[:0], (0, 0))
