import dataclasses
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transmeta.core import codec
from transmeta.core.experience import Experience, Provenance
from transmeta.core.plan import (
    L2SP,
    Addition,
    Initialisation,
    Lora,
    OptimiserPlan,
    ResidualAdapter,
    Schedule,
    Scope,
    SideNetwork,
    TransferPlan,
)
from transmeta.core.space import Categorical, Numeric, SpaceDescription
from transmeta.core.task import Modality, ParamValue, Task, TaskPair
from transmeta.core.trial import Measurement, StrategySpec, TrialResult, TrialSpec, TrialStatus
from transmeta.errors import ConfigError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    count: int
    name: str = "none"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    inner: Inner
    rate: float
    is_on: bool = False
    colour: Colour = Colour.RED
    pair: tuple[int, str] = (0, "")
    values: tuple[float, ...] = ()
    extra: Mapping[str, ParamValue] = dataclasses.field(default_factory=dict)
    limit: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    items: Sequence[int]


def read(**values: codec.Json) -> Outer:
    return codec.from_json(Outer, {"inner": {"count": 1}, "rate": 0.5, **values})


finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
texts = st.text(max_size=20)
params = st.dictionaries(texts, st.booleans() | st.integers() | finite | texts, max_size=4)
positive = st.floats(min_value=1e-9, max_value=1e9)
tasks = st.builds(
    Task,
    name=words,
    provider=words,
    params=params,
    dataset=texts,
    domain=texts,
    modality=st.sampled_from(Modality),
    shape=st.lists(st.integers(1, 64), min_size=1, max_size=3).map(tuple),
    class_count=st.integers(2, 1000),
    fingerprint=words,
    shots=st.none() | st.integers(1, 100),
    seed=st.integers(0, 2**63),
)
specs = st.builds(
    TrialSpec,
    pair=st.builds(TaskPair, source=words, target=tasks),
    strategy=st.builds(StrategySpec, name=words, params=params),
    seed=st.integers(0, 2**63),
)
results = st.builds(
    TrialResult,
    spec=specs,
    status=st.sampled_from(TrialStatus),
    curve=st.lists(
        st.builds(
            Measurement,
            epoch=st.integers(1, 99),
            **dict.fromkeys(
                ("progress", "progress_before", "value", "train_loss", "cost_s", "wall_s"), finite | st.integers(0, 9)
            ),
        ),
        max_size=3,
    ).map(tuple),
    score=st.none() | finite,
    test_score=st.none() | finite,
    reason=texts,
    checkpoint=st.none() | texts,
)
plans = st.builds(
    TransferPlan,
    trainable=st.lists(st.integers(0, 8)).map(tuple),
    optimiser=st.builds(
        OptimiserPlan,
        learning_rate=positive,
        epochs=st.integers(1, 99),
        head_multiplier=positive,
        schedule=st.sampled_from(Schedule),
        warmup=st.floats(0, 1),
    ),
    initialisation=st.sampled_from(Initialisation),
    scope=st.sampled_from(Scope),
    additions=st.lists(
        st.builds(Lora, rank=st.integers(1, 9), scale=finite)
        | st.builds(ResidualAdapter, cut=st.integers(0, 9))
        | st.builds(SideNetwork, width=st.integers(1, 9)),
        max_size=3,
    ).map(tuple),
    penalty=st.none() | st.builds(L2SP, strength=finite, head_strength=finite),
)
spaces = st.builds(
    SpaceDescription,
    strategy=words,
    parameters=st.lists(
        st.builds(Numeric, name=words, low=finite, high=finite, default=finite, log=st.booleans())
        | st.builds(Categorical, name=words, choices=st.lists(st.integers() | texts).map(tuple), default=texts),
        max_size=3,
    ).map(tuple),
)
experiences = st.builds(
    Experience,
    result=results,
    target_features=st.dictionaries(texts, finite, max_size=3),
    pair_features=st.dictionaries(texts, finite, max_size=3),
    provenance=st.builds(Provenance, version=texts, run=texts, executor=texts, created_at=texts),
)
values = tasks | specs | results | plans | spaces | experiences


@settings(max_examples=25)  # rich values are slow to draw
@given(values)
def test_what_is_written_is_read_back_equal(value):
    assert codec.loads(type(value), codec.dumps(value)) == value


@settings(max_examples=25)  # rich values are slow to draw
@given(values)
def test_what_is_read_back_has_the_same_text_and_so_the_same_digest(value):
    text = codec.dumps(value)

    assert codec.dumps(codec.loads(type(value), text)) == text


@given(st.dictionaries(texts, st.integers()))
def test_text_does_not_depend_on_the_order_of_keys(items):
    backwards = dict(reversed(items.items()))

    assert codec.dumps(items) == codec.dumps(backwards)


def test_text_is_compact_sorted_and_ascii():
    assert codec.dumps({"b": (1, 2.5), "a": "é"}) == '{"a":"\\u00e9","b":[1,2.5]}'


def test_an_integer_in_a_field_for_floats_has_the_text_of_the_float():
    assert codec.digest(L2SP(strength=1, head_strength=0)) == codec.digest(L2SP(strength=1.0, head_strength=0.0))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """A kind that got a field after its digests were stored."""

    a: int
    later: str = dataclasses.field(default="as before", metadata=codec.UNSAID)


@pytest.mark.parametrize(
    ("value", "text"), [(Grown(a=1), '{"a":1}'), (Grown(a=1, later="new"), '{"a":1,"later":"new"}')]
)
def test_a_later_field_is_written_only_where_it_says_something(value, text):
    assert codec.dumps(value) == text
    assert codec.loads(Grown, text) == value


def test_digest_is_the_head_of_the_sha256_of_the_text():
    # sha256(b'{"a":1}'), by sha256sum
    assert codec.digest({"a": 1}, length=16) == "015abd7f5cc57a2d"


def test_digest_of_a_plan_never_changes():
    """Ids and stores are made of digests. No plan is stored, so a new field may change this one; nothing else may."""
    plan = TransferPlan(
        trainable=(2, 3),
        optimiser=OptimiserPlan(learning_rate=1e-3, epochs=5),
        additions=(Lora(rank=4, scale=8.0, cut=1),),
    )

    assert codec.digest(plan) == "63a233443b21261cc895"


def test_an_unknown_key_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigError, match=r"Outer: unknown key 'colours'; did you mean 'colour'\?"):
        read(colours="red")


def test_an_unknown_key_like_no_other_is_refused_with_all_that_are_known():
    with pytest.raises(ConfigError, match=r"unknown key 'zzzz'; known: inner, rate, is_on, colour"):
        read(zzzz=1)


def test_a_wrong_key_deep_inside_is_refused_with_its_path():
    with pytest.raises(ConfigError, match=r"file\.toml\.inner: unknown key 'cuont'; did you mean 'count'\?"):
        codec.from_json(Outer, {"inner": {"cuont": 1}, "rate": 0.5}, where="file.toml")


def test_a_missing_key_is_refused_by_name():
    with pytest.raises(ConfigError, match="the key 'rate' is missing; add it"):
        codec.from_json(Outer, {"inner": {"count": 1}})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"count": True}}, r"Outer\.inner\.count: True is not a int"),
        ({"inner": {"count": 1.0}}, r"Outer\.inner\.count: 1.0 is not a int"),
        ({"inner": {"count": "1"}}, r"Outer\.inner\.count: '1' is not a int"),
        ({"inner": None}, r"Outer\.inner: None is not a dict"),
        ({"inner": []}, r"Outer\.inner: \[\] is not a dict"),
        ({"rate": "0.5"}, r"Outer\.rate: '0.5' is not a float"),
        ({"rate": True}, r"Outer\.rate: True is not a float"),
        ({"rate": None}, r"Outer\.rate: None is not a float"),
        ({"rate": math.nan}, r"Outer\.rate: nan is not finite"),
        ({"rate": math.inf}, r"Outer\.rate: inf is not finite"),
        ({"rate": 10**400}, r"Outer\.rate: a number of 1329 bits"),
        ({"is_on": 1}, r"Outer\.is_on: 1 is not a bool"),
        ({"colour": "green"}, r"Outer\.colour: 'green' is not one of red, blue"),
        ({"colour": ["red"]}, r"Outer\.colour: \['red'\] is not one of red, blue"),
        ({"pair": [1]}, r"Outer\.pair: 1 values where 2 are expected"),
        ({"pair": [1, 2]}, r"Outer\.pair\[1\]: 2 is not a str"),
        ({"values": [0.5, "x"]}, r"Outer\.values\[1\]: 'x' is not a float"),
        ({"values": 0.5}, r"Outer\.values: 0.5 is not a list"),
        ({"extra": {"a": None}}, r"Outer\.extra\.a: None is not one of bool, int, float, str"),
        ({"extra": {"a": [1]}}, r"Outer\.extra\.a: \[1\] is not one of"),
        ({"extra": {"a": math.nan}}, r"Outer\.extra\.a: nan is not finite"),
        ({"limit": 1.5}, r"Outer\.limit: 1.5 is not a int"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_its_path(values, message):
    with pytest.raises(ConfigError, match=message):
        read(**values)


def test_a_whole_number_is_taken_for_a_float_and_becomes_one():
    rate = read(rate=2).rate

    assert (rate, type(rate)) == (2.0, float)


def test_a_parameter_keeps_its_own_type():
    extra = read(extra={"a": True, "b": 1, "c": 1.0, "d": "1"}).extra

    assert [type(value) for value in extra.values()] == [bool, int, float, str]


def test_a_union_without_integers_takes_one_as_a_float():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Either:
        value: float | str

    assert type(codec.from_json(Either, {"value": 3}).value) is float
    with pytest.raises(ConfigError, match="a number of 1329 bits"):
        codec.from_json(Either, {"value": 10**400})


def test_null_is_read_where_it_is_allowed():
    assert read(limit=None).limit is None


def test_the_members_of_a_union_are_told_apart_by_their_kind():
    lora: Addition = Lora(rank=4, scale=8.0)

    assert codec.to_json(lora) == {"kind": "Lora", "rank": 4, "scale": 8.0, "cut": 0}
    for data, kind in (({"kind": "ResidualAdapter", "cut": 1}, ResidualAdapter), (codec.to_json(lora), Lora)):
        plan = codec.from_json(
            TransferPlan,
            {"trainable": [], "optimiser": {"learning_rate": 0.1, "epochs": 1}, "additions": [data]},
        )
        assert type(plan.additions[0]) is kind


@pytest.mark.parametrize("data", [{"cut": 1}, {"kind": "Adapter", "cut": 1}, {"kind": 3}, None, "Lora"])
def test_a_member_of_a_union_without_a_known_kind_is_refused(data):
    with pytest.raises(ConfigError, match=r"additions\[0\]: .* is not one of Lora, ResidualAdapter, SideNetwork"):
        codec.from_json(
            TransferPlan,
            {"trainable": [], "optimiser": {"learning_rate": 0.1, "epochs": 1}, "additions": [data]},
        )


def test_another_kind_is_refused_where_only_one_is_possible():
    with pytest.raises(ConfigError, match="'SideNetwork' where a ResidualAdapter is expected"):
        codec.from_json(ResidualAdapter, {"kind": "SideNetwork", "cut": 1})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_not_written(value):
    with pytest.raises(ValueError, match="cannot write"):
        codec.dumps({"a": [value]})


@pytest.mark.parametrize("value", [object(), {1, 2}, b"ab", bytearray(b"ab"), Inner])
def test_what_json_cannot_hold_is_not_written(value):
    with pytest.raises(TypeError, match="as JSON"):
        codec.dumps([value])


@pytest.mark.parametrize(
    "text",
    ["", "{", "nonsense", '{"count": NaN', "[" * 100_000, '{"count": ' + "9" * 5000 + "}"],
    ids=["empty", "torn", "word", "torn NaN", "too deep", "too many digits"],
)
def test_text_that_is_not_json_is_refused_with_its_place(text):
    with pytest.raises(ConfigError, match=r"policy\.json: not JSON"):
        codec.loads(Inner, text, where="policy.json")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_not_read(text):
    with pytest.raises(ConfigError, match="is not finite"):
        codec.loads(L2SP, f'{{"strength": {text}, "head_strength": 1}}')


def test_a_type_that_is_not_ours_is_a_programming_error():
    with pytest.raises(TypeError, match="cannot read a"):
        codec.from_json(Unreadable, {"items": [1]})
