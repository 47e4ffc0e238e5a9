"""Files that are whole or not there, whatever happens while they are written.

A file is written under a temporary name in the same folder, flushed to the disk and renamed; then the folder is flushed, so
that the name survives a power failure, too. A reader sees the old file or the new one, and never a part of it. What a killed
process left is removed when the file is written again, or by :func:`remove_partials`.
"""

import errno
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from vaekit.core.errors import DataError, RunError
from vaekit.core.safe_text import printable_value

PARTIAL = ".vaekit-partial-"
"""The beginning of temporary names; the process's number follows, so that two processes never share one."""
MAX_STEM = 64
"""The number of characters of the final name that a temporary name repeats; file systems allow 255 bytes in all."""


def user_path(path: str | Path) -> Path:
    """Returns a path that a user has typed, with the home folder in place of a ``~`` at its beginning.

    A shell expands ``~`` at the beginning of a word only, and neither in ``--out=~/run`` nor in Python. A file whose name
    begins with ``~``, and is not followed by the name of a user, is itself.

    Raises:
        DataError: If it is no path, or the home folder is unknown.
    """
    if not isinstance(path, str | os.PathLike):
        raise DataError(f"{printable_value(path, 40)}: not a path; give a name or a path as text")
    if path == "":
        raise DataError("'': an empty path; give a name or a path, as . for this folder")
    expanded = Path(path)
    with suppress(ValueError):  # of a name that no user can have
        expanded = Path(os.path.expanduser(path))
    if expanded.parts[:1] == ("~",):
        raise DataError(f"{path}: the home folder is unknown; set HOME, or write the whole path")
    return expanded


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``, with the same suffix, and renames it to ``path`` when the block ends.

    If the block raises, the temporary file is removed and ``path`` stays as it was.

    Raises:
        OSError: If it cannot be written, or is no file: a device or a pipe would be replaced.

    Example:
        >>> with atomic_path(Path("samples.png")) as partial:
        ...     image.save(partial)
    """
    path = Path(path)
    require_regular(path)
    end = f"-{path.stem[:MAX_STEM]}{path.suffix}"
    partial = path.with_name(f"{PARTIAL}{os.getpid()}{end}")
    _remove_left(entry.path for entry in os.scandir(path.parent) if entry.name.endswith(end))
    try:
        yield partial
        flush(partial)
        partial.replace(path)
        flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Waits until the content of a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders, and keeps names by itself
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file, unless it holds these bytes already."""
    with suppress(OSError):
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return
    with atomic_path(path) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Writes a text file as UTF-8, unless it holds this text already."""
    write_bytes(path, text.encode())


def write_json(path: Path, data: Any) -> None:
    """Writes JSON, indented by two spaces."""
    write_text(path, json.dumps(data, indent=2) + "\n")


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """Reads a JSON file that holds an object.

    Arguments:
        path: The file.
        remedy: What the user can do if it is damaged, for the message.

    Raises:
        RunError: If it is missing, damaged, or holds anything else.
    """
    try:
        require_regular(path)
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read ({describe_os_error(error)}); {remedy}") from None
    if not isinstance(data, dict):
        raise RunError(f"{path}: damaged, it should hold a JSON object; {remedy}")
    return data


def require_regular(path: Path) -> None:
    """Checks that a path, if it exists, is a regular file: reading a pipe or a device might never end.

    Raises:
        OSError: If it is something else.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def describe_os_error(error: BaseException) -> str:
    """Returns the reason of an error without the path, which a message names already."""
    if "int_max_str_digits" in str(error):  # which advises to raise a limit of Python
        return "a number of too many digits"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def os_error_cure(error: OSError) -> str:
    """Returns what a user can do about an error of the system that is no mistake in a name."""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "close other programs, or raise the limit of open files (ulimit -n)"
    return "make room, choose another place, or ask its owner"


def remove_partials(folder: Path) -> None:
    """Removes the temporary files that killed processes left below a folder."""
    _remove_left(folder.rglob(f"{PARTIAL}*"))


def _remove_left(paths: Iterable[str | Path]) -> None:
    """Removes those of the paths that are temporary files of processes that have ended."""
    for path in map(Path, paths):
        number = path.name.removeprefix(PARTIAL).partition("-")[0]
        if path.name.startswith(PARTIAL) and not (number.isdecimal() and psutil.pid_exists(int(number))):
            path.unlink(missing_ok=True)
