"""Tasks restricted to some of their classes."""

import pytest

from transmeta.errors import ConfigError
from transmeta.tasks.glyphs import GlyphTasks

glyphs = GlyphTasks()


def test_a_restricted_task_has_so_many_classes_its_own_name_and_the_same_data_set():
    whole = glyphs.describe({"task": "glyphs-grek"})
    part = glyphs.describe({"task": "glyphs-grek", "classes": 5}, shots=3)

    data = glyphs.load(part)

    assert (part.name, part.dataset, part.class_count) == ("glyphs-grek-c5", whole.dataset, 5)
    assert part.fingerprint != whole.fingerprint
    assert set(data.class_names) < set(glyphs.load(whole).class_names)
    assert len(data.train) == 15


def test_the_same_classes_are_drawn_every_time():
    first, second = (glyphs.describe({"task": "glyphs-arab", "classes": 4}, seed=seed) for seed in (0, 1))

    assert first.fingerprint == second.fingerprint


def test_more_classes_than_there_are_is_all_of_them():
    assert glyphs.describe({"task": "glyphs-hebr", "classes": 500}).class_count == 27


@pytest.mark.parametrize("classes", [1, 0, -3, 2.0, "5", True])
def test_a_senseless_number_of_classes_is_refused(classes):
    with pytest.raises(ConfigError, match="classes"):
        glyphs.describe({"task": "glyphs-grek", "classes": classes})
