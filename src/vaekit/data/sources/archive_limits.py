"""Limits of what an archive may expand to, checked against what it states before anything is written."""

import bz2
import gzip
import lzma
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

MAX_EXPANSION = 200
"""The largest factor by which a large archive may expand; images, which are compressed already, hardly do."""
SMALL_BYTES = 10**8
"""Archives that expand to no more than this, 100 MB, may expand by any factor."""
MAX_READ_BYTES = 2**24
"""The most that is read from a compressed file at once, 16 MB; a tar header that states more is refused."""
COMPRESSIONS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
"""How a compressed file is opened, by its first bytes."""


def check_space(num_bytes: int, folder: Path) -> None:
    """Checks that the disk of a folder has this much free space.

    Raises:
        ValueError: If it has not.
    """
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise ValueError(f"it would take {num_bytes / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free")


def check_expansion(num_bytes: int, packed_bytes: int) -> None:
    """Checks that an archive does not expand by a factor that no images have.

    Arguments:
        num_bytes: What it expands to.
        packed_bytes: What it takes.

    Raises:
        ValueError: If it does.
    """
    if num_bytes > expansion_limit(packed_bytes):
        stated = f"{packed_bytes / 1e6:,.1f} MB would expand to {num_bytes / 1e9:,.1f} GB"
        raise ValueError(f"{stated}, more than {MAX_EXPANSION} times as much")


def expansion_limit(packed_bytes: int) -> int:
    """Returns the number of bytes that an archive of this size may expand to."""
    return max(SMALL_BYTES, MAX_EXPANSION * packed_bytes)


@contextmanager
def decompressed(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file that may be compressed by gzip, bzip2 or xz; reading beyond the limit raises ValueError."""
    with path.open("rb") as file:
        start = file.read(6)
    opener = next((opener for magic, opener in COMPRESSIONS.items() if start.startswith(magic)), None)
    if opener is None:
        with path.open("rb") as file:
            yield file
        return
    with cast(BinaryIO, opener(path, "rb")) as stream:
        yield cast(IO[bytes], _Limited(stream, path))


def check_packed(path: Path, folder: Path) -> None:
    """Checks an archive or compressed file that another package would unpack to a folder.

    Raises:
        ValueError: If it expands too much.
        Exception: Another that reading a damaged archive raises.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            num_bytes = sum(member.file_size for member in archive.infolist())
            check_space(num_bytes, folder)
            check_expansion(num_bytes, path.stat().st_size)
        return
    with decompressed(path) as stream:
        if isinstance(stream, _Limited):
            while stream.read(2**20):
                pass
            check_space(stream.tell(), folder)


class _Limited:
    """A decompressed stream that ends with an error where the file has expanded too much."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self.stream, self.packed_bytes = stream, path.stat().st_size
        self.limit = expansion_limit(self.packed_bytes)

    def read(self, num: int = -1) -> bytes:
        """Reads ``num`` bytes."""
        if not 0 <= num <= MAX_READ_BYTES:
            raise ValueError(f"one of its headers states {num:,} bytes")
        data = self.stream.read(num)
        self._check(self.stream.tell())
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        """Moves to a position."""
        self._check(position)
        return self.stream.seek(position, whence)

    def tell(self) -> int:
        """The position."""
        return self.stream.tell()

    def __getattr__(self, name: str) -> Any:
        """Everything else is that of the stream."""
        return getattr(self.stream, name)

    def _check(self, position: int) -> None:
        if position > self.limit:
            raise ValueError(
                f"{self.packed_bytes / 1e6:,.1f} MB expand to more than {self.limit / 1e9:,.1f} GB, which no images do"
            )
