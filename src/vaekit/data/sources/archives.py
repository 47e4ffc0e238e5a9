"""Archives: zip and tar files of a folder of images, unpacked safely while they are decoded.

Only files that may be images, or describe them, are unpacked; nothing is written outside of the scratch folder.
"""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from vaekit.core.errors import DataError
from vaekit.data.sources.archive_limits import check_expansion, check_space, decompressed
from vaekit.data.sources.cards import CARD
from vaekit.data.sources.folders import HIDDEN, SUFFIXES, TABLE_SUFFIXES, Folder
from vaekit.data.sources.repositories import PACKED_SUFFIXES
from vaekit.data.sources.source import UNPACKED, FileSource, RawSplit, name_with_config, raise_if_disk_full

DESCRIPTIONS = frozenset((".csv", ".json", ".jsonl"))
"""The suffixes of files that may describe images."""
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


class Archive(FileSource):
    """A zip or tar archive of a folder of images.

    Arguments:
        path: The file.
        config: The configuration to read, if it has several.
    """

    def __init__(self, path: Path, config: str | None = None) -> None:
        super().__init__(path)
        self.config = config
        self.name = name_with_config(self.name, config)

    def identity(self) -> dict[str, Any]:
        """Returns the path, the configuration, the size and the modification time."""
        return super().identity() | ({"config": self.config} if self.config else {})

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Unpacks the archive into the scratch folder and reads it as a folder."""
        folder = scratch / UNPACKED
        folder.mkdir()
        try:
            num = _unzip(self.path, folder) if zipfile.is_zipfile(self.path) else _untar(self.path, folder)
        except ARCHIVE_ERRORS as error:
            raise_if_disk_full(error)
            reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
            raise DataError(f"{self.path}: not an archive that can be unpacked safely ({reason})") from None
        if not any(folder.iterdir()):
            raise DataError(f"{self.path}: no images; it holds {num:,} files, and none of them has the suffix of an image")
        return Folder(folder, str(self.path), self.config).read(scratch)


def _unzip(path: Path, folder: Path) -> int:
    """Unpacks a zip file, and returns the number of its members."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            _check_name(member.filename)
        num_bytes = sum(member.file_size for member in members)
        check_space(num_bytes, folder)
        check_expansion(num_bytes, path.stat().st_size)
        archive.extractall(folder, [member.filename for member in members if _is_wanted(member.filename)])
        return len(members)


def _untar(path: Path, folder: Path) -> int:
    """Unpacks a tar file, and returns the number of its members."""
    with decompressed(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        # The filter refuses members and links outside of the folder, and devices.
        archive.extractall(folder, _checked_members(archive, path.stat().st_size, folder), filter="data")
        return len(archive.getmembers())


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
    if name.endswith("/") or any(part.startswith(HIDDEN) for part in path.parts):
        return False
    return path.name == CARD or path.suffix.lower() in SUFFIXES | PACKED_SUFFIXES | TABLE_SUFFIXES | DESCRIPTIONS
