"""What hostile sources are made of: small images, files, folders, pipes, and a trap."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Write = Callable[[Path], Path]
"""Writes a source below a folder and returns its path."""
MARKER = "executed-or-escaped"
"""The name of a file that no case may lead to."""


class Trap:
    """An object that writes the marker when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.marker = str(folder / MARKER)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.marker,)


def png(width: int = 6, height: int = 5, level: int = 100, mode: str = "L", kind: str = "PNG", **options: Any) -> bytes:
    """A small image file."""
    file, noise = io.BytesIO(), np.random.default_rng(level).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(file, kind, **options)
    return file.getvalue()


def one_file(name: str, content: bytes | Callable[[Path], bytes]) -> Write:
    """Writes one file."""

    def write(folder: Path) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content(folder))
        return folder / name

    return write


def images(num: int = 20, prefix: str = "") -> dict[str, bytes]:
    """Files of images."""
    return {f"{prefix}{level:03}.png": png(level=level) for level in range(num)}


def filled(folder: Path, files: dict[str, bytes]) -> Path:
    """A folder of files."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def made_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


def pipe(name: str) -> Write:
    """A pipe, on which reading waits forever."""

    def write(folder: Path) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(folder / name)
        return folder / name

    return write


def card(data_files: Any, **options: Any) -> str:
    """The card of a repository that declares these files."""
    return f"---\nconfigs:\n- {json.dumps({'config_name': 'x', 'data_files': data_files} | options)}\n---\n"
