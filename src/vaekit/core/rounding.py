r"""Values with their standard errors as text.

A standard error is itself an estimate, of which two significant digits mean something; a value is written to the same place:
``-91.23 ± 0.45``, ``41,840 ± 800``. An error as small as the rounding of the numbers that it was computed
from is written as 0, and the value then to the digits of its metric.

References:
    | Evaluation of measurement data: guide to the expression of uncertainty in measurement (JCGM 100:2008), section 7.2.6
"""

import math

RELATIVE = 1e-7
"""The share of a value below which an error is one of rounding: that of float32, in which images are evaluated."""
ABSOLUTE = 1e-12
"""The size below which any error is one of rounding, also of a value near 0."""


def is_rounding(value: float, error: float) -> bool:
    """Returns whether an error is one of rounding."""
    return error <= max(RELATIVE * abs(value), ABSOLUTE)


def with_error(value: float, error: float | None, digits: int) -> str:
    """Returns a value with its standard error, both to two significant digits of the error.

    Arguments:
        value: The value.
        error: Its standard error; None if there is none.
        digits: The number of decimal places where the error does not decide it: without an error, or with one of rounding.

    >>> with_error(-91.2345, 0.4512, 2), with_error(0.2, 8e-18, 2), with_error(41843.7, 803.9, 2)
    ('-91.23 ± 0.45', '0.20 ± 0', '41,840 ± 800')
    """
    if error is None:
        return f"{value:,.{digits}f}"
    if not (math.isfinite(value) and math.isfinite(error)):
        return f"{value:,.{digits}f} ± {error:,.{digits}f}"
    if is_rounding(value, error):
        return f"{value:,.{digits}f} ± 0"
    places = 1 - int(f"{error:.1e}".partition("e")[2])  # of the rounded error: 0.0996 is 0.10
    return f"{_to(value, places)} ± {_to(error, places)}"


def _to(value: float, places: int) -> str:
    """A number to a decimal place; for a negative number of places, to tens, hundreds, and so on."""
    return f"{round(value, places) + 0.0:,.{max(places, 0)}f}"
