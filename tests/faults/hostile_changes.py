"""Random changes of bytes, of nested data and of YAML."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from tests.faults.hostile_values import NAMES, Random, text, value


def changed_bytes(data: bytes, generator: Random) -> bytes:
    """The content of a file, damaged."""
    return generator.choice(BYTE_CHANGES)(data, generator)


def _cut(data: bytes, generator: Random) -> bytes:
    return data[: generator.randrange(len(data) + 1)]


def _flip(data: bytes, generator: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(generator.choice((1, 1, 1, 4, 30)) if data else 0):
        at = generator.randrange(min(len(data), generator.choice((16, 256, len(data)))))
        changed[at] ^= 1 << generator.randrange(8)
    return bytes(changed)


def _splice(data: bytes, generator: Random) -> bytes:
    begin, end = sorted(generator.randrange(len(data) + 1) for _ in range(2))
    return (
        data[:begin] + generator.choice((b"", data[begin:end] * 2, generator.randbytes(20), bytes(end - begin))) + data[end:]
    )


def _replace(data: bytes, generator: Random) -> bytes:
    whole = (
        b"",
        b"\n",
        b"{}",
        b"[]",
        b"[1]",
        b"null",
        b"0",
        b'""',
        b"\0" * 100,
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"9" * 6000,
    )
    return generator.choice(
        (*whole, b"\xff\xfe" + data, b"NaN", b"{" * 9, generator.randbytes(200), b"\x80" + data, b"\xef\xbb\xbf" + data)
    )


def _encode(data: bytes, generator: Random) -> bytes:
    readable = data.decode("utf-8", "replace")
    return readable.encode(generator.choice(("utf-16", "utf-32", "utf-8-sig", "cp037")), "replace")


def _end_lines(data: bytes, generator: Random) -> bytes:
    return generator.choice(
        (data.replace(b"\n", b"\r\n"), data.replace(b"\n", b"\r"), data + b"\n\n", data + data, data.rstrip())
    )


BYTE_CHANGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    _cut,
    _cut,
    _flip,
    _flip,
    _splice,
    _replace,
    _encode,
    _end_lines,
)


def changed_data(data: Any, generator: Random) -> Any:
    """Nested data with one to three changes at random places."""
    data = copy.deepcopy(data)
    for _ in range(generator.randint(1, 3)):
        places = list(_containers(data))
        if not places:
            return value(generator)
        _change(generator.choice(places), generator)
    return data


def _containers(data: Any) -> Iterator[Any]:
    if isinstance(data, dict | list) and data:
        yield data
        for item in data.values() if isinstance(data, dict) else data:
            yield from _containers(item)


def _change(container: Any, generator: Random) -> None:
    """Changes, removes, renames or nests one entry."""
    keys = list(container) if isinstance(container, dict) else range(len(container))
    if not keys:
        return
    key, kind = generator.choice(list(keys)), generator.random()
    if kind < 0.6:
        container[key] = value(generator)
    elif kind < 0.75:
        del container[key]
    elif kind < 0.85 and isinstance(container, dict):
        container[generator.choice(NAMES)] = container.pop(key)
    else:
        container[key] = generator.choice(
            ([container[key]], {"name": container[key]}, {str(key): container[key]}, str(container[key]))
        )


def changed_yaml(source: str, generator: Random) -> str:
    """YAML with one place of its text changed."""
    lines = source.split("\n")
    at = generator.randrange(len(lines))
    kind = generator.random()
    if kind < 0.5 and ":" in lines[at]:
        lines[at] = f"{lines[at].partition(':')[0]}: {text(generator)}"
    elif kind < 0.6:
        lines[at] = generator.choice((f"  {lines[at]}", f"\t{lines[at]}", lines[at].lstrip(), lines[at] * 2, ""))
    elif kind < 0.7:
        lines.insert(at, text(generator))
    else:
        return changed_bytes(source.encode(), generator).decode("utf-8", "surrogateescape")
    return "\n".join(lines)
