"""Archives: zip and tar files of a folder of images, unpacked safely while they are decoded."""

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vaekit.core.errors import DataError
from vaekit.data.sources.folders import Folder
from vaekit.data.sources.source import UNPACKED, FileSource, RawSplit, name_with_config, raise_if_disk_full


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
            if zipfile.is_zipfile(self.path):
                _unzip(self.path, folder)
            else:
                with tarfile.open(self.path) as archive:  # the filter refuses members outside of the folder
                    archive.extractall(folder, _checked_members(archive, folder), filter="data")
        except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error, tarfile.TarError) as error:
            raise_if_disk_full(error)
            raise DataError(f"{self.path}: not an archive that can be unpacked safely ({error})") from None
        return Folder(folder, str(self.path), self.config).read(scratch)


def _unzip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{name} would be written outside of the folder")
        _check_free_space(sum(member.file_size for member in archive.infolist()), folder)
        archive.extractall(folder)


def _checked_members(archive: tarfile.TarFile, folder: Path) -> Iterator[tarfile.TarInfo]:
    """The members of an archive, one by one, each of which fits on the disk."""
    for member in archive:
        _check_free_space(member.size, folder)
        yield member


def _check_free_space(num_bytes: int, folder: Path) -> None:
    """Raises ValueError if the disk has less free space than this, before anything is written."""
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise ValueError(f"it would take {num_bytes / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free")
