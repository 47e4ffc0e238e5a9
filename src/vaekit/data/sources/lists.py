"""Lists of images in text files: a path in each line, perhaps with the name of its class; and images given by their paths.

A line is ``cats/1.png``, or a path and a class: ``cats/1.png,cat``, ``cats/1.png cat`` or the same with a tab. What follows
the suffix of an image is its class, unless the whole line is the path of a file.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaekit.core.errors import DataError
from vaekit.data.image_formats import FORMATS
from vaekit.data.sources.labels import label_values
from vaekit.data.sources.source import RawSplit, Source, file_version

MAX_LIST_BYTES = 10**8
"""The longest list of files that is read, 100 MB."""

_SUFFIXES = "|".join(re.escape(suffix) for suffixes in FORMATS.values() for suffix in suffixes)
_BY_TAB = re.compile(rf"(?P<path>[^\t]*(?:{_SUFFIXES})) *\t\s*(?P<label>\S.*)", re.IGNORECASE)
_LINE = re.compile(rf"(?P<path>.*(?:{_SUFFIXES}))(?:\s*[,;\t]\s*|\s+)(?P<label>\S.*)", re.IGNORECASE)


class Files(Source):
    """Images given by their paths.

    Arguments:
        files: The paths.
        name: The name of the images.
    """

    def __init__(self, files: Sequence[Path], name: str) -> None:
        self.files, self.name = list(files), name

    def identity(self) -> dict[str, Any]:
        """Returns the path, size and modification time of each image."""
        return {"files": [str(file.resolve()) for file in self.files], "versions": _versions(self.files)}

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns one split without labels; images stay encoded."""
        return {"train": RawSplit(self.files)}


class FileList(Source):
    """A text file with the path of an image in each line, relative to the folder of the list, and perhaps its class."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path.parent
        self.name = path.stem

    def identity(self) -> dict[str, Any]:
        """Returns the list's path and the size and modification time of each image."""
        versions = _versions([file for file, _ in self.lines()])
        return {"list": str(self.path.resolve()), "files": versions} | file_version(self.path)

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns one split, with labels if every line has one; images stay encoded."""
        lines = self.lines()
        images, labels = [file for file, _ in lines], [label for _, label in lines]
        if not any(labels):
            return {"train": RawSplit(images)}
        found, classes = label_values(self.name, "label in its list", {"train": labels})
        return {"train": RawSplit(images, found.get("train"), classes, self.path.name if classes else "")}

    def lines(self) -> list[tuple[Path, str | None]]:
        """Returns the path in each line, and the class or None."""
        text = read_list(self.path)
        lines = [line.strip() for line in text.splitlines()]
        return [self._parse(line) for line in lines if line and not line.startswith("#")]

    def _parse(self, line: str) -> tuple[Path, str | None]:
        match = _BY_TAB.fullmatch(line) or _LINE.fullmatch(line)
        if match is None or _is_file(self.path.parent / line):
            return self.path.parent / line, None
        return self.path.parent / match["path"], match["label"]


class OneImage(Files):
    """A file of one image.

    Arguments:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__([path], path.stem)
        self.path, self.root = path, path.parent


def read_list(path: Path) -> str:
    """Returns the text of a list.

    Raises:
        DataError: If it is too long, or not text.
    """
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise ValueError(f"it has more than {MAX_LIST_BYTES / 1e6:.0f} MB")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a list of files that can be read ({error})") from None


def _is_file(path: Path) -> bool:
    try:
        return os.path.isfile(path)
    except ValueError:  # a name that no file can have
        return False


def _versions(files: Sequence[Path]) -> dict[str, dict[str, int]]:
    return {str(file): file_version(file) for file in files if _is_file(file)}
