r"""Text from users' data, made safe to show: on a terminal, in a plot, on a page.

The names of classes, files and data sets, and everything else that comes from files, may hold any character. A terminal
executes escape sequences, a bidirectional override reverses the letters after it, a line break makes one line two, and
a byte that is not UTF-8 cannot be encoded. :func:`printable` shows such characters as escapes (``\x1b``, ``\u202e``) and
leaves all others, so that what is shown has no effect but to be read:

>>> printable("a\x1b[31m\nb")
'a\\x1b[31m\\nb'

It is applied where text is shown, and never to a name that is looked up, compared or stored.

What a stream cannot encode, such as ``‖`` in the code page of Windows, is replaced by :data:`REPLACED`, an error handler of
codecs: by what looks like it, or an escape.
"""

import codecs
import re
import unicodedata
from collections.abc import Iterable
from itertools import islice

MAX_NAME = 80
"""The number of characters to which a name is cut in a message or a plot."""
MAX_WORD = 400
"""The number of characters to which a word or a path is cut in a message."""
JOINERS = "\u200c\u200d"
"""Invisible characters that words of several scripts, and emoji, are written with."""
INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""The Unicode categories of characters that are not shown but have an effect: control and format characters, parts of
pairs (also bytes that are not UTF-8), and separators of lines and paragraphs."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""The beginnings of a cell that spreadsheets take for a formula, or skip before one."""
PLAIN = re.compile(r"[ -~]*")
REPLACED = "vaekit-replaced"
"""The name of the error handler of codecs that replaces what an encoding lacks."""
LOOKALIKES = {"±": "+/-", "‖": "||", "−": "-", "→": "->", "…": "...", "×": "x", "·": "-", "–": "-", "“": '"', "”": '"'}
"""What is written for the symbols of the package where an encoding lacks them."""


def printable(text: str, max_length: int | None = None) -> str:
    r"""Returns text in which characters that are not shown but have an effect are replaced by escapes.

    Arguments:
        text: Any text; bytes that are not UTF-8, which Python reads as ``\udc80`` to ``\udcff``, are shown as ``\x80`` to
            ``\xff``.
        max_length: The maximum number of characters, at least 3; longer text is cut in the middle. None does not cut.
    """
    if max_length is not None and len(text) > max_length:
        text = _cut(text, max_length)  # before the escapes too, so that the time does not depend on what is cut
    shown = text if PLAIN.fullmatch(text) else "".join(map(_shown, text))
    return shown if max_length is None or len(shown) <= max_length else _cut(shown, max_length)


def encodable(text: str, encoding: str) -> str:
    """Returns text in which characters that an encoding lacks are replaced by lookalikes or escapes."""
    return text.encode(encoding, REPLACED).decode(encoding)


def printable_lines(text: str) -> str:
    """Returns text of several lines in which each line is :func:`printable`."""
    return "\n".join(map(printable, text.split("\n")))


def one_line(text: str, max_length: int) -> str:
    """Returns text of several lines, such as the message of a library, as one that is :func:`printable`.

    Arguments:
        text: Any text.
        max_length: The maximum number of characters; longer text, and words over :data:`MAX_WORD`, are cut in the middle.
    """
    line = " ".join(text.splitlines())
    if len(line) > MAX_WORD:
        line = " ".join(_cut(word, MAX_WORD) if len(word) > MAX_WORD else word for word in line.split(" "))
    return printable(line, max_length)


def printable_value(value: object, max_length: int = MAX_NAME) -> str:
    """Returns the ``repr`` of a value, cut in the middle, for a message."""
    try:
        return printable(repr(value), max_length)
    except (ValueError, RecursionError):  # an integer of over 4,300 digits, which Python does not convert; or deep nesting
        return f"a value of type {type(value).__name__} that is too large to show"


def listing(names: Iterable[str], max_names: int = 16, max_length: int = 300) -> str:
    """Returns names separated by commas: the first ones, and the number of the others.

    Arguments:
        names: The names.
        max_names: The maximum number of names that are listed.
        max_length: The approximate maximum length of the list.
    """
    every = list(names)
    shown: list[str] = []
    for name in islice((printable(name, MAX_NAME // 2) for name in every), max_names):
        if shown and sum(map(len, shown)) + len(name) > max_length:
            break
        shown.append(name)
    left = len(every) - len(shown)
    return ", ".join(shown) + (f", and {left:,} more" if left else "")


def spreadsheet_text(text: str) -> str:
    """Returns the text of a cell that no spreadsheet takes for a formula, and that a terminal shows as it is.

    Text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line break gets an apostrophe before it, and what is not
    :func:`printable` is replaced by escapes; all other text is unchanged.
    """
    return f"'{printable(text)}" if text.startswith(FORMULA) else printable(text)


def valid_unicode(text: str) -> str:
    r"""Returns text that can be encoded as UTF-8: bytes that are not UTF-8 are written as ``\x80`` to ``\xff``."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a part of a pair that stands for no byte
        return text.encode("utf-8", "backslashreplace").decode()


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """What is written instead of characters that cannot be encoded, and where the text goes on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(LOOKALIKES.get(sign, sign.encode("ascii", "backslashreplace").decode()) for sign in missing), error.end


codecs.register_error(REPLACED, _replaced)


def _cut(text: str, max_length: int) -> str:
    """The beginning and the end of text, with an ellipsis between them."""
    tail = (max_length - 1) // 2
    return f"{text[: max_length - 1 - tail]}…{text[len(text) - tail :]}"


def _shown(character: str) -> str:
    """A character, or its escape."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    is_noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    if character in JOINERS or not (is_noncharacter or unicodedata.category(character) in INVISIBLE):
        return character
    return character.encode("unicode_escape").decode()
