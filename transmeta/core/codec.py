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
from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

from transmeta.errors import ConfigError

Json = typing.Union[None, bool, int, float, str, list["Json"], dict[str, "Json"]]  # noqa: UP007 - a recursive alias
T = TypeVar("T")

KIND = "kind"
"""The key that tells the members of a union of dataclasses apart; its value is the class name."""


def to_json(value: object) -> Json:
    """Returns `value` as plain JSON data.

    Raises:
        TypeError: for a value that is not made of dataclasses, enums, mappings, sequences and scalars.
        ValueError: for a float that is not finite, which JSON cannot hold.
    """
    if isinstance(value, enum.Enum):
        return cast(Json, value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"cannot write {value} as JSON; leave the value out instead")
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
        for name in _float_fields(type(value)):  # 1 and 1.0 are equal, so their text and digest must be
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
def _float_fields(kind: type) -> tuple[str, ...]:
    hints = _hints(kind)
    return tuple(f.name for f in dataclasses.fields(kind) if hints[f.name] in (float, float | None))


def _read(kind: object, data: Json, where: str) -> object:
    if type(data) is float and not math.isfinite(data):
        raise ConfigError(f"{where}: {data} is not finite; leave the value out instead")
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _read_union(typing.get_args(kind), data, where)
    if origin is tuple:
        return _read_tuple(typing.get_args(kind), data, where)
    if origin is not None and issubclass(origin, Mapping):
        value_kind = typing.get_args(kind)[1]
        items = _expect(data, dict, where)
        return {key: _read(value_kind, item, f"{where}.{key}") for key, item in items.items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(data)
        except ValueError:
            choices = ", ".join(str(member.value) for member in kind)
            raise ConfigError(f"{where}: {data!r} is not one of {choices}") from None
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, data, where)
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return _as_float(data, where)
    if isinstance(kind, type):
        return _expect(data, kind, where)
    raise TypeError(f"{where}: cannot read a {kind}")


def _read_union(members: Sequence[object], data: Json, where: str) -> object:
    if data is None and type(None) in members:
        return None
    candidates = [member for member in members if member is not type(None)]
    if len(candidates) == 1:
        return _read(candidates[0], data, where)
    if isinstance(data, dict) and KIND in data:
        for member in candidates:
            if isinstance(member, type) and member.__name__ == data[KIND]:
                return _read(member, data, where)
    for member in candidates:
        if isinstance(member, type) and type(data) is member:
            return data
    if float in candidates and type(data) is int:
        return _as_float(data, where)
    names = ", ".join(getattr(member, "__name__", str(member)) for member in candidates)
    raise ConfigError(f"{where}: {data!r} is not one of {names}")


def _read_tuple(members: Sequence[object], data: Json, where: str) -> tuple[object, ...]:
    items = _expect(data, list, where)
    if len(members) == 2 and members[1] is Ellipsis:
        return tuple(_read(members[0], item, f"{where}[{i}]") for i, item in enumerate(items))
    if len(items) != len(members):
        raise ConfigError(f"{where}: {len(items)} values where {len(members)} are expected")
    return tuple(_read(m, item, f"{where}[{i}]") for i, (m, item) in enumerate(zip(members, items, strict=True)))


def _read_dataclass(kind: type, data: Json, where: str) -> object:
    items = dict(_expect(data, dict, where))
    if _is_tagged(kind) and (tag := items.pop(KIND, kind.__name__)) != kind.__name__:
        raise ConfigError(f"{where}: {tag!r} where a {kind.__name__} is expected; correct the key {KIND!r}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in items:
        if key not in fields:
            nearest = difflib.get_close_matches(key, fields, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(fields)}"
            raise ConfigError(f"{where}: unknown key {key!r}; {hint}")
    hints = _hints(kind)
    values = {}
    for name, field in fields.items():
        if name in items:
            values[name] = _read(hints[name], items[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: the key {name!r} is missing; add it")
    return kind(**values)


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
