"""Images on disk, as the rows of a ``.npy`` file that are written and read separately.

The file is not memory-mapped: the pages of a mapped file count as memory of the process once they are read, and writing to
a mapped file on a full disk kills the process. Rows are read when they are needed, so a data set larger than memory takes
no more memory than a batch.
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
"""The approximate number of bytes, 16 MB, that are read, written or decoded at a time."""
MAX_BLOCK_ROWS = 256
"""The largest number of rows in a block."""


class Rows:
    """The rows of a ``.npy`` file of uint8 images, used like a tensor of shape (M, C, H, W).

    Arguments:
        path: The file.
        writable: Whether rows may be written.

    Raises:
        ValueError: If it is not an array of uint8 images, or is truncated.
        OSError: If it cannot be opened.
    """

    dtype = torch.uint8
    device = torch.device("cpu")

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file: BinaryIO = path.open("r+b" if writable else "rb", buffering=0)
        try:
            shape, fortran, dtype = _read_npy_header(self._file)
            self._start = self._file.tell()
            if dtype != np.uint8 or fortran or len(shape) != 4:
                raise ValueError(f"{path.name} holds {dtype} of shape {shape}, not uint8 images")
            num, channels, height, width = shape
            self.shape = torch.Size((num, channels, height, width))
            if path.stat().st_size != self._start + self.num_bytes:
                raise ValueError(f"{path.name} is truncated")
        except BaseException:
            self._file.close()
            raise
        weakref.finalize(self, self._file.close)

    @classmethod
    def create(cls, path: Path, shape: Sequence[int]) -> "Rows":
        """Creates a file for images of shape (M, C, H, W), which are black until they are written; allocates all of it.

        Raises:
            OSError: If the disk is full.
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
        """The number of dimensions, 4."""
        return len(self.shape)

    @property
    def row_bytes(self) -> int:
        """The size of a row in bytes."""
        return int(np.prod(self.shape[1:]))

    @property
    def num_bytes(self) -> int:
        """The size of all rows in bytes."""
        return len(self) * self.row_bytes

    @property
    def block_size(self) -> int:
        """The number of rows to process at a time."""
        return rows_per_block(self.row_bytes)

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """Reads the rows with numbers of shape (B), as uint8 of shape (B, C, H, W); ``dim`` is 0, as for a tensor."""
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for position, row in sorted(enumerate(rows.tolist()), key=lambda pair: pair[1]):  # in the order of the file
            self._read(row, out[position : position + 1])
        return torch.from_numpy(out)

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Reads the rows from ``start`` up to, but not including, ``stop``."""
        out = np.empty((stop - start, *self.shape[1:]), np.uint8)
        self._read(start, out)
        return out

    def write(self, start: int, pixels: NDArray[np.uint8]) -> None:
        """Writes pixels of shape (B, C, H, W) to the rows from ``start`` on.

        Raises:
            OSError: If the disk is full.
        """
        view = np.ascontiguousarray(pixels).data.cast("B")
        with self._lock:
            self._file.seek(self._start + start * self.row_bytes)
            while view:
                view = view[self._file.write(view) :]

    def sync(self) -> None:
        """Waits until everything written is on the disk, so that it survives a loss of power."""
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
                    raise OSError(f"{self.path.name} was truncated while it was read")
                view = view[num:]


def rows_per_block(row_bytes: int) -> int:
    """Returns the number of rows of this size to process at a time: at most 256, and at least one."""
    return max(1, min(MAX_BLOCK_ROWS, BLOCK_BYTES // max(row_bytes, 1)))


def _read_npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """The shape, whether it is in Fortran order, and the type that a ``.npy`` file declares."""
    if npy.read_magic(file) != (1, 0):
        raise ValueError("not a .npy file of version 1.0")
    return npy.read_array_header_1_0(file)
