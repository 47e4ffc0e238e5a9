"""What every source of images is: splits of images as they come, and what tells them from others."""

import errno
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.data.decode import Images

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""How an operating system says that something does not fit on the disk."""

UNPACKED = "unpacked"
"""The folder that an archive is unpacked to, within the scratch folder of a reading."""


@dataclass(frozen=True)
class RawSplit:
    """A split as its source holds it: N images, encoded or not, labels of shape (N) or None, and the names of classes."""

    images: Images
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()


class Source(ABC):
    """Somewhere images come from.

    Attributes:
        name: What to call the images.
        root: The folder that its images lie in, if they do.
        fitted: Whether the images may be cut and scaled to another size; arrays are taken as they are.
    """

    name: str
    fitted: bool = True
    root: Path | None = None

    def inside(self, name: str, scratch: Path) -> str:
        """Returns the name of an image as the source calls it, without the folders above."""
        for root in (scratch / UNPACKED, self.root):
            if root is not None and Path(name).is_relative_to(root):
                return str(Path(name).relative_to(root))
        return name

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Returns what tells these images from others, as data, without reading them."""

    @abstractmethod
    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns the splits by name.

        Arguments:
            scratch: A folder for what reading leaves behind, removed afterwards.

        Raises:
            DataError: If they cannot be read.
        """


class File(Source):
    """A file that holds images; it is called as the file is, up to the first point.

    Arguments:
        path: Where it lies.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name.split(".")[0] or path.name

    def identity(self) -> dict[str, Any]:
        """Returns the path, the size and the time of the last change."""
        return {"file": str(self.path.resolve())} | stamp(self.path)


def configured(name: str, config: str | None) -> str:
    """Returns what a configuration of a source is called."""
    return name if config is None else f"{name}:{config}"


def raise_full_disk(error: BaseException) -> None:
    """Raises the lack of room that is behind an error, if it is."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError) and behind.errno in NO_ROOM:
            raise behind
        behind = behind.__cause__ or behind.__context__


def stamp(path: Path) -> dict[str, int]:
    """Returns the size of a file and the time of its last change, which tell it from another version."""
    status = path.stat()
    return {"bytes": status.st_size, "modified": status.st_mtime_ns}
