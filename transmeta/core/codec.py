"""Frozen dataclasses to JSON and back, strictly: unknown keys, missing keys and wrong types are refused."""

import dataclasses
import difflib
import enum
import functools
import hashlib
import json
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

from transmeta.errors import ConfigError

Json = typing.Union[None, bool, int, float, str, list["Json"], dict[str, "Json"]]  # noqa: UP007 - a recursive alias
T = TypeVar("T")

KIND = "kind"
"""The key that tells the members of a union of dataclasses apart; its value is the class name."""
UNSAID: Mapping[str, bool] = {"transmeta.unsaid": True}
"""Metadata of a field that is left out of the JSON where it has its default: text and digest are those of before it."""


def to_json(value: object) -> Json:
    """Returns `value` as plain JSON data.

    Raises:
        TypeError: for a value that is not made of dataclasses, enums, mappings, sequences and scalars.
        ValueError: for a float that is not finite, which JSON cannot hold.
    """
    if type(value) is str or value is None:
        return value
    if isinstance(value, enum.Enum):
        return cast(Json, value.value)
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"cannot write {value} as JSON; leave the value out instead")
        return value
    layout = _layout(type(value))  # type: ignore[arg-type]  # mypy takes the hash of instances for the class's
    if layout is not None:
        names, floats, unsaid = layout
        fields = {name: to_json(getattr(value, name)) for name in names}
        for name, default in unsaid:
            if getattr(value, name) == default:
                del fields[name]
        for name in floats:  # 1 and 1.0 are equal, so their text and digest must be
            if type(fields[name]) is int:
                fields[name] = float(getattr(value, name))
        return {KIND: type(value).__name__, **fields} if _is_tagged(type(value)) else fields
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [to_json(item) for item in value]
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def from_json(kind: type[T], data: Json, *, where: str = "") -> T:
    """Returns `data` as a `kind`.

    Args:
        where: how messages name the place, such as the file.

    Raises:
        ConfigError: for an unknown or missing key or a value of the wrong type, with its path.
    """
    return cast(T, _read(kind, data, where or kind.__name__))


def dumps(value: object) -> str:
    """Returns `value` as canonical JSON text: sorted keys, no spaces, so that equal values have equal text."""
    return json.dumps(to_json(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def loads(kind: type[T], text: str, *, where: str = "") -> T:
    """Returns the `kind` that `text` holds.

    Raises:
        ConfigError: for text that is not JSON, or not a `kind`.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits is a plain ValueError
        raise ConfigError(f"{where or kind.__name__}: not JSON ({error}); write the file again") from error
    return from_json(kind, data, where=where)


def digest(value: object, *, length: int = 20) -> str:
    """Returns the first `length` hexadecimal digits of the SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(dumps(value).encode()).hexdigest()[:length]


def tagged(kind: type[T]) -> type[T]:
    """Marks a dataclass as a member of a union, so that its JSON carries its class name."""
    kind.__transmeta_tagged__ = True  # type: ignore[attr-defined]  # a marker read by this module only
    return kind


def _is_tagged(kind: type) -> bool:
    return bool(getattr(kind, "__transmeta_tagged__", False))


@functools.cache
def _layout(kind: type) -> tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[str, object], ...]] | None:
    """Returns the names of a dataclass's fields, of those that hold floats, and what is left out; None for others."""
    if not dataclasses.is_dataclass(kind):
        return None
    fields = dataclasses.fields(kind)
    floats = tuple(field.name for field in fields if _hints(kind)[field.name] in (float, float | None))
    unsaid = tuple((field.name, field.default) for field in fields if field.metadata == UNSAID)
    return tuple(field.name for field in fields), floats, unsaid


Reader = Callable[[Json, str], object]
"""From JSON data, and where they stand, to a value."""


def _read(kind: object, data: Json, where: str) -> object:
    return _reader(kind)(data, where)


@functools.cache
def _reader(kind: object) -> Reader:
    """Returns what reads a `kind`; made once, since a trial is read and written a dozen times on its way."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _finite(_union_reader(typing.get_args(kind)))
    if origin is tuple:
        return _finite(_tuple_reader(typing.get_args(kind)))
    if origin is not None and issubclass(origin, Mapping):
        return _finite(_mapping_reader(typing.get_args(kind)[1]))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _finite(_enum_reader(kind))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _finite(_dataclass_reader(kind))
    if isinstance(kind, type):
        return _finite(_scalar_reader(kind))
    raise TypeError(f"cannot read a {kind}")


def _finite(reader: Reader) -> Reader:
    def read(data: Json, where: str) -> object:
        if type(data) is float and not math.isfinite(data):
            raise ConfigError(f"{where}: {data} is not finite; leave the value out instead")
        return reader(data, where)

    return read


def _scalar_reader(kind: type) -> Reader:
    def read(data: Json, where: str) -> object:
        if kind is float and type(data) is int:
            return _as_float(data, where)
        return _expect(data, kind, where)

    return read


def _mapping_reader(value_kind: object) -> Reader:
    reader = _reader(value_kind)

    def read(data: Json, where: str) -> object:
        return {key: reader(item, f"{where}.{key}") for key, item in _expect(data, dict, where).items()}

    return read


def _enum_reader(kind: type[enum.Enum]) -> Reader:
    def read(data: Json, where: str) -> object:
        try:
            return kind(data)
        except ValueError:
            choices = ", ".join(str(member.value) for member in kind)
            raise ConfigError(f"{where}: {data!r} is not one of {choices}") from None

    return read


def _union_reader(members: Sequence[object]) -> Reader:
    candidates = [member for member in members if member is not type(None)]
    readers = {member.__name__: _reader(member) for member in candidates if isinstance(member, type)}
    only = _reader(candidates[0]) if len(candidates) == 1 else None
    has_none = type(None) in members

    def read(data: Json, where: str) -> object:
        if data is None and has_none:
            return None
        if only is not None:
            return only(data, where)
        tag = data.get(KIND) if isinstance(data, dict) else None
        if isinstance(tag, str) and tag in readers:
            return readers[tag](data, where)
        if type(data) in candidates:
            return data
        if float in candidates and type(data) is int:
            return _as_float(data, where)
        names = ", ".join(getattr(member, "__name__", str(member)) for member in candidates)
        raise ConfigError(f"{where}: {data!r} is not one of {names}")

    return read


def _tuple_reader(members: Sequence[object]) -> Reader:
    readers = [_reader(member) for member in members if member is not Ellipsis]
    is_open = len(members) == 2 and members[1] is Ellipsis

    def read(data: Json, where: str) -> object:
        items = _expect(data, list, where)
        if is_open:
            (reader,) = readers
            return tuple([reader(item, f"{where}[{i}]") for i, item in enumerate(items)])
        if len(items) != len(readers):
            raise ConfigError(f"{where}: {len(items)} values where {len(readers)} are expected")
        return tuple([r(item, f"{where}[{i}]") for i, (r, item) in enumerate(zip(readers, items, strict=True))])

    return read


def _dataclass_reader(kind: type) -> Reader:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    required = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    is_tagged = _is_tagged(kind)
    readers: dict[str, Reader] = {}

    def read(data: Json, where: str) -> object:
        if not readers:  # made at the first use: a kind may hold itself
            readers.update({name: _reader(hint) for name, hint in _hints(kind).items() if name in fields})
        items = _expect(data, dict, where)
        if is_tagged and KIND in items:
            if items[KIND] != kind.__name__:
                raise ConfigError(
                    f"{where}: {items[KIND]!r} where a {kind.__name__} is expected; correct the key {KIND!r}"
                )
            items = {key: item for key, item in items.items() if key != KIND}
        if not items.keys() <= fields.keys():
            key = next(key for key in items if key not in fields)
            nearest = difflib.get_close_matches(key, fields, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(fields)}"
            raise ConfigError(f"{where}: unknown key {key!r}; {hint}")
        values = {name: readers[name](items[name], f"{where}.{name}") for name in fields if name in items}
        for name in required:
            if name not in values:
                raise ConfigError(f"{where}: the key {name!r} is missing; add it")
        return kind(**values)

    return read


def _as_float(data: int, where: str) -> float:
    try:
        return float(data)
    except OverflowError:
        raise ConfigError(f"{where}: a number of {data.bit_length()} bits; give a smaller one") from None


@functools.cache
def _hints(kind: type) -> Mapping[str, object]:
    return typing.get_type_hints(kind)


def _expect(data: Json, kind: type[T], where: str) -> T:
    if type(data) is not kind:
        raise ConfigError(f"{where}: {data!r} is not a {kind.__name__}; correct the value")
    return data
