"""Errors that a user can correct.

Every error that a user can cause derives from :class:`VaekitError`. Its message is one line: what is wrong, why, and what to
do. The command line prints that line and exits with code 2; Python callers catch the class.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from vaekit.core.safe_text import MAX_NAME, listing, one_line, printable, valid_unicode

MAX_MESSAGE = 2_000
"""The number of characters to which a message is cut in the middle; paths are long."""
MAX_COMPARED = 64
"""The length up to which words are compared with each other; longer ones are not misspelled."""
MAX_KNOWN = 20_000
"""The number of known words that a misspelled one is compared with."""
MAX_DIGITS = 18
"""The number of digits of a whole number; each of them fits into 64 bits."""

NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")
"""The names of classes that are numbers; beside one of them, a number is always a name and never an index."""


class VaekitError(Exception):
    """An error that the user can correct; its message is one line of printable characters, whatever it quotes."""

    def __str__(self) -> str:
        return one_line(super().__str__(), MAX_MESSAGE)


class ConfigError(VaekitError):
    """An invalid recipe, option or model configuration."""


class DataError(VaekitError):
    """Images that cannot be found, read or used."""


class SeveralSizesError(DataError):
    """Images of several sizes, and none was chosen to fit them to.

    Arguments:
        message: What is wrong, and what to do.
        proposal: A side that suits the images, in pixels.
    """

    def __init__(self, message: str, proposal: int) -> None:
        super().__init__(message)
        self.proposal = proposal


class ModelError(VaekitError):
    """A model folder that cannot be loaded, or a method that the model does not support."""


class NoDensityError(ModelError):
    """A density is asked for of a prior that can only be sampled."""


class RunError(VaekitError):
    """A run that cannot be started, resumed or read."""


class Diverged(RunError):
    """A loss or gradient that is not finite."""


class Interrupted(VaekitError):
    """Training was stopped from outside; its state is saved.

    Arguments:
        message: What was stopped, and how to go on.
        exit_code: The exit code of the command.
    """

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def suggest(word: str, known: Iterable[str]) -> str:
    """Returns `` (did you mean 'x'?)`` for the nearest known words, else the first of them, for the end of a message."""
    known = sorted(known)
    compared = [name for name in known[:MAX_KNOWN] if len(name) <= MAX_COMPARED] if len(word) <= MAX_COMPARED else []
    near = get_close_matches(word, compared, n=3, cutoff=0.5)
    if near:
        return f" (did you mean {' or '.join(printable(repr(name)) for name in near)}?)"
    return f" (known: {listing(known)})" if known else ""


def class_index(word: str, classes: Sequence[str]) -> int:
    """Returns the class that a name means, or a number from 0 if no class is named by a number.

    The name itself comes first, then one that differs from it in the form of its accents (NFC or NFD), then in case.

    Raises:
        DataError: If there is no such class; the nearest names are offered.
    """
    word = valid_unicode(word)
    for fold in (str, _composed, _folded):
        folded = [fold(name) for name in classes]
        if folded.count(fold(word)) == 1:
            return folded.index(fold(word))
    number = whole_number(word)
    if number is None:
        raise DataError(f"{printable(word, MAX_NAME) or repr(word)}: no such class{suggest(word, classes)}")
    if number < len(classes) and not any(map(NUMBER.fullmatch, classes)):
        return number
    raise DataError(f"{printable(word, MAX_NAME)}: no such class (known: {listing(classes)})")


def _composed(name: str) -> str:
    """A name with each accent as a part of its letter."""
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    """A name without regard to case."""
    return _composed(name).casefold()


def whole_number(word: str) -> int | None:
    """Returns the number that decimal digits stand for; None for all other words, and for more than 18 digits."""
    return int(word) if word.isdecimal() and len(word) <= MAX_DIGITS else None
