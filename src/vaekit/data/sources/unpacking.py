"""Unpacking: the files of a zip or tar archive that may be images, or describe them, are written to a folder, safely.

Nothing is written outside of the folder, no link leads out of it, and what the archive states is compared with its size and
the disk before anything is written.
"""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vaekit.core.errors import DataError
from vaekit.data.sources.archive_limits import check_expansion, check_space, decompressed
from vaekit.data.sources.cards import CARD
from vaekit.data.sources.file_kinds import DESCRIPTIONS, HIDDEN, TABLE_SUFFIXES, image_suffixes, is_archive
from vaekit.data.sources.source import raise_if_disk_full

ARCHIVE_ERRORS = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
)
"""What reading a damaged archive raises."""


@dataclass(frozen=True)
class Unpacked:
    """What an archive holds.

    Arguments:
        num: The number of its members.
        num_bytes: The size of the files that were unpacked.
        unread: The names of the files that were not unpacked, without hidden ones.
    """

    num: int
    num_bytes: int
    unread: list[str]


def unpack(path: Path, folder: Path, name: str) -> Unpacked:
    """Unpacks an archive into a folder, which is made.

    Arguments:
        path: The archive.
        folder: The folder.
        name: The archive's name in error messages.

    Raises:
        DataError: If it cannot be unpacked safely.
    """
    folder.mkdir(parents=True)
    try:
        return _unzip(path, folder) if zipfile.is_zipfile(path) else _untar(path, folder)
    except ARCHIVE_ERRORS as error:
        raise_if_disk_full(error)
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise DataError(f"{name}: not an archive that can be unpacked safely ({reason})") from None


def _unzip(path: Path, folder: Path) -> Unpacked:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            _check_name(member.filename)
        num_bytes = sum(member.file_size for member in members)
        check_space(num_bytes, folder)
        check_expansion(num_bytes, path.stat().st_size)
        files = [member.filename for member in members if not member.is_dir()]
        archive.extractall(folder, [name for name in files if _is_wanted(name)])
        return Unpacked(len(members), num_bytes, [name for name in files if not (_is_wanted(name) or _is_hidden(name))])


def _untar(path: Path, folder: Path) -> Unpacked:
    with decompressed(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        # The filter refuses members and links outside of the folder, and devices.
        archive.extractall(folder, _checked_members(archive, path.stat().st_size, folder), filter="data")
        files = [member for member in archive.getmembers() if not member.isdir()]
        unread = [file.name for file in files if not (_is_wanted(file.name) or _is_hidden(file.name))]
        num_bytes = sum(max(file.size, 0) for file in files if _is_wanted(file.name))
        return Unpacked(len(archive.getmembers()), num_bytes, unread)


def _checked_members(archive: tarfile.TarFile, packed_bytes: int, folder: Path) -> Iterator[tarfile.TarInfo]:
    """The wanted members of an archive, one by one; all of them together fit on the disk."""
    total = 0
    for member in archive:
        _check_name(member.name.lstrip("/"))  # a leading slash is removed, as by tar itself
        if member.isdir() or not _is_wanted(member.name):
            continue
        total += max(member.size, 0)
        check_space(member.size, folder)
        check_expansion(total, packed_bytes)
        yield member


def _check_name(name: str) -> None:
    """Raises ValueError if a member would be written outside of the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name[:100]} would be written outside of the folder")


def _is_wanted(name: str) -> bool:
    """Whether a member is, holds or describes images; hidden ones are ignored, as in folders."""
    path = PurePosixPath(name)
    if name.endswith("/") or _is_hidden(name):
        return False
    suffix = path.suffix.lower()
    return path.name == CARD or suffix in image_suffixes() | TABLE_SUFFIXES | DESCRIPTIONS or is_archive(path.name)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(HIDDEN) for part in PurePosixPath(name).parts)
