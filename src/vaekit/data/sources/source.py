"""The interface of a source: splits of encoded images, and an identity that tells them from other images."""

import errno
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaekit.core.errors import DataError
from vaekit.data.image_files import EncodedImages
from vaekit.data.image_formats import HEIF_SUFFIXES, reads_heif

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The error numbers of a full disk, an exceeded quota, and a file that is too large."""

MAX_NAME = 200
"""The most characters of a name that an error message quotes."""
UNPACKED = "unpacked"
"""The folder within a source's scratch folder that an archive is unpacked to."""
INNER = "inner-archives"
"""The folder within a source's scratch folder that archives in a folder are unpacked to, each to a folder of its name."""


@dataclass(frozen=True)
class RawSplit:
    """A split as its source holds it.

    Arguments:
        images: N images.
        labels: The class of each, with shape (N), or None.
        classes: The names of the classes, by label.
        labels_from: Where the classes come from, e.g. ``the names of folders``; empty if there are none.
    """

    images: EncodedImages
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    labels_from: str = ""


class Source(ABC):
    """A source of images.

    Attributes:
        name: The name of its images.
        root: The folder of its images, if there is one.
        fitted: Whether the images may be fitted to another size; arrays are not resized.
    """

    name: str
    fitted: bool = True
    root: Path | None = None

    def relative_name(self, name: str, scratch: Path) -> str:
        """Returns the name of an image's file relative to the source."""
        for root in (scratch / INNER, scratch / UNPACKED, self.root):
            if root is not None and Path(name).is_relative_to(root):
                return str(Path(name).relative_to(root))
        return name

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Returns what identifies these images, as JSON data, without reading them; part of the cache key."""

    @abstractmethod
    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns the splits by name.

        Arguments:
            scratch: A temporary folder, which is removed when the images have been decoded.

        Raises:
            DataError: If they cannot be read.
        """


class FileSource(Source):
    """A file that holds images; its name is that of the file, up to the first dot.

    Arguments:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name.split(".")[0] or path.name

    def identity(self) -> dict[str, Any]:
        """Returns the path, the size and the modification time."""
        return {"file": str(self.path.resolve())} | file_version(self.path)


def heif_option(names: Iterable[str] | None = None) -> dict[str, bool]:
    """Returns what an identity says of HEIF files, so that installing the package that reads them changes it.

    Arguments:
        names: The names of the files; None if they are unknown.
    """
    may_have = names is None or any(name.lower().endswith((*HEIF_SUFFIXES, ".zip", ".tar", ".gz", ".tgz")) for name in names)
    return {"heif": True} if may_have and reads_heif() else {}


def shorten_name(text: str) -> str:
    """Returns a name for an error message, of at most 200 characters."""
    return text if len(text) <= MAX_NAME else f"{text[:MAX_NAME]}..."


def check_splits(name: str, splits: dict[str, RawSplit]) -> None:
    """Checks that there are images, and that the name of each split can be that of a file.

    Raises:
        DataError: If not.
    """
    if not any(len(raw.images) for raw in splits.values()):
        raise DataError(f"{name}: holds no images")
    for split in splits:
        if not re.fullmatch(r"\w[\w.]{0,63}", split, re.ASCII):
            raise DataError(f"{name}: a split is named {split[:64]!r}; use letters and digits, as in train or test")


def name_with_config(name: str, config: str | None) -> str:
    """Returns the name of a configuration of a source."""
    return name if config is None else f"{name}:{config}"


def raise_if_disk_full(error: BaseException) -> None:
    """Raises the OSError of a full disk that caused an error, if one did."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in DISK_FULL:
            raise cause
        cause = cause.__cause__ or cause.__context__


def file_version(path: Path) -> dict[str, int]:
    """Returns the size and the modification time of a file, which change with its content."""
    status = path.stat()
    return {"bytes": status.st_size, "modified": status.st_mtime_ns}
