"""The idx files of MNIST and its relatives, plain or compressed by gzip.

A file begins with two zero bytes, a byte for the type of its values, a byte for the number of dimensions, and the dimensions
as big-endian 32-bit numbers; then the values follow. ``train-images-idx3-ubyte.gz`` holds images, and
``train-labels-idx1-ubyte.gz`` beside it their labels. Names with a dot, as ``train-images.idx3-ubyte``, mean the same.

The values are copied to a ``.npy`` file, so that everything else treats them as an array.
"""

import math
import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vaekit.core.errors import DataError, suggest
from vaekit.data.sources.archive_limits import check_space, decompressed
from vaekit.data.sources.arrays import ARRAY_ERRORS, ArrayImages
from vaekit.data.sources.labels import Labels, class_indices
from vaekit.data.sources.source import FileSource, RawSplit, Source, file_version, name_with_config, raise_if_disk_full

TYPES = {0x08: "|u1", 0x09: "|i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""The types of values, by their codes."""
MAX_DIMENSIONS = 4
"""The largest number of dimensions of images."""
CHUNK_BYTES = 2**20
"""The number of bytes that are copied at a time."""
SUFFIXES = ("-ubyte", "-ubyte.gz", ".ubyte", ".ubyte.gz", ".idx", ".idx.gz")
"""The ends of names of idx files."""
SPLITS = {"train": "train", "t10k": "test", "test": "test"}
"""The split that a word before ``images`` names."""

_NAME = re.compile(
    r"(?P<start>.*?)(?P<what>images|labels)(?P<end>[-._]idx\d(?:[-._]ubyte)?|\.idx|[-._]ubyte)(?P<gz>\.gz)?",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True)
class _Pair:
    """A file of images, and the file of their labels or None."""

    images: Path
    labels: Path | None

    @property
    def files(self) -> list[Path]:
        return [file for file in (self.images, self.labels) if file is not None]


class IdxFile(FileSource):
    """A file of images in the idx format, with the labels in the file beside it.

    Raises:
        DataError: If it is a file of labels.
    """

    fitted = False

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        named = _NAME.fullmatch(path.name)
        if named is not None and named["what"].lower() == "labels":
            raise DataError(f"{path}: holds labels; give the file of the images beside it, or the folder of both")
        self.pair = _Pair(path, _labels_beside(path))

    def identity(self) -> dict[str, Any]:
        """Returns the path, and the size and modification time of the images and of the labels."""
        return super().identity() | {"labels": _versions(self.pair.files[1:])}

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns one split."""
        return _read_pairs({"train": self.pair}, scratch)


class IdxFolder(Source):
    """A folder of idx files, as MNIST is published and as torchvision keeps it in ``raw``.

    Arguments:
        path: The folder that was named.
        name: The name of the images; the folder's name by default.
        config: The data set, if the folder holds several as that of EMNIST does: what their names begin with.
    """

    fitted = False

    def __init__(self, path: Path, name: str | None = None, config: str | None = None) -> None:
        self.path, self.config = path, config
        self.name = name_with_config(name or path.resolve().name, config)
        self.sets = _sets_in(path)

    @staticmethod
    def matches(path: Path) -> bool:
        """Whether a folder, its ``raw``, or the ``raw`` of one of its folders holds idx images."""
        return bool(_sets_in(path))

    def identity(self) -> dict[str, Any]:
        """Returns the path, the configuration, and the size and modification time of each file."""
        files = [file for pairs in self.sets.values() for pair in pairs.values() for file in pair.files]
        return {"idx": str(self.path.resolve()), "config": self.config, "files": _versions(files)}

    def read(self, scratch: Path) -> dict[str, RawSplit]:
        """Returns the splits."""
        if self.config is None and len(self.sets) > 1:
            known = ", ".join(sorted(self.sets))
            raise DataError(f"{self.path}: holds several data sets, {known}; choose one, as in {self.path}:{min(self.sets)}")
        name = next(iter(self.sets)) if self.config is None else self.config
        if name not in self.sets:
            raise DataError(f"{self.path}: holds no data set {name}{suggest(name, self.sets)}")
        return _read_pairs(self.sets[name], scratch)


def _sets_in(folder: Path) -> dict[str, dict[str, _Pair]]:
    """The pairs of files of each split of each data set of a folder."""
    found = _pairs_of(folder) or _pairs_of(folder / "raw")
    if found:
        return {name or folder.name: pairs for name, pairs in found.items()}
    for inner in _entries(folder, folders=True):
        for name, pairs in _pairs_of(folder / inner / "raw").items():
            found[name or inner] = pairs
    return found


def _pairs_of(folder: Path) -> dict[str, dict[str, _Pair]]:
    """The pairs of files of each split, by what their names begin with before the name of the split."""
    found: dict[str, dict[str, _Pair]] = {}
    for name in _entries(folder):
        named = _NAME.fullmatch(name)
        if named is None or named["what"].lower() != "images":
            continue
        head, _, split = re.sub(r"[_. ]", "-", named["start"]).rstrip("-").rpartition("-")
        found_split = SPLITS.get(split.lower())
        if found_split is not None:  # torchvision keeps both files, compressed and not; the latter comes first
            found.setdefault(head, {}).setdefault(found_split, _Pair(folder / name, _labels_beside(folder / name)))
    return found


def _entries(folder: Path, *, folders: bool = False) -> list[str]:
    """The names of the files of a folder that may be idx files, or of its folders, sorted; none if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            if folders:
                return sorted(entry.name for entry in entries if entry.is_dir())
            return sorted(entry.name for entry in entries if entry.name.lower().endswith(SUFFIXES) and entry.is_file())
    except OSError:
        return []


def _labels_beside(images: Path) -> Path | None:
    """The labels of a file of images: a file beside it of the same name but for ``labels``, compressed or not."""
    named = _NAME.fullmatch(images.name)
    if named is None:
        return None
    for name in _entries(images.parent):
        other = _NAME.fullmatch(name)
        if other and other["start"] == named["start"] and other["what"].lower() == "labels":
            return images.parent / name
    return None


def _versions(files: Iterable[Path]) -> dict[str, dict[str, int]]:
    return {str(file): file_version(file) for file in files}


def _read_pairs(pairs: dict[str, _Pair], scratch: Path) -> dict[str, RawSplit]:
    """The splits of pairs of files."""
    images, labels = dict[str, ArrayImages](), Labels()
    for split, pair in pairs.items():
        images[split] = ArrayImages(_as_npy(pair.images, scratch / f"{split}.npy"), str(pair.images))
        if pair.labels is not None:
            labels[split] = _labels(pair.labels, scratch / f"{split}-labels.npy", len(images[split]))
    indices, classes = class_indices(labels)
    source = "the file of labels beside" if labels else ""
    return {split: RawSplit(array, indices.get(split), classes, source) for split, array in images.items()}


def _labels(path: Path, scratch: Path, num: int) -> NDArray[Any]:
    """The labels of ``num`` images."""
    labels = np.load(_as_npy(path, scratch), mmap_mode="r")
    if labels.shape != (num,):
        raise DataError(f"{path}: {labels.size:,} labels for {num:,} images; give each image one label")
    return np.asarray(labels)


def _as_npy(path: Path, target: Path) -> Path:
    """Copies the values of an idx file to a ``.npy`` file.

    Raises:
        DataError: If it is damaged, or states more or fewer values than it holds.
    """
    try:
        with decompressed(path) as stream, target.open("wb") as file:
            shape, dtype = _read_header(stream)
            num_bytes = math.prod(shape) * dtype.itemsize
            check_space(num_bytes, target.parent)
            np.lib.format.write_array_header_1_0(file, {"descr": dtype.str, "fortran_order": False, "shape": shape})
            num_copied = _copy(stream, file, num_bytes)
    except ARRAY_ERRORS as error:
        raise_if_disk_full(error)
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: not an idx file that can be read ({reason}); download it again") from None
    if num_copied != num_bytes:
        held = "more" if num_copied > num_bytes else f"{num_copied:,}"
        raise DataError(f"{path}: states {num_bytes:,} bytes of values and holds {held}; it is damaged, download it again")
    return target


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and the type of the values that follow."""
    start = stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in TYPES or not 0 < start[3] <= MAX_DIMENSIONS:
        raise ValueError("it has no header of an idx file")
    sides = stream.read(4 * start[3])
    if len(sides) < 4 * start[3]:
        raise ValueError("its header is truncated")
    return struct.unpack(f">{start[3]}I", sides), np.dtype(TYPES[start[2]])


def _copy(stream: IO[bytes], file: IO[bytes], num_bytes: int) -> int:
    """Copies up to ``num_bytes``, and returns the number of bytes that there are, counting one of those beyond."""
    num_copied = 0
    while num_copied < num_bytes and (data := stream.read(min(CHUNK_BYTES, num_bytes - num_copied))):
        file.write(data)
        num_copied += len(data)
    return num_copied + len(stream.read(1))
