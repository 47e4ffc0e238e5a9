"""Configuration: parts from data and data from parts.

A part of a model is written in a recipe as ``{name: mlp, hidden: [512]}``. The name is registered in a :class:`Registry`;
the other keys are the arguments of its constructor: the signature is the one place where keys, types and ranges are
declared, and :func:`build` checks a recipe against it. Every part keeps each constructor argument in an attribute of the
same name, so that :func:`describe` can write it down again:

>>> build(registry, describe(part, registry), place="model.encoder")  # an equal part
"""

import inspect
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from vaekit.core.errors import ConfigError, suggest
from vaekit.core.registry import Registry, lookup, qualified_name
from vaekit.core.safe_text import MAX_NAME, printable, printable_value

T = TypeVar("T")
Spec = dict[str, Any]
"""A part as data: its registered ``name`` and the arguments of its constructor."""
INFERRED = ("shape", "latent_dim", "num_features", "num_maps", "context_dim")
"""Constructor arguments of the parts of a model that follow from other parts, and are therefore not written."""
MAX_INTEGER, MAX_FLOAT = 2**63 - 1, (2 - 2**-23) * 2.0**127
"""The largest numbers that tensors of int64 and of float32 hold."""
MAX_DEPTH = 32
"""The maximum number of lists and mappings inside of each other."""


class Section(BaseModel):
    """A part of a recipe with fixed keys: unknown ones are refused, and so are numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


def check(factory: Callable[..., Any], spec: Mapping[str, Any], *, place: str, inferred: tuple[str, ...] = ()) -> Spec:
    """Checks constructor arguments given as data against a signature.

    Arguments:
        factory: The class or function whose annotated signature declares what is allowed.
        spec: The arguments, without ``name``.
        place: The place in the recipe, for messages, e.g. ``model.encoder``.
        inferred: Parameters that follow from other parts, which data may not set.

    Returns:
        All arguments that data may set, defaults included, converted to their types.

    Raises:
        ConfigError: If a key, type or range is wrong: the place, the reason and the nearest valid key.
    """
    return vars(validate(_schema(factory, inferred), dict(spec), place)).copy()


def build(table: Mapping[str, Callable[..., T]], spec: Mapping[str, Any], *, place: str, **inferred: Any) -> T:
    """Builds a part from data.

    Arguments:
        table: The registry.
        spec: ``name`` and constructor arguments.
        place: The place in the recipe, for messages.
        inferred: Arguments that follow from other parts, such as the shape of an image.

    Raises:
        ConfigError: If the name is unknown or an argument is wrong.
    """
    factory = lookup(table, spec.get("name"), f"{place}.name")
    arguments = {key: value for key, value in spec.items() if key != "name"}
    return factory(**inferred, **check(factory, arguments, place=place, inferred=tuple(sorted(inferred))))


def describe(part: Any, table: Mapping[str, Callable[..., Any]], *, inferred: tuple[str, ...] = ()) -> Spec:
    """Describes a part as data, the inverse of :func:`build`.

    Raises:
        ConfigError: If the part's class is not registered, so that data could not name it, or it does not keep an argument.
    """
    for name in table:
        if _is_entry(table, name, type(part)):
            parameters = _parameters(table[name], inferred)
            if lost := [key for key in parameters if not hasattr(part, key)]:
                raise ConfigError(
                    f"{qualified_name(type(part))} does not keep its argument {lost[0]}, so a saved model would lose it; "
                    f"write self.{lost[0]} = {lost[0]} in its constructor"
                )
            return {"name": name} | {key: to_data(getattr(part, key)) for key in parameters}
    kind = type(part)
    raise ConfigError(
        f"{qualified_name(kind)} is not registered, so a saved model could not name it: decorate it with "
        f'@{getattr(table, "title", "REGISTRY")}.register("{kind.__name__.lower()}") (known: {", ".join(table)})'
    )


def _is_entry(table: Mapping[str, Any], name: str, kind: type) -> bool:
    """Whether a name is that of a class; other classes of a registry are not imported for it."""
    if isinstance(table, Registry) and table.qualified(name) != qualified_name(kind):
        return False
    return table[name] is kind


def to_data(value: Any) -> Any:
    """Converts a value to what JSON and YAML can hold: pydantic models to dictionaries, tuples to lists."""
    if isinstance(value, BaseModel):
        return to_data(value.model_dump())
    if isinstance(value, Mapping):
        return {key: to_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_data(item) for item in value]
    return value


M = TypeVar("M", bound=BaseModel)
SECTION_EXPECTED = ("model_type", "model_attributes_type", "dict_type", "mapping_type")
"""The kinds of pydantic's faults that a single value is where keys and values should be."""


def validate(schema: type[M], data: Any, place: str) -> M:
    """Validates data against a pydantic model.

    Raises:
        ConfigError: One line with the place, the reason and the nearest valid name for the first fault, and how many more;
            also for a number that no tensor holds.
    """
    try:
        valid = schema.model_validate(data)
        _check_numbers(vars(valid), place)
        _check_booleans(data, valid, place)
        return valid
    except ValidationError as error:
        faults = _by_place(error, data)
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        steps, alternatives = next(iter(faults.items()))
        raise ConfigError(_explain(schema, steps, alternatives, place) + more) from None


def _by_place(error: ValidationError, data: Any) -> dict[tuple[str, ...], list[Any]]:
    """The faults at each place of the data: several at one place are the alternatives of a union, none of which fits.

    Of a union that was entered by an alternative, as a list with a wrong item, only the faults within are told.
    """
    faults: dict[tuple[str, ...], list[Any]] = {}
    for fault in error.errors(include_url=False):
        faults.setdefault(_steps(fault, data), []).append(fault)
    within = {place[:end] for place in faults for end in range(len(place))}
    return {place: alternatives for place, alternatives in faults.items() if place not in within}


def _steps(fault: Any, data: Any) -> tuple[str, ...]:
    """The keys and indices that lead to a fault; pydantic puts the names of a union's alternatives between them."""
    steps = []
    for number, step in enumerate(fault["loc"], start=1):
        inside = step in data if isinstance(data, Mapping) else isinstance(data, list | tuple) and step in range(len(data))
        if inside:
            data = data[step]
        if inside or (fault["type"] == "missing" and number == len(fault["loc"])):
            steps.append(printable(str(step), MAX_NAME))
    return tuple(steps)


def _check_numbers(value: Any, place: str, depth: int = 0) -> None:
    """Refuses integers beyond int64, numbers beyond float32, and data nested too deeply, at their place."""
    if depth > MAX_DEPTH:
        raise ConfigError(f"{place}: nested over {MAX_DEPTH} levels deep; write it flat")
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ConfigError(f"{place}: must be less than 2**63 in size, the range of int64, got {printable_value(value, 40)}")
    if isinstance(value, float) and MAX_FLOAT < abs(value) < math.inf:
        raise ConfigError(f"{place}: must be at most {MAX_FLOAT:.4g} in size, the range of float32, got {value:g}")
    if isinstance(value, BaseModel):
        value = vars(value)
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_numbers(item, f"{place}.{key}".lstrip("."), depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_numbers(item, place, depth + 1)


def _check_booleans(given: Any, valid: Any, place: str) -> None:
    """Refuses true and false where they have become the numbers 1 and 0, at their place."""
    valid = vars(valid) if isinstance(valid, BaseModel) else valid
    if isinstance(given, bool) and isinstance(valid, int | float) and not isinstance(valid, bool):
        raise ConfigError(f"{place}: input should be a number, got {str(given).lower()}")
    if isinstance(given, Mapping) and isinstance(valid, Mapping):
        for key in given.keys() & valid.keys():
            _check_booleans(given[key], valid[key], f"{place}.{key}".lstrip("."))
    elif isinstance(given, list | tuple) and isinstance(valid, list | tuple):
        for before, after in zip(given, valid, strict=False):
            _check_booleans(before, after, place)


def _explain(schema: type[BaseModel], steps: tuple[str, ...], alternatives: list[Any], place: str) -> str:
    fault = alternatives[0]
    where = ".".join(step for step in [place, *steps] if step)
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key{suggest(steps[-1], _keys(schema, list(steps[:-1])))}"
    if fault["type"] == "missing":
        return f"{where}: missing"
    if fault["type"] == "value_error":
        return f"{where}: {fault['ctx']['error']}"
    reasons = dict.fromkeys(map(_reason, alternatives))
    first, *others = reasons
    either = "".join(f" or {reason.removeprefix('input should be ')}" for reason in others)
    return f"{where}: {first}{either}, got {printable_value(fault['input'])}"


def _reason(fault: Any) -> str:
    """What a value should be, in words that need no knowledge of Python."""
    if fault["type"] in SECTION_EXPECTED:
        return "input should be a section of keys and values"
    if fault["type"] == "too_short":
        return (
            f"input should be a list of at least {fault['ctx']['min_length']} item{'s' * (fault['ctx']['min_length'] != 1)}"
        )
    message: str = fault["msg"].replace("a valid tuple", "a list").replace("a valid list", "a list")
    return f"{message[0].lower()}{message[1:]}"


def _keys(schema: type[BaseModel], path: list[str]) -> list[str]:
    """The valid keys at a place in a model, as far as the path leads through models."""
    for step in path:
        nested = schema.model_fields[step].annotation if step in schema.model_fields else None
        if not (inspect.isclass(nested) and issubclass(nested, BaseModel)):
            return []
        schema = nested
    return list(schema.model_fields)


def _parameters(factory: Callable[..., Any], inferred: tuple[str, ...]) -> dict[str, inspect.Parameter]:
    # A module without a constructor of its own has the variadic parameters of its base class.
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(factory).parameters.items()
    return {key: parameter for key, parameter in parameters if key not in inferred and parameter.kind not in variadic}


@cache
def _schema(factory: Callable[..., Any], inferred: tuple[str, ...]) -> type[BaseModel]:
    """A pydantic model of the constructor arguments that data may set."""
    hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory, include_extras=True)
    fields: dict[str, Any] = {
        key: (hints[key], ... if parameter.default is inspect.Parameter.empty else parameter.default)
        for key, parameter in _parameters(factory, inferred).items()
    }
    forbid = ConfigDict(extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True, validate_default=True)
    return create_model(f"{getattr(factory, '__name__', 'part')} arguments", __config__=forbid, **fields)
