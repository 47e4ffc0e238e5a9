"""Images on disk, as the rows of a ``.npy`` file that are written and read separately.

The file is not memory-mapped: the pages of a mapped file count as memory of the process once they are read, and writing to
a mapped file on a full disk kills the process. Rows are read when they are needed, so a data set larger than memory takes
no more memory than a batch.
"""

import errno
import hashlib
import math
import os
import shutil
import threading
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from vaekit.data.blocks import rows_per_block
from vaekit.data.npy_header import NpyHeader, read_npy_header


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
            header = self._read_header(path.stat().st_size)
            self._start = header.start
            if header.dtype != np.uint8 or header.fortran or len(header.shape) != 4:
                raise ValueError(f"{path.name} holds {header.dtype} of shape {header.shape}, not uint8 images")
            self.shape = torch.Size(header.shape)
            if path.stat().st_size != self._start + self.num_bytes:
                raise ValueError(f"{path.name} is longer than its images")
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
            size = file.tell() + math.prod(shape)
            if size > shutil.disk_usage(path.parent).free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
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
        return math.prod(self.shape[1:])

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

    def fingerprint(self) -> str:
        """Returns a hash of all images."""
        starts = range(0, len(self), self.block_size)
        return hash_blocks(self.read(start, min(start + self.block_size, len(self))) for start in starts)

    def sync(self) -> None:
        """Waits until everything written is on the disk, so that it survives a loss of power."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _read_header(self, file_bytes: int) -> NpyHeader:
        try:
            return read_npy_header(self._file, file_bytes)
        except ValueError as error:
            raise ValueError(f"{self.path.name}: {error}") from None

    def _read(self, start: int, out: NDArray[np.uint8]) -> None:
        view = out.data.cast("B")
        with self._lock:
            self._file.seek(self._start + start * self.row_bytes)
            while view:
                num = self._file.readinto(view)  # type: ignore[attr-defined]
                if not num:
                    raise OSError(f"{self.path.name} was truncated while it was read")
                view = view[num:]


def hash_blocks(blocks: Iterable[Any]) -> str:
    """Returns a hash of the bytes of all blocks, in 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(memoryview(block).cast("B"))
    return digest.hexdigest()[:16]
