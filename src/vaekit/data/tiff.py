"""TIFF files whose values Pillow does not read as they are: several channels, and colors of more than 8 bits.

Pillow decompresses them all the same. A strip or tile holds the same bytes whether the file calls them W pixels of C
channels of 16 bits, or 2 C W gray pixels of 8 bits; so the file is given a directory that says the latter, Pillow decodes
it, and the bytes are read as what they are. Predictors, which store differences of neighbors, are undone here.

References:
    | TIFF Revision 6.0 (Adobe, 1992); the floating-point predictor: Adobe Photoshop TIFF Technical Note 3 (2005)
"""

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import PREFIXES, ImageFileDirectory_v2

from vaekit.data.layout import MAX_CHANNELS
from vaekit.data.samples import Samples

LOSSLESS = (1, 5, 8, 32_773, 32_946, 34_925, 50_000)
"""Compressions of bytes, whatever they mean: none, LZW, Deflate (twice), PackBits, LZMA and Zstandard."""
MIN_IS_WHITE, MIN_IS_BLACK, RGB = 0, 1, 2
"""Photometric interpretations that are read here."""
NUMBERS = {1: "u", 2: "i", 3: "f"}
"""NumPy's kinds of numbers by sample format."""
BITS = {"u": (8, 16, 32), "i": (8, 16, 32), "f": (16, 32, 64)}
"""The numbers of bits that are read, by kind of number."""
DIFFERENCES, FLOAT_DIFFERENCES = 2, 3
"""Predictors."""
SHORT, LONG = 3, 4
"""Types of values in a directory."""


@dataclass(frozen=True)
class TiffFile:
    """The directory of the first image of a TIFF file, if it is read here.

    Arguments:
        width: W.
        height: H.
        channels: C, opacity included.
        dtype: The type of its values, in the byte order of the file.
        opacity: Whether the last channel is opacity.
        rgb: Whether the first three channels are red, green and blue.
        inverted: Whether the smallest value is white.
        orientation: The EXIF orientation.
        planar: Whether each channel is stored for itself.
        predictor: Which differences are stored; 1 for none.
        tile: The height and width of a tile; None if the file has strips.
        entries: Compression, fill order and height of strips, as they go into a directory.
        offsets: Where strips or tiles begin.
        counts: How long they are.
    """

    width: int
    height: int
    channels: int
    dtype: np.dtype[Any]
    opacity: bool
    rgb: bool
    inverted: bool
    orientation: int
    planar: bool
    predictor: int
    tile: tuple[int, int] | None
    entries: dict[int, int]
    offsets: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def mode(self) -> str:
        """A name for this kind of image, e.g. ``uint16 x 5``."""
        return self.dtype.name if self.channels == 1 else f"{self.dtype.name} x {self.channels}"


@dataclass(frozen=True)
class TiffImage:
    """An image whose directory is read, and whose values are not.

    Arguments:
        data: The whole file.
        directory: Its directory.
    """

    data: bytes
    directory: TiffFile

    @property
    def width(self) -> int:
        """The stored width."""
        return self.directory.width

    @property
    def height(self) -> int:
        """The stored height."""
        return self.directory.height


def is_tiff(start: bytes) -> bool:
    """Whether a file begins as a TIFF file does."""
    return start.startswith(tuple(PREFIXES))


def read_directory(file: BinaryIO) -> TiffFile | None:
    """Reads the directory of the first image; None if it is an image that Pillow reads as it is.

    Raises:
        Exception: Of any kind, if the file is damaged.
    """
    file.seek(0)
    header = file.read(8)
    if header[2:4] in (b"\x2b\x00", b"\x00\x2b"):
        header += file.read(8)
    tags = ImageFileDirectory_v2(header)
    file.seek(tags.next)
    tags.load(file)
    samples, photometric = tags.get(277, 1), tags.get(262)
    bits, formats, extras = (tags.get(tag, default) for tag, default in ((258, (1,)), (339, (1,)), (338, ())))
    number = NUMBERS.get(formats[0]) if len(set(formats)) == 1 else None
    if (
        photometric not in (MIN_IS_WHITE, MIN_IS_BLACK, RGB)
        or tags.get(259, 1) not in LOSSLESS
        or number is None
        or len(set(bits)) != 1
        or bits[0] not in BITS[number]
        or not 1 <= samples <= MAX_CHANNELS
    ):
        return None
    colors = 3 if photometric == RGB else 1
    opacity = samples == colors + 1 and (extras[:1] in ((1,), (2,)) or (photometric == RGB and extras[:1] != (0,)))
    if _is_plain(samples, colors, opacity, number, bits[0], photometric):
        return None
    return _directory(tags, samples, np.dtype(f"{'>' if header[:2] == b'MM' else '<'}{number}{bits[0] // 8}"), opacity)


def _is_plain(samples: int, colors: int, opacity: bool, number: str, bits: int, photometric: int) -> bool:
    """Whether Pillow reads an image as it is: gray or color of 8 bits, and one channel of more bits."""
    if number == "u" and bits == 8:
        return opacity or samples == colors
    deep = (("u", 16), ("i", 16), ("i", 32), ("f", 32))
    return samples == 1 and photometric == MIN_IS_BLACK and (number, bits) in deep


def _directory(tags: ImageFileDirectory_v2, samples: int, dtype: np.dtype[Any], opacity: bool) -> TiffFile:
    tiled = 324 in tags
    entries = {tag: tags[tag] for tag in (259, 266) if tag in tags}
    if not tiled:
        entries[278] = min(tags.get(278, tags[257]), tags[257])
    return TiffFile(
        width=tags[256],
        height=tags[257],
        channels=samples,
        dtype=dtype,
        opacity=opacity,
        rgb=tags.get(262) == RGB,
        inverted=tags.get(262) == MIN_IS_WHITE,
        orientation=tags.get(274, 1),
        planar=samples > 1 and tags.get(284, 1) == 2,
        predictor=tags.get(317, 1),
        tile=(tags[323], tags[322]) if tiled else None,
        entries=entries,
        offsets=tags[324 if tiled else 273],
        counts=tags[325 if tiled else 279],
    )


def read_samples(data: bytes, tiff: TiffFile) -> Samples:
    """Reads the values of the first image.

    Arguments:
        data: The whole file.
        tiff: Its directory.

    Raises:
        Exception: Of any kind, if the file is damaged.
    """
    if not tiff.planar:
        values = _read_plane(data, tiff, tiff.channels, slice(None))
    else:
        num = len(tiff.offsets) // tiff.channels
        planes = [_read_plane(data, tiff, 1, slice(c * num, (c + 1) * num)) for c in range(tiff.channels)]
        values = np.concatenate(planes, 2)
    return Samples(values, tiff.opacity, tiff.rgb, tiff.inverted)


def _read_plane(data: bytes, tiff: TiffFile, channels: int, part: slice) -> NDArray[Any]:
    """The values in some of the strips or tiles, with shape (H, W, C)."""
    pixel, column = channels * tiff.dtype.itemsize, tiff.width if tiff.tile is None else tiff.tile[1]
    width = -(-tiff.width // column) * column  # tiles are whole, so that differences in them can be summed
    entries: dict[int, Any] = tiff.entries | {256: width * pixel, 257: tiff.height, 258: 8, 262: MIN_IS_BLACK, 277: 1}
    first = 273 if tiff.tile is None else 324
    entries |= {first: tiff.offsets[part], 279 if tiff.tile is None else 325: tiff.counts[part]}
    if tiff.tile is not None:
        entries |= {322: column * pixel, 323: tiff.tile[0]}
    image = Image.open(BytesIO(_with_directory(data, entries)), formats=("TIFF",))
    rows = np.asarray(image).reshape(tiff.height, width // column, column * pixel)
    values = _undo_predictor(rows, tiff.predictor, tiff.dtype, channels)
    return values.reshape(tiff.height, width, channels)[:, : tiff.width].astype(tiff.dtype.newbyteorder("="))


def _undo_predictor(rows: NDArray[np.uint8], predictor: int, dtype: np.dtype[Any], channels: int) -> NDArray[Any]:
    """The values of rows of bytes, of shape (H, tiles, bytes), as (H, tiles, W, C)."""
    height, tiles, _ = rows.shape
    if predictor == FLOAT_DIFFERENCES and dtype.kind == "f":
        summed = np.cumsum(rows.reshape(height, tiles, -1, channels), axis=2, dtype=np.uint8)
        planes = summed.reshape(height, tiles, dtype.itemsize, -1)  # the first bytes of all values, then the second ones
        values = np.ascontiguousarray(planes.swapaxes(2, 3)).view(dtype.newbyteorder(">"))
        return values.reshape(height, tiles, -1, channels)
    values = np.ascontiguousarray(rows).view(dtype).reshape(height, tiles, -1, channels)
    if predictor == DIFFERENCES:
        return np.cumsum(values, axis=2, dtype=dtype.newbyteorder("="))
    if predictor != 1:
        raise ValueError(f"a predictor of number {predictor} is not read")
    return values


def _with_directory(data: bytes, entries: dict[int, int | tuple[int, ...]]) -> bytes:
    """A file with another directory."""
    order: Literal[">", "<"] = ">" if data[:2] == b"MM" else "<"
    start = len(data) + len(data) % 2
    after, rest = start + 2 + 12 * len(entries) + 4, b""
    directory = struct.pack(f"{order}H", len(entries))
    for tag, value in sorted(entries.items()):
        values = value if isinstance(value, tuple) else (value,)
        packed = struct.pack(f"{order}{len(values)}L", *values)
        if len(packed) > 4:
            packed, rest = struct.pack(f"{order}L", after + len(rest)), rest + packed
        if tag in (258, 259, 262, 266, 277):
            directory += struct.pack(f"{order}HHLHH", tag, SHORT, 1, values[0], 0)
        else:
            directory += struct.pack(f"{order}HHL", tag, LONG, len(values)) + packed
    header = data[:2] + struct.pack(f"{order}HL", 42, start)
    return b"".join((header, data[8:], bytes(len(data) % 2), directory, bytes(4), rest))
