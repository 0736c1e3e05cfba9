"""Values of a ConfigSpace space as plain data: described, completed, drawn, varied."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from typing import Final, cast, final

import numpy as np
from ConfigSpace import (
    AndConjunction,
    CategoricalHyperparameter,
    Configuration,
    ConfigurationSpace,
    Constant,
    EqualsCondition,
    InCondition,
    OrdinalHyperparameter,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from ConfigSpace.util import get_one_exchange_neighbourhood

from transmeta.core.model import ModelCard
from transmeta.core.space import Categorical, Condition, Numeric, SpaceDescription
from transmeta.core.task import Params, ParamValue, params_key
from transmeta.errors import ConfigError, UnknownNameError
from transmeta.strategies.strategy import Strategy

SEEDS: Final = 2**32
"""NumPy's RandomState, which ConfigSpace draws with, takes seeds below this."""
ATTEMPTS: Final = 8
"""Rounds of drawing before a space counts as exhausted."""


@final
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """A complete and valid choice of hyperparameters, read with the type that the reader expects."""

    params: Params

    def number(self, name: str, *, otherwise: float | None = None) -> float:
        """Returns a float; `otherwise` where the hyperparameter is absent or inactive."""
        value = self.params.get(name, otherwise)
        assert isinstance(value, float), f"{name} is {value!r}, not a float"
        return value

    def whole(self, name: str, *, otherwise: int | None = None) -> int:
        """Returns an integer; `otherwise` where the hyperparameter is absent or inactive."""
        value = self.params.get(name, otherwise)
        assert isinstance(value, int), f"{name} is {value!r}, not an integer"
        return value

    def text(self, name: str, *, otherwise: str | None = None) -> str:
        """Returns a text; `otherwise` where the hyperparameter is absent or inactive."""
        value = self.params.get(name, otherwise)
        assert isinstance(value, str), f"{name} is {value!r}, not a text"
        return value


def resolve(strategy: Strategy, params: Params, *, model: ModelCard) -> Values:
    """Returns `params` completed with defaults, all checked against the strategy's space for `model`.

    Raises:
        ConfigError: as `Strategy.plan` says.
    """
    if not strategy.applies_to(model):
        kind = "has weights" if model.is_pretrained else "has no weights"
        raise ConfigError(
            f"{strategy.name}: does not apply to {model.id}, which {kind} and {model.stage_count} stage(s); "
            "choose another strategy or source"
        )
    return Values(params=complete(_description(strategy, model), params))  # type: ignore[arg-type]  # hashed by identity


@functools.lru_cache(maxsize=512)
def _description(strategy: Strategy, model: ModelCard) -> SpaceDescription:
    """Returns the strategy's space for `model`, made once: it is asked for with every trial."""
    return describe(strategy.space(model), strategy=strategy.name)


def describe(space: ConfigurationSpace, *, strategy: str) -> SpaceDescription:
    """Returns `space` in our own words.

    Raises:
        TypeError: for a kind of hyperparameter or condition that `Strategy.space` does not allow.
    """
    parameters = tuple(_describe_one(item, strategy=strategy) for item in space.values())
    conditions: list[Condition] = []
    for condition in space.conditions:
        parts = condition.components if isinstance(condition, AndConjunction) else (condition,)
        for part in parts:
            allowed: tuple[ParamValue, ...]
            if isinstance(part, EqualsCondition):
                allowed = (_plain(part.value),)
            elif isinstance(part, InCondition):
                allowed = tuple(_plain(value) for value in part.values)
            else:
                raise TypeError(f"{strategy}: cannot describe {part}; use EqualsCondition or InCondition")
            conditions.append(Condition(child=part.child.name, parent=part.parent.name, values=allowed))
    return SpaceDescription(strategy=strategy, parameters=parameters, conditions=tuple(conditions))


def complete(description: SpaceDescription, params: Params) -> dict[str, ParamValue]:
    """Returns `params` with the defaults of all other active hyperparameters, in the order of the description.

    Raises:
        ConfigError: for a key that is unknown or inactive, or a value of the wrong type or out of range.
    """
    where = description.strategy
    known = {parameter.name: parameter for parameter in description.parameters}
    for name in params:
        if name not in known:
            raise ConfigError(str(UnknownNameError(f"hyperparameter of {where}", name=name, known=known)))
    conditions: dict[str, list[Condition]] = {}
    for condition in description.conditions:
        conditions.setdefault(condition.child, []).append(condition)
    values: dict[str, ParamValue] = {}
    for name in _parents_first(known, conditions):
        unmet = [c for c in conditions.get(name, ()) if c.parent not in values or values[c.parent] not in c.values]
        if not unmet:
            values[name] = _check(known[name], params[name], where=where) if name in params else _default(known[name])
        elif name in params:
            choices = ", ".join(str(value) for value in unmet[0].values)
            raise ConfigError(
                f"{where}: {name} = {params[name]!r} has no effect here; "
                f"leave it out, or set {unmet[0].parent} to {choices}"
            )
    return {name: values[name] for name in known if name in values}


def sample(space: ConfigurationSpace, *, count: int, seed: int) -> list[dict[str, ParamValue]]:
    """Returns up to `count` distinct choices, fewer only where the space has no more; the same for the same seed."""
    bounds = describe(space, strategy="")
    space.seed(seed % SEEDS)
    found: dict[str, dict[str, ParamValue]] = {}
    for _ in range(ATTEMPTS):
        if len(found) < count:
            drawn = space.sample_configuration(size=count + 1)  # of size 1 it would return no list
            _collect(drawn, bounds=bounds, into=found, count=count)
    return list(found.values())


def vary(space: ConfigurationSpace, params: Params, *, count: int, seed: int) -> list[dict[str, ParamValue]]:
    """Returns up to `count` distinct choices that differ from `params`, complete and valid, in one hyperparameter.

    Numbers move by a normal step of 0.2 of their range (log where the space is); a switch brings its dependants along.
    """
    bounds = describe(space, strategy="")
    start = params_key(params)
    centre = Configuration(space, values=dict(params))
    found: dict[str, dict[str, ParamValue]] = {start: dict(params)}
    for attempt in range(ATTEMPTS):
        if len(found) <= count:
            steps = get_one_exchange_neighbourhood(centre, seed=(seed + attempt) % SEEDS)
            _collect(steps, bounds=bounds, into=found, count=count + 1)
    del found[start]
    return list(found.values())


def _collect(
    configurations: Iterable[Configuration],
    *,
    bounds: SpaceDescription,
    into: dict[str, dict[str, ParamValue]],
    count: int,
) -> None:
    for configuration in configurations:
        if len(into) >= count:
            return
        drawn = {parameter.name: parameter for parameter in bounds.parameters if parameter.name in configuration}
        values = {name: _round(parameter, _plain(configuration[name])) for name, parameter in drawn.items()}
        into.setdefault(params_key(values), values)


def _describe_one(item: object, *, strategy: str) -> Numeric | Categorical:
    match item:
        case UniformFloatHyperparameter() | UniformIntegerHyperparameter():
            return Numeric(
                name=item.name,
                low=float(item.lower),
                high=float(item.upper),
                default=float(_plain(item.default_value)),
                log=item.log,
                is_integer=isinstance(item, UniformIntegerHyperparameter),
            )
        case CategoricalHyperparameter():
            choices = tuple(_plain(choice) for choice in item.choices)
        case OrdinalHyperparameter():
            choices = tuple(_plain(choice) for choice in item.sequence)
        case Constant():
            choices = (_plain(item.value),)
        case _:
            raise TypeError(
                f"{strategy}: cannot describe {item}; use uniform floats and integers, categories, ordinals, constants"
            )
    return Categorical(name=item.name, choices=choices, default=_plain(item.default_value))


def _plain(value: object) -> ParamValue:
    """Returns a NumPy scalar as Python's own."""
    plain: object = value.item() if isinstance(value, np.generic) else value
    assert isinstance(plain, bool | int | float | str), f"{plain!r} is not a JSON scalar"
    return plain


def _parents_first(names: Iterable[str], conditions: Mapping[str, list[Condition]]) -> list[str]:
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            for condition in conditions.get(name, ()):
                visit(condition.parent)
            order.append(name)

    for name in names:
        visit(name)
    return order


def _check(parameter: Numeric | Categorical, value: ParamValue, *, where: str) -> ParamValue:
    name = parameter.name
    if isinstance(parameter, Categorical):
        if not any(type(value) is type(choice) and value == choice for choice in parameter.choices):
            choices = ", ".join(repr(choice) for choice in parameter.choices)
            raise ConfigError(f"{where}: {name} = {value!r} is not one of {choices}; give one of these")
        return value
    kind = "a whole number" if parameter.is_integer else "a number"
    if isinstance(value, bool | str) or (parameter.is_integer and isinstance(value, float)):
        raise ConfigError(f"{where}: {name} = {value!r} is not {kind}; {_wanted(parameter, kind)}")
    if not math.isfinite(value) or not parameter.low <= value <= parameter.high:
        raise ConfigError(f"{where}: {name} = {value!r} is out of range; {_wanted(parameter, kind)}")
    return value if parameter.is_integer else float(value)


def _wanted(parameter: Numeric, kind: str) -> str:
    return f"give {kind} from {parameter.low:g} to {parameter.high:g}"


def _default(parameter: Numeric | Categorical) -> ParamValue:
    is_integer = isinstance(parameter, Numeric) and parameter.is_integer
    return int(parameter.default) if is_integer else parameter.default  # descriptions hold all numbers as floats


def _round(parameter: Numeric | Categorical, value: ParamValue) -> ParamValue:
    """Returns floats with 6 significant digits, so that a trial's id survives being printed and read."""
    if isinstance(parameter, Categorical) or parameter.is_integer:
        return value
    return min(max(float(f"{cast(float, value):.6g}"), parameter.low), parameter.high)
