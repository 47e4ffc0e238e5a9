"""What a run folder holds, without times, and how two of them differ."""

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TIMES = {"seconds", "images_per_second", "started", "command", "written", "saved", "source"}
"""Keys of values that depend on the clock, on the command line or on the folder of a case."""
HASHES = {"checksum", "checksums", "hash", "sha256", "digest"}
"""Keys of hashes of what holds times."""

CHECKPOINTS = "checkpoints/step-"
"""Checkpoints. All but the newest depend on when a run was stopped and on its speed; they only have to be readable."""

NEWEST = "checkpoints/newest"
"""Stands for the newest checkpoint of a run."""

Contents = dict[str, Any]
"""The content of each file of a folder by relative path, in a form that equal runs have in common."""


def run_file(folder: Path, name: str) -> Path:
    """A file of a run folder, or its newest checkpoint."""
    return max((folder / "checkpoints").glob("step-*")) if name == NEWEST else folder / name


def contents(folder: Path) -> Contents:
    """Reads every file of a run folder; what cannot be read is a string that begins with ``unreadable``."""
    if not folder.is_dir():
        return {}
    files = (path for path in sorted(folder.rglob("*")) if not path.is_dir())
    found = {str(path.relative_to(folder)): _content(path) for path in files}
    earlier = sorted(name for name in found if name.startswith(CHECKPOINTS))[:-1]
    return {name: content for name, content in found.items() if not (name in earlier and _is_readable(content))}


def differences(expected: Contents, found: Contents) -> list[str]:
    """One line for each file that is missing, left over, unreadable or another."""
    lines = [f"{name}: missing" for name in expected if name not in found]
    lines += [f"{name}: left over" for name in found if name not in expected]
    for name in expected.keys() & found.keys():
        if not _is_readable(found[name]):
            lines.append(f"{name}: {found[name]}")
        elif expected[name] != found[name]:
            lines.append(f"{name}: {'; '.join(list(_places(expected[name], found[name]))[:3])}")
    return sorted(lines)


def epochs(folder: Path) -> list[int]:
    """The epochs of the history, in the order of its lines."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    try:
        return [json.loads(line)["epoch"] for line in path.read_text().splitlines()]
    except (ValueError, KeyError, TypeError):
        return [-1]


def _is_readable(content: Any) -> bool:
    return not (isinstance(content, str) and content.startswith("unreadable"))


def _content(path: Path) -> Any:
    try:
        return _READERS.get(path.suffix, _hash)(path)
    except Exception as error:  # whatever a damaged file raises
        return f"unreadable ({type(error).__name__}: {error})"


def _read_json(path: Path) -> Any:
    return _timeless(json.loads(path.read_text(encoding="utf-8")))


def _read_lines(path: Path) -> Any:
    return [_timeless(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _read_page(path: Path) -> str:
    text = path.read_text(encoding="utf-8").rstrip()
    return "a whole page" if text.endswith("</html>") else "unreadable (a page that does not end)"


def _read_tensors(path: Path) -> Any:
    """Tensors by name, each as type, shape and hash; and the metadata."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    metadata = {key: _parsed(value) for key, value in header.pop("__metadata__", {}).items()}
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        block = data[8 + length + begin : 8 + length + end]
        if len(block) != end - begin:
            raise ValueError(f"tensor {name} is cut short")
        tensors[name] = (entry["dtype"], entry["shape"], hashlib.sha256(block).hexdigest()[:12])
    return {"metadata": _timeless(metadata), "tensors": tensors}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _timeless(value: Any) -> Any:
    """Data without what depends on the clock: values of mappings, and pairs of key and value in lists."""
    left_out = TIMES | HASHES
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in left_out}
    if isinstance(value, list):
        pairs = [isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) for item in value]
        kept = (item for item, pair in zip(value, pairs, strict=True) if not (pair and item[0] in left_out))
        return [_timeless(item) for item in kept]
    return value


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _places(a: Any, b: Any, place: str = "") -> Iterator[str]:
    """Where two values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *(key for key in b if key not in a)]:
            yield from _places(a.get(key), b.get(key), f"{place}.{key}".lstrip("."))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (left, right) in enumerate(zip(a, b, strict=True)):
            yield from _places(left, right, f"{place}[{index}]")
    elif a != b:
        yield f"{place or 'content'} is {str(b)[:60]}, not {str(a)[:60]}"


_READERS = {".json": _read_json, ".jsonl": _read_lines, ".html": _read_page, ".safetensors": _read_tensors}
