"""Arguments of public functions, checked at the call against the annotations of the signature.

>>> @checked(ModelError)
... def sample(num: Count, temperature: NonNegative = 1.0) -> Tensor: ...
>>> sample("ten")
ModelError: sample: num is a whole number of at least 1, got 'ten'

The annotations are the one place that says what is allowed, for the reader, the type checker and the message. Only what
users call has the decorator; functions inside of the package trust each other. Of tensors a signature says nothing, neither
shape nor type: what takes one checks it itself (:mod:`vaekit.models.inputs`).
"""

import inspect
import math
import os
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, reduce, wraps
from itertools import islice
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from vaekit.core.errors import VaekitError, suggest
from vaekit.core.safe_text import printable_value

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Within:
    """The range of a number, both ends included; ``above`` excludes the low end. NaN is in no range."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number is in the range."""
        return self.low <= value <= self.high and not (self.above and value == self.low)

    def intersection(self, other: "Within") -> "Within":
        """Returns the numbers that are in both ranges."""
        highest = max(self, other, key=lambda each: (each.low, each.above))
        return Within(highest.low, min(self.high, other.high), highest.above)

    def __str__(self) -> str:
        low = f"{'above' if self.above else 'of at least'} {self.low:g}" if self.low > -math.inf else ""
        high = f"at most {_short(self.high)}" if self.high < math.inf else ""
        return " and ".join(filter(None, [low, high]))


BY_FUNCTION = "checked by the function"
"""Marks an annotation, as in ``Annotated[int | None, BY_FUNCTION]``, that the function checks with a message of its own."""
MAX_ITEMS = 100
"""The number of items of a collection that are looked at; a set has a name for each of a million images."""
MAX_SEED = 2**63 - 1
"""The largest seed of all generators; torch and NumPy differ above it."""
Count = Annotated[int, Within(1)]
NumOrZero = Annotated[int, Within(0)]
Seed = Annotated[int, Within(0, MAX_SEED)]
NonNegative = Annotated[float, Within(0)]

WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a string",
    NoneType: "None",
    os.PathLike: "a path",
    Callable: "a function",
}
"""What values of a type are called in messages; a class that is not listed is called by its name."""
PUBLIC_WORDS = {
    "Dataset": "a data set, as vaekit.load_images returns",
    "ImageSet": "a set of images, as vaekit.load_images returns",
    "Model": "a model, as vaekit.load returns",
    "Fitting": "a vaekit.data.Fitting",
    "RunFolder": "a run",
    "device": "a device, as torch.device('cpu')",
    "Path": "a path",
}
"""The same for classes of packages above this one, and of torch, by name."""


def checked(error: type[VaekitError]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a public function: an argument that does not match its annotation raises ``error`` in one line.

    What a signature cannot say, such as the shape of a tensor, the function checks itself. An argument that is missing or
    has an unknown name is a TypeError, as in Python.

    Arguments:
        error: The class of the error.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = checked_arguments(function, args, kwargs, error)
            return function(*bound.args, **bound.kwargs)

        return call

    return decorate


def checked_arguments(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], error: type[VaekitError]
) -> inspect.BoundArguments:
    """Returns the arguments of a call, with numbers of NumPy as those of Python, which JSON and generators take.

    Raises:
        error: For the first argument that does not match its annotation.
        TypeError: If an argument is missing or has an unknown name.
    """
    signature, hints = _declared(function)
    title = "" if function.__name__ == "__init__" else f"{function.__name__}: "
    bound = signature.bind(*args, **kwargs)
    for name, value in bound.arguments.items():
        if name in hints:
            require(value, hints[name], f"{title}{name}", error)
            bound.arguments[name] = _of_python(value)
    return bound


def _of_python(value: Any) -> Any:
    """A number of NumPy as one of Python, and anything else as it is."""
    if isinstance(value, int | float) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def require_fields(instance: Any, error: type[VaekitError]) -> None:
    """Raises ``error`` for the first field of a dataclass that does not match its annotation."""
    for name, hint in _fields(cast(Hashable, type(instance))).items():
        require(getattr(instance, name), hint, name, error)


def require(value: Any, hint: Any, name: str, error: type[VaekitError]) -> None:
    """Raises ``error`` if a value does not match an annotation."""
    if not matches(value, hint):
        raise error(f"{name} is {words(hint)}, got {shown(value)}{_near(value, hint)}")


@cache
def _declared(function: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, Any]]:
    """The signature of a function, and the annotations of those parameters that the decorator checks."""
    signature = inspect.signature(function)
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    left_out = {name for name, parameter in signature.parameters.items() if parameter.kind in variadic} | {"return"}
    hints = get_type_hints(function, include_extras=True)
    return signature, {name: hint for name, hint in hints.items() if name not in left_out and not _is_left_out(hint)}


@cache
def _fields(kind: Any) -> dict[str, Any]:
    """The annotations of those fields of a dataclass that are checked here."""
    hints = get_type_hints(kind, include_extras=True)
    return {each.name: hints[each.name] for each in fields(kind) if not _is_left_out(hints[each.name])}


def _is_left_out(hint: Any) -> bool:
    """Whether the function checks what has this annotation: a tensor, or what is marked, alone or among others."""
    if get_origin(hint) in (Union, UnionType):
        return any(map(_is_left_out, get_args(hint)))
    return _is_tensor(hint) or (get_origin(hint) is Annotated and BY_FUNCTION in get_args(hint))


def _is_tensor(hint: Any) -> bool:
    """Whether an annotation is that of a tensor, or of a tensor or something else."""
    if getattr(hint, "__name__", "") == "Tensor":  # torch is not imported: a recipe is checked without it
        return True
    return get_origin(hint) in (Union, UnionType) and any(map(_is_tensor, get_args(hint)))


def matches(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation says; numbers of NumPy are numbers, and True is none."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return not isinstance(hint, TypeVar) or hint.__bound__ is None or matches(value, hint.__bound__)
    if origin is Annotated:
        return matches(value, inner[0]) and _range(inner[1:]).holds(value)
    if origin in (Union, UnionType):
        return any(matches(value, each) for each in inner)
    if origin is Literal:
        return isinstance(value, str | int | NoneType) and value in inner
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
    if isinstance(value, str) and origin in (Sequence, Collection):
        return False
    if not isinstance(value, NoneType if hint is None else origin or hint):
        return False
    return _items_match(value, origin, inner)


def _items_match(value: Any, origin: Any, inner: tuple[Any, ...]) -> bool:
    """Whether the items of a collection are what its annotation says."""
    if origin is tuple and Ellipsis not in inner:
        return len(value) == len(inner) and all(map(matches, value, inner))
    if origin in (Sequence, Collection, list, tuple):
        return all(matches(item, inner[0]) for item in islice(value, MAX_ITEMS))
    return True


def words(hint: Any) -> str:
    """What an annotation allows, for a message: ``a whole number of at least 1 or None``."""
    origin, inner = get_origin(hint), get_args(hint)
    if isinstance(hint, TypeVar):
        return words(hint.__bound__)
    if origin is Annotated:
        return f"{words(inner[0])} {_range(inner[1:])}".strip()
    if origin in (Union, UnionType):
        return _either([words(each) for each in inner])
    if origin is Literal:
        return _either([str(name) for name in inner])
    if origin in (Sequence, Collection, list, tuple):
        items = dict.fromkeys(each for each in inner if each is not Ellipsis)
        kind = "pair" if origin is tuple and len(inner) == 2 and Ellipsis not in inner else "list"
        return f"a {kind} of {' and '.join(map(_plural, items))}"
    kind = origin or hint
    name = str(getattr(kind, "__name__", kind))
    return WORDS.get(kind) or PUBLIC_WORDS.get(name, f"{'an' if name[0] in 'AEIO' else 'a'} {name}")


def _range(metadata: Sequence[Any]) -> Within:
    """The range that the parts of an annotation declare together, for this module or for pydantic."""
    return reduce(Within.intersection, map(_declared_range, metadata), Within())


def _declared_range(part: Any) -> Within:
    """The range that one part declares: a ``Within``, a ``Field``, or a bound of ``annotated_types``."""
    if isinstance(part, Within):
        return part
    if hasattr(part, "metadata"):  # a Field
        return _range(part.metadata)
    if hasattr(part, "gt"):
        return Within(part.gt, above=True)
    return Within(getattr(part, "ge", -math.inf), getattr(part, "le", math.inf))


def _either(names: list[str]) -> str:
    *first, last = dict.fromkeys(names)
    return f"{', '.join(first)} or {last}" if first else last


def _plural(hint: Any) -> str:
    """What several values are called: ``a whole number of at least 1`` as ``whole numbers of at least 1``."""
    if get_origin(hint) in (Union, UnionType):
        return _either([_plural(each) for each in get_args(hint)])
    head, separator, tail = words(hint).removeprefix("a ").removeprefix("an ").partition(" of ")
    return f"{head}s{separator}{tail}"


def shown(value: Any) -> str:
    """A value for a message: itself if it is short, as numbers and words are, else its type and shape."""
    if isinstance(value, str | int | float | NoneType | tuple | list | dict | os.PathLike):
        return printable_value(value)
    shape = f" of shape {tuple(value.shape)}" if hasattr(value, "dtype") and hasattr(value, "shape") else ""
    return f"{'the class ' * isinstance(value, type)}{getattr(value, '__name__', type(value).__name__)}{shape}"


def _near(value: Any, hint: Any) -> str:
    """The names that are like a misspelled one."""
    each = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    known = [name for one in each if get_origin(one) is Literal for name in get_args(one)]
    return suggest(value, known) if isinstance(value, str) and known else ""


def _short(number: float) -> str:
    return "2**63 - 1" if number == MAX_SEED else f"{number:g}"
