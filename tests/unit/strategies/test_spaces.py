import pytest
from ConfigSpace import (
    AndConjunction,
    CategoricalHyperparameter,
    ConfigurationSpace,
    Constant,
    EqualsCondition,
    GreaterThanCondition,
    InCondition,
    NormalFloatHyperparameter,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)

from transmeta.core import codec
from transmeta.core.space import Categorical, Condition, Numeric, SpaceDescription
from transmeta.errors import ConfigError
from transmeta.strategies.spaces import Values, complete, describe, sample, vary


def nested() -> ConfigurationSpace:
    """kind → rate (log), kind and depth → gate, depth 1 to 3, size an ordinal, fixed a constant, on a truth value."""
    kind = CategoricalHyperparameter("kind", ["a", "b"], default_value="b")
    depth = UniformIntegerHyperparameter("depth", 1, 3, default_value=2)
    rate = UniformFloatHyperparameter("rate", 1e-4, 1e-1, default_value=1e-2, log=True)
    gate = CategoricalHyperparameter("gate", [True, False], default_value=True)
    space = ConfigurationSpace()
    space.add(kind, depth, rate, gate, OrdinalHyperparameter("size", [8, 16]), Constant("fixed", 5))
    space.add(EqualsCondition(rate, kind, "a"))
    space.add(AndConjunction(EqualsCondition(gate, kind, "a"), InCondition(gate, depth, [1, 2])))
    return space


DESCRIPTION = describe(nested(), strategy="mine")


def test_a_description_says_all_that_the_space_says():
    assert set(DESCRIPTION.parameters) == {
        Categorical(name="kind", choices=("a", "b"), default="b"),
        Numeric(name="depth", low=1.0, high=3.0, default=2.0, log=False, is_integer=True),
        Numeric(name="rate", low=1e-4, high=1e-1, default=1e-2, log=True, is_integer=False),
        Categorical(name="gate", choices=(True, False), default=True),
        Categorical(name="size", choices=(8, 16), default=8),
        Categorical(name="fixed", choices=(5,), default=5),
    }
    assert set(DESCRIPTION.conditions) == {
        Condition(child="rate", parent="kind", values=("a",)),
        Condition(child="gate", parent="kind", values=("a",)),
        Condition(child="gate", parent="depth", values=(1, 2)),
    }


def test_a_description_survives_json():
    assert codec.loads(SpaceDescription, codec.dumps(DESCRIPTION)) == DESCRIPTION


def test_a_condition_that_cannot_be_described_is_refused():
    depth = UniformIntegerHyperparameter("depth", 1, 3)
    rate = UniformFloatHyperparameter("rate", 0.0, 1.0)
    space = ConfigurationSpace()
    space.add(depth, rate, GreaterThanCondition(rate, depth, 1))

    with pytest.raises(TypeError, match="use EqualsCondition or InCondition"):
        describe(space, strategy="mine")


def test_a_hyperparameter_that_cannot_be_described_is_refused():
    space = ConfigurationSpace()
    space.add(NormalFloatHyperparameter("rate", mu=0.0, sigma=1.0, lower=-1.0, upper=1.0))

    with pytest.raises(TypeError, match="use uniform floats"):
        describe(space, strategy="mine")


def test_what_is_missing_has_its_default_where_it_is_active():
    assert complete(DESCRIPTION, {}) == {"kind": "b", "depth": 2, "size": 8, "fixed": 5}
    assert complete(DESCRIPTION, {"kind": "a"}) == {
        "kind": "a", "depth": 2, "size": 8, "fixed": 5, "rate": 1e-2, "gate": True
    }  # fmt: skip


def test_all_conditions_of_a_child_must_hold():
    assert "gate" in complete(DESCRIPTION, {"kind": "a", "depth": 1})
    assert "gate" not in complete(DESCRIPTION, {"kind": "a", "depth": 3})


def test_a_whole_number_is_taken_for_a_number():
    space = ConfigurationSpace()
    space.add(UniformFloatHyperparameter("rate", 0.0, 2.0))

    value = complete(describe(space, strategy="mine"), {"rate": 1})["rate"]

    assert isinstance(value, float)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"detph": 2}, "unknown hyperparameter of mine 'detph'; did you mean 'depth'?"),
        ({"depth": 4}, "mine: depth = 4 is out of range; give a whole number from 1 to 3"),
        ({"depth": 2.0}, "mine: depth = 2.0 is not a whole number; give a whole number from 1 to 3"),
        ({"depth": True}, "mine: depth = True is not a whole number; give a whole number from 1 to 3"),
        ({"kind": "a", "rate": 0.5}, "mine: rate = 0.5 is out of range; give a number from 0.0001 to 0.1"),
        ({"kind": "a", "rate": float("nan")}, "mine: rate = nan is out of range; give a number from 0.0001 to 0.1"),
        ({"kind": "a", "rate": "0.01"}, "mine: rate = '0.01' is not a number; give a number from 0.0001 to 0.1"),
        ({"kind": "c"}, "mine: kind = 'c' is not one of 'a', 'b'; give one of these"),
        ({"kind": "a", "gate": 1}, "mine: gate = 1 is not one of True, False; give one of these"),
        ({"rate": 0.01}, "mine: rate = 0.01 has no effect here; leave it out, or set kind to a"),
    ],
)
def test_a_refusal_says_what_which_value_and_what_to_do(params, message):
    with pytest.raises(ConfigError) as caught:
        complete(DESCRIPTION, params)

    assert str(caught.value) == message


def test_samples_are_distinct_valid_and_rounded():
    drawn = sample(nested(), count=60, seed=0)

    assert len({codec.dumps(params) for params in drawn}) == 60
    for params in drawn:
        assert complete(DESCRIPTION, params) == params
        assert all(type(value) in (bool, int, float, str) for value in params.values())
        assert all(float(f"{value:.6g}") == value for value in params.values() if isinstance(value, float))


def test_samples_end_where_the_space_ends():
    space = ConfigurationSpace()
    space.add(CategoricalHyperparameter("kind", ["a", "b"]), Constant("fixed", 1))

    assert len(sample(space, count=10, seed=0)) == 2
    assert len(sample(space, count=1, seed=0)) == 1
    assert sample(space, count=0, seed=0) == []


def test_a_variation_changes_one_hyperparameter_and_what_depends_on_it():
    centre = complete(DESCRIPTION, {"kind": "a"})

    varied = vary(nested(), centre, count=12, seed=0)

    assert len({codec.dumps(params) for params in varied}) == 12
    for params in varied:
        changed = {name for name in centre.keys() | params.keys() if centre.get(name) != params.get(name)}
        assert len(changed - {"rate", "gate"}) == 1 or changed in ({"rate"}, {"gate"})
        assert complete(DESCRIPTION, params) == params


def test_variations_end_where_the_space_ends():
    space = ConfigurationSpace()
    space.add(CategoricalHyperparameter("kind", ["a", "b", "c"]))

    assert sorted(params["kind"] for params in vary(space, {"kind": "a"}, count=10, seed=0)) == ["b", "c"]


def test_an_absent_value_reads_as_what_the_reader_says():
    values = Values(params={"epochs": 3})

    assert values.whole("epochs") == 3
    assert values.number("layer_decay", otherwise=1.0) == 1.0
    with pytest.raises(AssertionError, match="schedule"):
        values.text("schedule")
