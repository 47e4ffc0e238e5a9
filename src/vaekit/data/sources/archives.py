"""Archives: zip and tar files of a folder of images, unpacked while they are decoded."""

from pathlib import Path
from typing import Any

from vaekit.core.errors import DataError
from vaekit.core.progress import notify
from vaekit.data.sources.file_kinds import describe_unread, unread_line
from vaekit.data.sources.folders import Folder
from vaekit.data.sources.source import UNPACKED, FileSource, RawSplit, name_with_config
from vaekit.data.sources.unpacking import unpack


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
        unpacked = unpack(self.path, folder, str(self.path))
        if not any(folder.iterdir()):
            kinds = describe_unread(unpacked.unread)
            raise DataError(
                f"{self.path}: no images; it holds {unpacked.num:,} files, and none of them has the suffix of an image"
                + (f": {kinds}" if kinds else "")
            )
        if line := unread_line(str(self.path), unpacked.unread):
            notify(line)
        return Folder(folder, str(self.path), self.config).read(scratch)
