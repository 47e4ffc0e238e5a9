"""The header of a ``.npy`` file, read without evaluating it: what an array is, before any of it is in memory.

A header is text, ``{'descr': '<f4', 'fortran_order': False, 'shape': (60000, 28, 28), }``, that may state any shape. Here it
is matched against that form and compared with the size of the file.
"""

import math
import re
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

MAGIC = b"\x93NUMPY"
"""The first bytes of a ``.npy`` file."""
MAX_HEADER_BYTES = 10_000
"""The longest header that is read; NumPy's own limit."""
MAX_DIMENSIONS = 32
"""The largest number of dimensions; NumPy's own limit for a long time."""
NUMBERS_AND_TEXT = "biufcSU"
"""The kinds of values that are read, as the letters of NumPy."""
LENGTH_BYTES = {1: 2, 2: 4, 3: 4}
"""The number of bytes that state the length of the header, by major version."""

_FORM = re.compile(
    r"\{(?:\s*'(?:descr|fortran_order|shape)':\s*(?:'[^']*'|True|False|\([\dL, ]*\))\s*,?){3}\s*\}\s*", re.ASCII
)
_CODE = re.compile(r"[<>|=]?([a-zA-Z])\d{0,9}", re.ASCII)
_TYPE = re.compile(r"'descr':\s*'([^']{1,40})'")
_ORDER = re.compile(r"'fortran_order':\s*(True|False)")
_SHAPE = re.compile(r"'shape':\s*\(([\dL, ]*)\)", re.ASCII)


@dataclass(frozen=True)
class NpyHeader:
    """What a ``.npy`` file states about its array.

    Arguments:
        shape: Its shape.
        dtype: Its type, which is no object and has no fields.
        fortran: Whether it is in Fortran order.
        start: The number of bytes before its values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int

    @property
    def num_bytes(self) -> int:
        """The size of the values in bytes, which may be larger than any file."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(file: BinaryIO, file_bytes: int) -> NpyHeader:
    """Reads the header at the beginning of a file.

    Arguments:
        file: The file; afterwards it is at the first value.
        file_bytes: Its size in bytes.

    Raises:
        ValueError: If it is not a header, states objects or fields, or states more values than the file holds.
    """
    start = file.read(len(MAGIC) + 2)
    if start[: len(MAGIC)] != MAGIC or len(start) < len(MAGIC) + 2 or start[len(MAGIC)] not in LENGTH_BYTES:
        raise ValueError("it has no header of a .npy file")
    length_bytes = LENGTH_BYTES[start[len(MAGIC)]]
    length = int.from_bytes(file.read(length_bytes), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header states a length of {length:,} bytes, more than {MAX_HEADER_BYTES:,}")
    header = _parse(file.read(length).decode("latin-1"), len(start) + length_bytes + length)
    if header.start + header.num_bytes > file_bytes:
        stated = f"{header.num_bytes:,} bytes" if header.num_bytes < 1e18 else "more than 1,000,000,000 GB"
        raise ValueError(
            f"its header states {stated} of values, and the file has {file_bytes:,} bytes; it is truncated or damaged"
        )
    return header


def _parse(text: str, start: int) -> NpyHeader:
    """The header of a text, whose values begin at ``start``."""
    kind, order, shape = _TYPE.search(text), _ORDER.search(text), _SHAPE.search(text)
    if "'descr': [" in text:
        raise ValueError("it holds records with fields; save one array of numbers")
    if not (_FORM.fullmatch(text) and kind and order and shape):
        raise ValueError("its header is damaged")
    sides = [side.strip().removesuffix("L") for side in shape[1].split(",") if side.strip()]
    if len(sides) > MAX_DIMENSIONS or not all(side.isdecimal() and len(side) < 20 for side in sides):
        raise ValueError("its header states a shape that no array has")
    return NpyHeader(tuple(int(side) for side in sides), _dtype(kind[1]), order[1] == "True", start)


def _dtype(text: str) -> np.dtype[Any]:
    """The type that a header names."""
    match = _CODE.fullmatch(text)
    if match and match[1] == "O":
        raise ValueError("it holds Python objects, which could run code; save numbers")
    if not match or match[1] not in NUMBERS_AND_TEXT:
        raise ValueError("its values are neither numbers nor text; save an array of numbers")
    try:
        dtype = np.dtype(text)
    except (TypeError, ValueError, OverflowError):
        dtype = np.dtype("V0")
    if not dtype.itemsize:
        raise ValueError("its header states a type that NumPy does not have")
    return dtype
