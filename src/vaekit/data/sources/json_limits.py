"""Limits of JSON before pyarrow reads it, since some text ends the process there: deep nesting, and a ``null`` alone."""

import re
from pathlib import Path

MAX_DEPTH = 64
"""The deepest nesting that is read."""
MAX_LINE_BYTES = 2**24
"""The longest part of a file that is examined at once, 16 MB."""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BLANK = b" \t\r\n\xef\xbb\xbf"  # spaces, and the mark at the beginning of a file of Windows
_OPENING, _CLOSING = b"[{", b"]}"


def check_json(path: Path) -> None:
    """Checks a file of JSON, or of a JSON object in each line.

    Raises:
        ValueError: If it is nested too deep, or has a line that begins neither an object nor a list.
        OSError: If the file cannot be read.
    """
    depth = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            if depth == 0 and line.lstrip(_BLANK)[:1] not in (b"", b"{", b"["):
                raise ValueError(f"it has a line that is no JSON object, {line[:40].decode('latin-1')!r}")
            if depth + _count(line, _OPENING) > MAX_DEPTH:
                line = _STRING.sub(b"", line)
                _check_depth(line, depth)
            depth = max(0, depth + _count(line, _OPENING) - _count(line, _CLOSING))


def _check_depth(line: bytes, depth: int) -> None:
    """Raises ValueError if a line that begins at a depth goes too deep."""
    for bracket in re.findall(rb"[\[\]{}]", line):
        depth = max(0, depth + (1 if bracket in _OPENING else -1))
        if depth > MAX_DEPTH:
            raise ValueError(f"its JSON is nested more than {MAX_DEPTH} deep")


def _count(line: bytes, brackets: bytes) -> int:
    return sum(line.count(bracket) for bracket in brackets)
