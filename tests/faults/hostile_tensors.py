"""Damaged safetensors files: headers that lie, and numbers that changed."""

import json
import struct
from collections.abc import Callable
from typing import Any

from tests.faults.hostile_changes import changed_bytes, changed_data
from tests.faults.hostile_values import Random

TYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I8", "U8", "BOOL", "F8_E4M3", "C64", "Q4", "", 7, None)
SHAPES: tuple[Any, ...] = (
    [],
    [0],
    [1],
    [-1],
    [2**62, 2**62],
    [10**10],
    [1] * 2000,
    [1.5],
    "x",
    None,
    [2**64],
    [30_000, 30_000],
    [[1]],
)
LENGTHS = (0, 1, 7, 100_000_000, 100_000_001, 2**31, 2**63 - 1, 2**64 - 1)


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the numbers of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: Any, numbers: bytes) -> bytes:
    """A safetensors file."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def changed_header(data: bytes, generator: Random) -> bytes:
    """A file whose header is another."""
    header, numbers = split(data)
    return generator.choice(HEADER_CHANGES)(header, numbers, generator)


def changed_numbers(data: bytes, generator: Random) -> bytes:
    """A file whose numbers are others, and whose header fits them."""
    header, numbers = split(data)
    changed = bytearray(numbers)
    if generator.random() < 0.7:
        changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
        return join(header, bytes(changed))
    quiet = struct.pack("<f", generator.choice((float("nan"), float("inf"), 1e38, 0.0)))
    return join(header, (quiet * len(numbers))[: len(numbers)])


def _one_tensor(header: dict[str, Any], numbers: bytes, generator: Random) -> bytes:
    names = [name for name in header if name != "__metadata__"]
    entry = header[generator.choice(names)]
    begin, end = entry["data_offsets"]
    kind = generator.choice(("dtype", "shape", "data_offsets"))
    offsets = (
        [end, begin],
        [0, len(numbers)],
        [begin, end + 1],
        [-1, end],
        [2**63, 2**64],
        [begin],
        [0, 0],
        "x",
        [begin + 1, end + 1],
    )
    entry[kind] = generator.choice({"dtype": TYPES, "shape": SHAPES, "data_offsets": offsets}[kind])
    return join(header, numbers)


def _names(header: dict[str, Any], numbers: bytes, generator: Random) -> bytes:
    names = [name for name in header if name != "__metadata__"]
    name, other = generator.choice(names), generator.choice(names)
    kind = generator.random()
    if kind < 0.3:
        header["x" * generator.choice((1, 5000))] = header.pop(name)
    elif kind < 0.6:
        header[name], header[other] = header[other], header[name]
    elif kind < 0.8:
        del header[name]
    else:
        header["another"] = {"dtype": "F32", "shape": [1], "data_offsets": [len(numbers), len(numbers) + 4]}
        numbers += bytes(4)
    return join(header, numbers)


def _metadata(header: dict[str, Any], numbers: bytes, generator: Random) -> bytes:
    metadata = header.get("__metadata__", {})
    if metadata and generator.random() < 0.7:
        key = generator.choice(list(metadata))
        metadata[key] = _changed_text(metadata[key], generator)
        return join(header, numbers)
    header["__metadata__"] = generator.choice(({}, None, [], {"format": 1}, {"state": "x"}, {"state": None}, "x"))
    return join(header, numbers)


def _changed_text(text: str, generator: Random) -> str:
    """JSON in the metadata, with other data in it, or damaged."""
    try:
        data = json.loads(text)
    except ValueError:
        return changed_bytes(text.encode(), generator).decode("utf-8", "replace")
    if generator.random() < 0.3:
        return changed_bytes(text.encode(), generator).decode("utf-8", "replace")
    return json.dumps(changed_data(data, generator))


def _length(header: dict[str, Any], numbers: bytes, generator: Random) -> bytes:
    data = join(header, numbers)
    return struct.pack("<Q", generator.choice(LENGTHS)) + data[8:]


def _text(header: dict[str, Any], numbers: bytes, generator: Random) -> bytes:
    whole = json.dumps(header).encode()
    deep = b'{"a":' * 3000 + b"1" + b"}" * 3000
    twice = whole[:-1] + b"," + whole[1:]
    return join(
        generator.choice((changed_bytes(whole, generator), deep, twice, b"{}", b"[]", b"null", b"", b"\xff" * 20)), numbers
    )


HEADER_CHANGES: tuple[Callable[[dict[str, Any], bytes, Random], bytes], ...] = (
    _one_tensor,
    _one_tensor,
    _names,
    _metadata,
    _metadata,
    _length,
    _text,
)
