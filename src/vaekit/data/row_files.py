"""Images on disk, as rows of one ``.npy`` file that are written and read one at a time.

Nothing is mapped: a mapped file that is gone through counts, page after page, as memory of the process, and writing to one
on a full disk kills it without a word. Rows are read where they are wanted, so that a set larger than memory costs no more
of it than a batch.
"""

import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

BLOCK_BYTES = 2**24
"""About how much is read, written or decoded at a time: 16 MB."""


class Rows:
    """The rows of a ``.npy`` file of uint8 images; a stand-in for a tensor of shape (M, C, H, W).

    Arguments:
        path: The file.
        writable: Whether rows may be written.

    Raises:
        ValueError: If it is no array of uint8 images, or cut short.
        OSError: If it cannot be opened.
    """

    dtype = torch.uint8
    device = torch.device("cpu")

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file: BinaryIO = path.open("r+b" if writable else "rb", buffering=0)
        try:
            shape, fortran, dtype = _header(self._file)
            self._start = self._file.tell()
            if dtype != np.uint8 or fortran or len(shape) != 4:
                raise ValueError(f"{path.name} holds {dtype} of shape {shape}, not uint8 images")
            num, channels, height, width = shape
            self.shape = torch.Size((num, channels, height, width))
            if path.stat().st_size != self._start + self.num_bytes:
                raise ValueError(f"{path.name} is cut short")
        except BaseException:
            self._file.close()
            raise
        weakref.finalize(self, self._file.close)

    @classmethod
    def create(cls, path: Path, shape: Sequence[int]) -> "Rows":
        """Makes a file for images of shape (M, C, H, W), black until they are written, with all its room taken at once.

        Raises:
            OSError: If there is not as much room.
        """
        with path.open("wb") as file:
            npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)})
            size = file.tell() + int(np.prod(shape, dtype=np.int64))
            file.truncate(size)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
        return cls(path, writable=True)

    def __len__(self) -> int:
        """M, the number of rows."""
        return self.shape[0]

    def dim(self) -> int:
        """How many axes there are."""
        return len(self.shape)

    @property
    def row_bytes(self) -> int:
        """How many bytes a row has."""
        return int(np.prod(self.shape[1:]))

    @property
    def num_bytes(self) -> int:
        """How many bytes all rows have."""
        return len(self) * self.row_bytes

    @property
    def block(self) -> int:
        """How many rows to go through at a time."""
        return block_of(self.row_bytes)

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Reads rows of numbers (B), as uint8 of shape (B, C, H, W); ``dim`` is 0, as a tensor would be asked."""
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for place, row in sorted(enumerate(rows.tolist()), key=lambda pair: pair[1]):  # the way that the disk turns
            self._read(row, out[place : place + 1])
        return torch.from_numpy(out)

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Reads rows from ``start`` to before ``stop``."""
        out = np.empty((stop - start, *self.shape[1:]), np.uint8)
        self._read(start, out)
        return out

    def write(self, start: int, pixels: NDArray[np.uint8]) -> None:
        """Writes rows from ``start`` on, of shape (B, C, H, W).

        Raises:
            OSError: If there is no room.
        """
        view = np.ascontiguousarray(pixels).data.cast("B")
        with self._lock:
            self._file.seek(self._start + start * self.row_bytes)
            while view:
                view = view[self._file.write(view) :]

    def sync(self) -> None:
        """Returns when all that was written is safe from a loss of power."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _read(self, start: int, out: NDArray[np.uint8]) -> None:
        view = out.data.cast("B")
        with self._lock:
            self._file.seek(self._start + start * self.row_bytes)
            while view:
                num = self._file.readinto(view)  # type: ignore[attr-defined]
                if not num:
                    raise OSError(f"{self.path.name} was cut short while it was read")
                view = view[num:]


def block_of(row_bytes: int) -> int:
    """How many rows of so many bytes to go through at a time: at most 256, and at least one."""
    return max(1, min(256, BLOCK_BYTES // max(row_bytes, 1)))


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """The shape, order and type that a ``.npy`` file states."""
    if npy.read_magic(file) != (1, 0):
        raise ValueError("not a file that was written here")
    return npy.read_array_header_1_0(file)
