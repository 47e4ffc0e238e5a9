"""Sources of arrays: the embedded digits, and NumPy files.

Nothing is ever unpickled, and of a file only the rows that are being copied are in memory.
"""

import shutil
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, LargeZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from vaekit.core.errors import DataError
from vaekit.core.progress import notify
from vaekit.data.blocks import rows_per_block
from vaekit.data.layout import find_layout
from vaekit.data.level_search import array_ranges, find_levels
from vaekit.data.levels import UNKNOWN, Levels
from vaekit.data.npy_header import MAGIC, NpyHeader, read_npy_header
from vaekit.data.sources.archive_limits import check_expansion, check_space
from vaekit.data.sources.array_keys import choose_arrays, one_label_each, report_left_out
from vaekit.data.sources.labels import Labels, class_indices
from vaekit.data.sources.source import FileSource, RawSplit, Source, raise_if_disk_full

DIGITS = "digits"
"""The name of the embedded data set."""
MAX_LABEL_BYTES = 4096
"""The longest label in bytes."""
ARRAY_ERRORS = (OSError, ValueError, EOFError, RuntimeError, BadZipFile, LargeZipFile, zlib.error)
"""What reading a damaged array file raises."""


class Digits(Source):
    """The 1,797 handwritten 8x8 digits that come with scikit-learn: real data without a download.

    References:
        | Optical Recognition of Handwritten Digits (Alpaydin & Kaynak, 1998), https://doi.org/10.24432/C50P49
    """

    name = DIGITS

    def identity(self) -> dict[str, Any]:
        """Returns the name: the images never change."""
        return {"embedded": self.name}

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns one split; gray levels of 0 to 16 are scaled to 0 to 255."""
        from sklearn.datasets import load_digits  # heavy, and only needed for this source

        digits = load_digits()
        pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        return {"train": RawSplit(pixels, digits.target.astype(np.int64), tuple(str(d) for d in digits.target_names))}


class ArrayFile(FileSource):
    """A ``.npy`` file of images, or a ``.npz`` file of images and labels, with or without splits.

    A ``.npz`` file holds ``images`` and ``labels``, or the same by other names and with the names of splits, as
    ``x_train, y_train, x_test, y_test``: see :mod:`vaekit.data.sources.array_keys`. Other arrays in it are not opened.
    """

    fitted = False

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns the splits, whose images are read when they are needed."""
        try:
            return self._read(scratch)
        except ARRAY_ERRORS as error:
            raise_if_disk_full(error)
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{self.path}: not a NumPy array that can be read safely ({reason})") from None

    def _read(self, scratch: Path) -> dict[str, RawSplit]:
        with self.path.open("rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                return {"train": RawSplit(ArrayImages(self.path, str(self.path)))}
            with ZipFile(file) as archive:
                return self._read_archive(archive, scratch)

    def _read_archive(self, archive: ZipFile, scratch: Path) -> dict[str, RawSplit]:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        headers = {key: _header_or_reason(archive, member) for key, member in members.items()}
        pairs = choose_arrays(headers, str(self.path))
        report_left_out(headers, pairs, str(self.path))
        images, labels = dict[str, ArrayImages](), Labels()
        for number, (split, pair) in enumerate(pairs.items()):
            unpacked = _unpack(archive, members[pair.images], scratch / f"{number}.npy")
            images[split] = ArrayImages(unpacked, f"{self.path}: {pair.images}")
            if pair.labels is not None:
                unpacked = _unpack(archive, members[pair.labels], scratch / f"{number}-labels.npy")
                if (values := self._labels(unpacked, pair.labels, len(images[split]))) is not None:
                    labels[split] = values
        indices, classes = class_indices(labels)
        source = f"the array {pairs[next(iter(labels))].labels}" if labels else ""
        return {split: RawSplit(array, indices.get(split), classes, source) for split, array in images.items()}

    def _labels(self, path: Path, key: str, num: int) -> NDArray[Any] | None:
        """The labels of ``num`` images; None, and a line for the user, if each has several."""
        with path.open("rb") as file:
            header = read_npy_header(file, path.stat().st_size)
        values = header.num_bytes // header.dtype.itemsize
        if values != num and header.shape[:1] != (num,):
            raise DataError(f"{self.path}: {values:,} labels for {num:,} images; give each image one label")
        if header.dtype.itemsize > MAX_LABEL_BYTES or header.dtype.kind == "c":
            raise DataError(f"{self.path}: labels are numbers or short texts, not {header.dtype}")
        if values == num:
            return np.ravel(_map(path, header))
        if values and (classes := one_label_each(_map(path, header).reshape(num, -1))) is not None:
            return classes
        notify(f"{self.path}: {key} holds {values // num:,} values for each image, not one label; no labels are read")
        return None


class ArrayImages(Sequence[Any]):
    """The images in a ``.npy`` file, each of which is read when it is needed, with the values that the file holds.

    Arguments:
        path: The file.
        name: Its name in error messages.

    Raises:
        DataError: If its shape or type is not that of images.
        ValueError: If it is damaged.
        OSError: If it cannot be opened.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        with path.open("rb") as file:
            self.header = read_npy_header(file, path.stat().st_size)
        find_layout(self.header.shape, self.header.dtype, name)

    def __len__(self) -> int:
        """N, the number of images."""
        return self.header.shape[0]

    def __getitem__(self, index: Any) -> Any:
        """Returns an image, or those of a slice, in the layout of the file."""
        if not isinstance(index, slice):
            return self[index : index + 1][0]
        start, stop, _ = index.indices(len(self))
        return self._block(start, stop)

    def _block(self, start: int, stop: int) -> NDArray[Any]:
        """The values from ``start`` up to, but not including, ``stop``."""
        if self.header.fortran:
            return np.asarray(_map(self.path, self.header)[start:stop])
        row = self.header.num_bytes // len(self)
        with self.path.open("rb") as file:
            file.seek(self.header.start + start * row)
            values = file.read((stop - start) * row)
        if len(values) != (stop - start) * row:
            raise DataError(f"{self.name}: was truncated while it was read")
        return np.frombuffer(values, self.header.dtype).reshape(stop - start, *self.header.shape[1:])


def as_pixels(
    array: NDArray[Any],
    name: str,
    levels: Levels | None = None,
    channels: int | None = None,
    background: str = "white",
) -> tuple[NDArray[np.uint8], Levels]:
    """Returns an array of images as uint8 pixels of shape (N, C, H, W), and the levels by which they were scaled.

    Arguments:
        array: Shape (N, H, W), (N, C, H, W) or (N, H, W, C) with 1 to 16 channels; integers, bool or floating point.
        name: Its name in messages.
        levels: Levels that are known; others are found, and a line says which.
        channels: The number of channels that is asked for; None for that of the array.
        background: The color behind transparent pixels.

    Raises:
        DataError: If the shape or the values are not among these.
    """
    layout = find_layout(array.shape, array.dtype, name, channels)
    levels = levels or UNKNOWN
    found, lines = find_levels(array_ranges({"array": array}, levels, name), levels, name)
    for line in [layout.remark, *lines]:
        if line:
            notify(f"{name}: {line}")
    size = rows_per_block(array[0].nbytes)
    try:
        blocks = [layout.pixels(array[begin : begin + size], found, background) for begin in range(0, len(array), size)]
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
    return np.concatenate(blocks), replace(found, uint8=levels.uint8)


def _map(path: Path, header: NpyHeader) -> NDArray[Any]:
    """The array of a file, memory-mapped."""
    order: Any = "F" if header.fortran else "C"
    if not header.num_bytes:
        return np.empty(header.shape, header.dtype)
    return np.memmap(path, header.dtype, "r", header.start, header.shape, order)


def _header_or_reason(archive: ZipFile, member: ZipInfo) -> NpyHeader | str:
    """The header of an array of an archive, or why it cannot be read."""
    try:
        with archive.open(member) as packed:
            return read_npy_header(packed, member.file_size)  # type: ignore[arg-type]
    except ARRAY_ERRORS as error:
        return str(error)


def _unpack(archive: ZipFile, member: ZipInfo, path: Path) -> Path:
    """Unpacks an array of an archive to a file, if its header and its size are those of images or labels."""
    with archive.open(member) as packed:
        read_npy_header(packed, member.file_size)  # type: ignore[arg-type]
    check_space(member.file_size, path.parent)
    check_expansion(member.file_size, member.compress_size)
    with archive.open(member) as packed, path.open("wb") as file:
        shutil.copyfileobj(packed, file, 2**20)
    return path
