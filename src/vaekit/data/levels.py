"""Levels: which values of a set of images are black and white. One scale holds for the whole set and for later images.

Images of 8 bits need none: 0 is black and 255 white. Of deeper integers and of floating-point values the range of the whole
set decides, since no single image shows it: a dark image stays dark. Nominal ranges have precedence over observed ones, so
that a few more images do not change the scale: a maximum of 3,900 means 12 bits, and white is 4,095.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Pair = tuple[float, float]
"""The values of black and white."""
Kind = Literal["uint8", "integers", "floats"]
"""The kinds of values: of 8 bits, deeper integers, and floating point."""
LevelsSpec = Literal["auto"] | Pair | dict[Kind, Pair]
"""Levels as data: found, a pair for values of every kind, or a pair for each kind."""

AUTO: Literal["auto"] = "auto"
EIGHT_BITS: Pair = (0.0, 255.0)
NOMINAL = (255, 1023, 4095, 16_383, 65_535)
"""White of 8, 10, 12, 14 and 16 bits."""
MIN_SHARE = 4
"""A nominal range fits if the largest value is above a quarter of it."""
OVERSHOOT = 0.25
"""How far floating-point values may exceed a usual range, as a share of it, and are clipped: interpolation causes it."""
BLOCK_VALUES = 2**20
"""The number of values that are examined at a time."""


class UnknownLevels(Exception):
    """An image cannot be scaled, because the levels of its kind of values are not known yet."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True)
class Levels:
    """The values of black and white for each kind of values; None where they are to be found.

    Arguments:
        uint8: Of values of 8 bits.
        integers: Of deeper integers.
        floats: Of floating-point values.
    """

    uint8: Pair | None = None
    integers: Pair | None = None
    floats: Pair | None = None

    @classmethod
    def read(cls, spec: LevelsSpec | Any) -> "Levels":
        """Returns levels from data.

        A pair beyond 0 to 255 does not apply to images of 8 bits, which cannot hold it.

        Raises:
            ValueError: If they are not ``auto``, a pair of black and white, or pairs by kind, with black below white.
        """
        if isinstance(spec, str) and spec == AUTO:
            return cls()
        if not isinstance(spec, Mapping):
            pair = _pair(spec)
            holds = pair[0] >= EIGHT_BITS[0] and pair[1] <= EIGHT_BITS[1]
            return cls(pair if holds else None, pair, pair)
        if unknown := [key for key in spec if key not in KINDS]:
            raise ValueError(f"{str(unknown[0])[:40]!r} is no kind of values (known: {', '.join(KINDS)})")
        return cls(**{kind: _pair(pair) for kind, pair in spec.items()})

    def write(self) -> str | dict[str, list[float]]:
        """Returns the levels as data, which :meth:`read` reads."""
        known: dict[str, list[float]] = {kind: list(pair) for kind in KINDS if (pair := self.of(kind)) is not None}
        return known or AUTO

    def of(self, kind: Kind) -> Pair | None:
        """Returns the levels of a kind of values."""
        pair: Pair | None = getattr(self, kind)
        return pair

    def known(self, kind: Kind) -> Pair:
        """Returns the levels of a kind of values.

        Raises:
            UnknownLevels: If they are to be found.
        """
        pair = self.of(kind)
        if pair is None:
            raise UnknownLevels(kind)
        return pair

    def with_pair(self, kind: Kind, pair: Pair) -> "Levels":
        """Returns the levels with those of one kind."""
        return replace(self, **{kind: pair})

    def agree(self, other: "Levels") -> bool:
        """Returns whether a set with these levels is scaled as by ``other``; it has no values of kinds without levels."""
        return self.uint8 == other.uint8 and all(self.of(kind) in (None, other.of(kind)) for kind in KINDS)


UNKNOWN = Levels()
"""Levels that are all to be found."""
KINDS: tuple[Kind, ...] = tuple(field.name for field in fields(Levels))  # type: ignore[misc]
"""All kinds of values."""


@dataclass(frozen=True)
class ValueRange:
    """The range of values.

    Arguments:
        low: The smallest.
        high: The largest.
        whole: Whether all are whole numbers.
    """

    low: float = math.inf
    high: float = -math.inf
    whole: bool = True

    def union(self, other: "ValueRange") -> "ValueRange":
        """Returns the range of both."""
        return ValueRange(min(self.low, other.low), max(self.high, other.high), self.whole and other.whole)

    @property
    def is_empty(self) -> bool:
        """Whether it is the range of no values."""
        return self.low > self.high


def kind_of(dtype: np.dtype[Any]) -> Kind:
    """Returns the kind of values of a type; bool is of 8 bits."""
    if dtype == np.bool_ or dtype == np.uint8:
        return "uint8"
    return "floats" if dtype.kind == "f" else "integers"


def range_of(values: NDArray[Any]) -> ValueRange:
    """Returns the range of values.

    Raises:
        ValueError: If one is not finite.
    """
    found = ValueRange()
    flat = values.reshape(-1)
    for start in range(0, flat.size, BLOCK_VALUES):
        block = flat[start : start + BLOCK_VALUES]
        if not np.isfinite(block).all():
            raise ValueError(NOT_FINITE)
        low, high = float(block.min()), float(block.max())
        whole = found.whole and (block.dtype.kind != "f" or bool((block == np.rint(block)).all()))
        found = found.union(ValueRange(low, high, whole))
    return found


NOT_FINITE = "holds values that are no finite numbers (NaN or infinity); replace them"


def choose_levels(kind: Kind, values: ValueRange) -> Pair:
    """Returns the levels for values of a range.

    Values of 8 bits keep 0 and 255, unless all are 0 or 1. Integers, and floating-point values that are whole numbers, have
    the nominal range of 1, 8, 10, 12, 14 or 16 bits that fits. Other floating-point values are in [0, 1], [-1, 1] or
    [0, 255]. If no such range fits, the smallest value is black and the largest white.
    """
    low, high = values.low, values.high
    if kind == "uint8":
        return (0.0, 1.0) if 0 < high <= 1 else EIGHT_BITS
    if kind == "floats":
        if low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
            return 0.0, 1.0
        if -1 - OVERSHOOT <= low < -0.5 and high <= 1 + OVERSHOOT:
            return -1.0, 1.0
        if -OVERSHOOT * 255 <= low < 127.5 and 255 / MIN_SHARE < high <= (1 + OVERSHOOT) * 255:
            return EIGHT_BITS
    if values.whole and low >= 0:
        for white in (1, *NOMINAL):
            if (white / MIN_SHARE < high or high <= 1) and high <= white + (white > 1):  # some scale to 256 or 4,096
                return 0.0, float(white)
    return (low, high) if low < high else (low, low + 1)


def is_nominal(pair: Pair) -> bool:
    """Returns whether levels are a usual range, not the extremes of a set."""
    return pair in ((0.0, 1.0), (-1.0, 1.0)) or (pair[0] == 0 and pair[1] in NOMINAL)


def scale(values: NDArray[Any], pair: Pair) -> NDArray[np.uint8]:
    """Scales values to gray levels: black to 0, white to 255, what is beyond is clipped.

    Arguments:
        values: Integers, floating point or bool; bool is black and white in any case.
        pair: The values of black and white.

    Raises:
        ValueError: If a value is not finite.
    """
    if values.dtype == np.bool_:
        return np.where(values, np.uint8(255), np.uint8(0))
    if values.dtype == np.uint8 and pair == EIGHT_BITS:
        return np.asarray(values, np.uint8)
    black, white = pair
    exact = values if values.dtype.kind == "f" else values.astype(np.float64)
    if exact.dtype == np.float16:  # whose products are rounded to less than a gray level
        exact = exact.astype(np.float32)
    if not np.isfinite(exact).all():
        raise ValueError(NOT_FINITE)
    with np.errstate(over="ignore"):  # infinite, and clipped
        shifted = exact - black if black else exact
        scaled = shifted * 255 if white - black == 1 else shifted * (255 / (white - black))
    pixels: NDArray[np.uint8] = np.rint(scaled).clip(0, 255).astype(np.uint8)
    return pixels


def describe_levels(kind: Kind, values: ValueRange, pair: Pair) -> str:
    """Returns a line about levels that were found, e.g. ``integers from 0 to 3,900: black is 0, white 4,095``."""
    words = {"uint8": "of 8 bits", "integers": "integers", "floats": "floating-point numbers"}[kind]
    line = f"pixel values are {words} from {_number(values.low)} to {_number(values.high)}; {describe_pair(pair)}"
    return line if is_nominal(pair) else f"{line}, the extremes, as no usual range fits"


def describe_pair(pair: Pair) -> str:
    """Returns levels as text: ``black is 0 and white 4,095``."""
    return f"black is {_number(pair[0])} and white {_number(pair[1])}"


def checked_levels(spec: Any) -> Any:
    """Returns levels as a recipe holds them: ``auto``, a list of black and white, or such lists by kind.

    Raises:
        ValueError: If they are none of these.
    """
    levels = Levels.read(spec)
    return list(_pair(spec)) if isinstance(spec, list | tuple) else levels.write()


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:.6g}"


def _pair(value: Any) -> Pair:
    """Black and white from data."""
    try:
        black, white = (float(level) for level in ("" if isinstance(value, str | bytes) else value))
    except (TypeError, ValueError, OverflowError):
        black, white = math.nan, math.nan
    if not (math.isfinite(black) and math.isfinite(white) and black < white):
        raise ValueError(f"{str(value)[:60]} is no pair of black and white; write auto, or as in [0, 4095]")
    return black, white
