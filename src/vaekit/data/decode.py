"""Decoding: encoded pictures of any size and mode to one uint8 array, once and in parallel."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageColor, ImageOps, UnidentifiedImageError

from vaekit.data.disk import Rows
from vaekit.errors import DataError
from vaekit.progress import track

Pixels = NDArray[np.uint8]
Encoded = bytes | Path | Pixels
"""A picture as it comes: the bytes of a file, a file, or grey levels of shape (H, W) or (H, W, C)."""

Pictures = Sequence[Encoded] | Pixels
"""N pictures as they come."""

Fit = Literal["crop", "pad", "stretch"]

UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for a file that is no picture, damaged, or larger than a picture can be."""

NOTHING = (0, 0)
"""The size of no picture."""

GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
"""Pillow's modes of pictures without colour."""

FIRST_TURNED = 5
"""EXIF's orientations from this one on change width and height."""

OVERSAMPLING = 2
"""How many times larger than wanted a picture is decoded at least, where there is a choice, before it is scaled."""


def open_picture(encoded: Encoded, what: str) -> Image.Image:
    """Opens a picture, upright as its EXIF says.

    Raises:
        DataError: If it is none that Pillow can read, or too large to be one.
    """
    try:
        return open_encoded(encoded)
    except UNREADABLE as error:
        raise DataError(f"{what}: {reason_of(error)}") from None


def open_encoded(encoded: Encoded, side: int | None = None) -> Image.Image:
    """Opens a picture, upright as its EXIF says; raises what Pillow raises, :data:`UNREADABLE`.

    Arguments:
        encoded: The picture.
        side: How long its sides should be at least; a JPEG that is twice as large or more is decoded at a half, a quarter or
            an eighth, several times faster. None for its own size.
    """
    if isinstance(encoded, np.ndarray):
        return Image.fromarray(encoded)
    picture = Image.open(BytesIO(encoded.read_bytes() if isinstance(encoded, Path) else encoded))
    if side is not None:
        picture.draft(None, (side, side))
    ImageOps.exif_transpose(picture, in_place=True)
    return picture


def header_of(encoded: Encoded) -> tuple[tuple[int, int], str]:
    """Returns the size (H, W) and the mode of a picture without decoding it; raises :data:`UNREADABLE`."""
    if isinstance(encoded, np.ndarray):
        picture = Image.fromarray(encoded)
        return (picture.height, picture.width), picture.mode
    with Image.open(encoded if isinstance(encoded, Path) else BytesIO(encoded)) as picture:
        # Pillow decodes a PNG to look for EXIF behind its pixels, where hardly anybody writes it.
        has_exif = picture.format != "PNG" or "exif" in picture.info
        turned = has_exif and picture.getexif().get(ExifTags.Base.Orientation, 1) >= FIRST_TURNED
        return ((picture.width, picture.height) if turned else (picture.height, picture.width)), picture.mode


def reason_of(error: Exception) -> str:
    """Returns why a picture cannot be read; what Pillow says of bytes that are no picture names only a buffer."""
    words = "" if isinstance(error, UnidentifiedImageError) else f" ({getattr(error, 'strerror', None) or error})"
    return f"not a picture that can be read{words}"


@dataclass(frozen=True)
class Fitting:
    """How pictures of any size are brought to one.

    Arguments:
        fit: ``crop`` cuts out the middle in the proportions asked for, ``pad`` keeps the whole picture and fills the rest
            with the background, ``stretch`` changes its proportions. Each then scales with a Lanczos filter.
        background: The colour behind transparent pixels and around padded pictures, as Pillow names colours.
    """

    fit: Fit = "crop"
    background: str = "white"

    def __post_init__(self) -> None:
        """Raises DataError for a background that is no colour."""
        try:
            ImageColor.getrgb(self.background)
        except ValueError:
            raise DataError(f"{self.background}: not a colour; use a name such as white, or #rrggbb") from None


CROP = Fitting()
"""The middle, on white."""


def fit(picture: Image.Image, size: tuple[int, int], channels: int, fitting: Fitting = CROP) -> Pixels:
    """Fits a picture to a size and a number of channels.

    Arguments:
        picture: The picture.
        size: The height and width (H, W).
        channels: 1 for grey, 3 for colour.
        fitting: How.

    Returns:
        Grey levels of shape (C, H, W).
    """
    if picture.mode[0] in "IF":
        picture = Image.fromarray(_eight_bits(np.asarray(picture)))
    if picture.mode == "LAB":  # which Pillow turns into nothing but RGB
        picture = picture.convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, fitting.background), picture)
    picture = picture.convert("L" if channels == 1 else "RGB")
    height, width = size
    if picture.size != (width, height):
        picture = _resize(picture, (width, height), fitting)
    pixels = np.asarray(picture, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _eight_bits(levels: NDArray[Any]) -> Pixels:
    """Scales deeper grey levels to 8 bits, which Pillow would clip: floats from [0, 1], and integers from 16 bits."""
    if np.issubdtype(levels.dtype, np.floating):
        levels = np.nan_to_num(levels)
        levels = np.rint(levels * 255) if levels.max() <= 1 else levels
    elif levels.dtype.itemsize == 2 or levels.max() > 255:
        levels = levels >> 8
    return levels.clip(0, 255).astype(np.uint8)


def _resize(picture: Image.Image, size: tuple[int, int], fitting: Fitting) -> Image.Image:
    if fitting.fit == "stretch":
        return picture.resize(size, Image.Resampling.LANCZOS)
    if fitting.fit == "pad":
        return ImageOps.pad(picture, size, Image.Resampling.LANCZOS, color=fitting.background)
    return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class Skipped:
    """A picture that could not be read: its place in the split, its name, and why."""

    index: int
    name: str
    reason: str


def name_of(pictures: Pictures, index: int) -> str:
    """Returns what a picture is called: its file, or its number where it is none."""
    picture = pictures[index]
    return str(picture) if isinstance(picture, Path) else f"picture {index}"


def survey(pictures: Pictures, what: str) -> tuple[tuple[int, int] | None, int]:
    """Looks at the headers of pictures: the size (H, W) they share, or None if they differ, and the channels they need.

    The size is :data:`NOTHING` where there is none that can be opened. One that cannot be opened says nothing here;
    :func:`decode` names it.
    """
    sizes: set[tuple[int, int]] = set()
    grey = True
    for encoded in track(pictures, f"looking at {what}", len(pictures)):
        try:
            size, mode = header_of(encoded)
        except UNREADABLE:
            continue
        sizes.add(size)
        grey = grey and mode in GREY_MODES
    if not sizes:
        return NOTHING, 1
    return (sizes.pop() if len(sizes) == 1 else None), (1 if grey else 3)


def decode(
    pictures: Pictures, out: Rows, what: str, fitting: Fitting = CROP, start: int = 0
) -> Iterator[tuple[int, list[Skipped]]]:
    """Decodes pictures into rows on disk, in parallel.

    Arguments:
        pictures: N encoded pictures.
        out: Where they go, fitted to its size and channels.
        what: What they are, for the bar.
        fitting: How they are fitted.
        start: Where to begin; those before have been decoded.

    Yields:
        Block by block in order, how many pictures are done and which of the block cannot be read; their rows stay black.

    Raises:
        OSError: If there is no room for them.
    """
    channels, *size = out.shape[1:]

    def decode_block(begin: int) -> tuple[int, list[Skipped]]:
        end, skipped = min(begin + out.block, len(pictures)), []
        pixels = np.zeros((end - begin, *out.shape[1:]), np.uint8)
        for index in range(begin, end):
            try:
                picture = open_encoded(pictures[index], OVERSAMPLING * max(size))
                pixels[index - begin] = fit(picture, (size[0], size[1]), channels, fitting)
            except UNREADABLE as error:
                skipped.append(Skipped(index, name_of(pictures, index), reason_of(error)))
        out.write(begin, pixels)
        return end, skipped

    begins = range(start, len(pictures), out.block)
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        done = -(-start // out.block)
        yield from track(pool.map(decode_block, begins), f"decoding {what}", done + len(begins), done)
    finally:
        pool.shutdown(cancel_futures=True)
