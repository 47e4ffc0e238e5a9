"""Errors that a user can correct.

Every error that a user can cause derives from :class:`VaekitError`. Its message is one line: what is wrong, why, and what to
do. The command line prints that line and exits with code 2; Python callers catch the class.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class VaekitError(Exception):
    """An error that the user can correct; its message is one line, whatever it quotes."""

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())


class ConfigError(VaekitError):
    """An invalid recipe, option or model configuration."""


class DataError(VaekitError):
    """Images that cannot be found, read or used."""


class ModelError(VaekitError):
    """A model folder that cannot be loaded, or a method that the model does not support."""


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
    """Returns `` (did you mean 'x'?)`` for the nearest known words, else the list of them, for the end of a message."""
    known = sorted(known)
    near = get_close_matches(word, known, n=3, cutoff=0.5)
    if near:
        return f" (did you mean {' or '.join(repr(w) for w in near)}?)"
    return f" (known: {', '.join(known)})" if known else ""


def class_index(word: str, classes: Sequence[str]) -> int:
    """Returns the class that a name or a number means.

    Raises:
        DataError: If there is no such class; the nearest names are offered.
    """
    if word in classes:
        return list(classes).index(word)
    folded = [name.casefold() for name in classes]
    if folded.count(word.casefold()) == 1:
        return folded.index(word.casefold())
    if word.isdecimal() and int(word) < len(classes):
        return int(word)
    raise DataError(f"{word}: no such class{suggest(word, classes)}")
