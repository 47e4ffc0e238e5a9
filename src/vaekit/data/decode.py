"""Decoding: encoded pictures of any size and mode to one uint8 array, once and in parallel."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

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

CHUNK = 256
"""How many pictures a worker decodes at a time."""

GREY_MODES = ("1", "L", "LA", "I", "I;16", "F")


def open_picture(encoded: Encoded, what: str) -> Image.Image:
    """Opens a picture, upright as its EXIF says, without decoding more than that needs.

    Raises:
        DataError: If it is none that Pillow can read, or too large to be one.
    """
    try:
        return open_encoded(encoded)
    except UNREADABLE as error:
        raise DataError(f"{what}: {reason_of(error)}") from None


def open_encoded(encoded: Encoded) -> Image.Image:
    """Opens a picture, upright as its EXIF says; raises what Pillow raises, :data:`UNREADABLE`."""
    if isinstance(encoded, np.ndarray):
        return Image.fromarray(encoded)
    data = encoded.read_bytes() if isinstance(encoded, Path) else encoded
    return ImageOps.exif_transpose(Image.open(BytesIO(data)))


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
    if picture.mode.startswith("I;16"):  # Pillow would clip, not scale, 16 bits to 8
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, fitting.background), picture)
    picture = picture.convert("L" if channels == 1 else "RGB")
    height, width = size
    if picture.size != (width, height):
        picture = _resize(picture, (width, height), fitting)
    pixels = np.asarray(picture, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


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

    The size is :data:`NOTHING` where there is none that can be opened.

    One that cannot be opened says nothing here; :func:`decode` names it.
    """
    sizes: set[tuple[int, int]] = set()
    grey = True
    for encoded in track(pictures, f"looking at {what}", len(pictures)):
        try:
            picture = open_encoded(encoded)
        except UNREADABLE:
            continue
        sizes.add((picture.height, picture.width))
        grey = grey and picture.mode in GREY_MODES
    if not sizes:
        return NOTHING, 1
    return (sizes.pop() if len(sizes) == 1 else None), (1 if grey else 3)


def decode(pictures: Pictures, out: Pixels, what: str, fitting: Fitting = CROP) -> list[Skipped]:
    """Decodes pictures into an array.

    Arguments:
        pictures: N encoded pictures.
        out: Where they go, fitted to its size and channels: uint8 of shape (N, C, H, W), which may be memory-mapped.
        what: What they are, for the bar.
        fitting: How they are fitted.

    Returns:
        Those that cannot be read, in order; their rows of ``out`` mean nothing.
    """
    channels, *size = out.shape[1:]

    def decode_chunk(start: int) -> list[Skipped]:
        skipped = []
        for index in range(start, min(start + CHUNK, len(pictures))):
            try:
                out[index] = fit(open_encoded(pictures[index]), (size[0], size[1]), channels, fitting)
            except UNREADABLE as error:
                skipped.append(Skipped(index, name_of(pictures, index), reason_of(error)))
        return skipped

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        starts = range(0, len(pictures), CHUNK)
        return [one for part in track(pool.map(decode_chunk, starts), f"decoding {what}", len(starts)) for one in part]
