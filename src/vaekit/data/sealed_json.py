"""JSON files of the cache with a hash of their content, so that a damaged file is never taken for another content."""

import hashlib
import json
from pathlib import Path
from typing import Any

from vaekit.core.files import write_text

HASH = "hash"
"""The key of the hash."""
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError)
"""What reading damaged files of the cache raises."""


def write_sealed(path: Path, data: dict[str, Any]) -> None:
    """Writes data with a hash of it."""
    write_text(path, json.dumps(data | {HASH: _digest(data)}))


def read_sealed(path: Path) -> dict[str, Any]:
    """Reads data that :func:`write_sealed` wrote.

    Raises:
        Exception: One of :data:`DAMAGED`, if it is not as it was written.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or data.pop(HASH, None) != _digest(data):
        raise ValueError(f"{path.name} is not as it was written")
    return data


def _digest(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
