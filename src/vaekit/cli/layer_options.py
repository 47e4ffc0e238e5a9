"""The options of models with several stochastic layers: temperatures of layers, and how many of them are fixed."""

import math
from typing import Literal

from vaekit.core.errors import ConfigError
from vaekit.core.safe_text import MAX_NAME, printable

EACH: Literal["each"] = "each"


def read_temperatures(text: str) -> float | tuple[float, ...]:
    """Reads ``--temperature``: a number, or one for each layer, separated by commas.

    Raises:
        ConfigError: If a part is no number, or below 0.
    """
    try:
        values = tuple(map(float, text.split(",")))
    except ValueError:
        values = (math.nan,)
    if not all(0 <= value < math.inf for value in values):
        raise ConfigError(f"--temperature {printable(text, MAX_NAME)}: give numbers from 0 on, as 0.8 or 0.7,0.8,1")
    return values[0] if len(values) == 1 else values


def read_fixed_layers(text: str | None) -> int | Literal["each"] | None:
    """Reads ``--fix-layers``: a number of layers, or ``each``; None if it is not given.

    Raises:
        ConfigError: If it is neither.
    """
    if text is None or text == EACH:
        return EACH if text else None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ConfigError(f"--fix-layers {printable(text, MAX_NAME)}: give a number of layers, or each")
    return int(text)
