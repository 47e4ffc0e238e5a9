"""Atomic writes: a reader sees the old file or the new one, and never a part of it.

Everything that vaekit writes goes to a temporary file in the same folder, which is renamed when it is complete.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``, with the same suffix, and renames it to ``path`` when the block ends.

    If the block raises, the temporary file is removed and ``path`` stays as it was.

    Example:
        >>> with atomic_path(Path("samples.png")) as partial:
        ...     image.save(partial)
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}-partial-{os.getpid()}{path.suffix}")  # two processes never share one
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, as UTF-8."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    """Writes JSON, indented by two spaces."""
    write_text(path, json.dumps(data, indent=2) + "\n")
