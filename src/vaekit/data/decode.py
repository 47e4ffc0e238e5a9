"""Decoding: encoded pictures of any size and mode to one uint8 array, once and in parallel."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from vaekit.errors import DataError
from vaekit.progress import track

Pixels = NDArray[np.uint8]
Encoded = bytes | Path | Pixels
"""A picture as it comes: the bytes of a file, a file, or grey levels of shape (H, W) or (H, W, C)."""

Pictures = Sequence[Encoded] | Pixels
"""N pictures as they come."""

CHUNK = 256
"""How many pictures a worker decodes at a time."""

GREY_MODES = ("1", "L", "LA", "I", "I;16", "F")


def open_picture(encoded: Encoded, what: str) -> Image.Image:
    """Opens a picture, upright as its EXIF says, without decoding more than that needs.

    Raises:
        DataError: If it is none that Pillow can read, or too large to be one.
    """
    what = f"{encoded}, {what}" if isinstance(encoded, Path) and str(encoded) != what else what
    try:
        if isinstance(encoded, np.ndarray):
            return Image.fromarray(encoded)
        data = encoded.read_bytes() if isinstance(encoded, Path) else encoded
        return ImageOps.exif_transpose(Image.open(BytesIO(data)))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"  # which would only name a buffer
        raise DataError(f"{what}: not a picture that can be read{reason}") from None


def fit(picture: Image.Image, size: tuple[int, int], channels: int) -> Pixels:
    """Fits a picture to a size and a number of channels.

    The middle is cut out in the proportions asked for and scaled with a Lanczos filter; transparency is put on white.

    Arguments:
        picture: The picture.
        size: The height and width (H, W).
        channels: 1 for grey, 3 for colour.

    Returns:
        Grey levels of shape (C, H, W).
    """
    if picture.mode.startswith("I;16"):  # Pillow would clip, not scale, 16 bits to 8
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("L" if channels == 1 else "RGB")
    height, width = size
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def survey(pictures: Pictures, what: str) -> tuple[tuple[int, int] | None, int]:
    """Looks at the headers of pictures: the size (H, W) they share, or None if they differ, and the channels they need."""
    sizes: set[tuple[int, int]] = set()
    grey = True
    for index, encoded in enumerate(track(pictures, f"looking at {what}", len(pictures))):
        picture = open_picture(encoded, f"{what}, picture {index}")
        sizes.add((picture.height, picture.width))
        grey = grey and picture.mode in GREY_MODES
    return (sizes.pop() if len(sizes) == 1 else None), (1 if grey else 3)


def decode(pictures: Pictures, out: Pixels, what: str) -> None:
    """Decodes pictures into an array.

    Arguments:
        pictures: N encoded pictures.
        out: Where they go, fitted to its size and channels: uint8 of shape (N, C, H, W), which may be memory-mapped.
        what: What they are, for the bar and for messages.

    Raises:
        DataError: If a picture cannot be read; it is named.
    """
    channels, *size = out.shape[1:]

    def decode_chunk(start: int) -> None:
        for index in range(start, min(start + CHUNK, len(pictures))):
            name = f"{what}, picture {index}"
            picture = open_picture(pictures[index], name)
            try:
                out[index] = fit(picture, (size[0], size[1]), channels)
            except (OSError, SyntaxError, ValueError) as error:
                raise DataError(f"{name}: damaged ({error})") from None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        starts = range(0, len(pictures), CHUNK)
        for _ in track(pool.map(decode_chunk, starts), f"decoding {what}", len(starts)):
            pass
