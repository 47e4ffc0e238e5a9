"""PNG files with long text, which Pillow refuses, and with colors of 16 bits, of which Pillow drops 8.

Programs for image generation and annotation store their projects in text chunks. Pillow expands text and color profiles
whenever it opens a file, and takes long ones for an attack; without these chunks nothing is expanded.

Pillow reads the upper byte of each color. What it takes for the upper byte in the other byte order is the lower one, so a
second pass reads that.
"""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from vaekit.data.samples import Samples

SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""The first bytes of a PNG file."""
TEXT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
"""The chunks of text, and of a color profile, which is not used."""
ORIENTATION = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""The beginnings of text that may say how an image is turned."""
LOWER_BYTES = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}
"""Pillow's raw modes that read the lower bytes of colors, by those that read the upper ones."""
MAX_ORIENTATION_BYTES = 2**16
"""The longest such text that is kept."""


def is_png(start: bytes) -> bool:
    """Whether a file begins as a PNG file does."""
    return start.startswith(SIGNATURE)


def without_text(data: bytes) -> bytes:
    """Returns a PNG file without its text and its color profile; a damaged file is returned as far as it is whole.

    Arguments:
        data: The file.
    """
    kept, start, position = list[bytes](), 0, len(SIGNATURE)
    while position + 8 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] in TEXT and not _may_turn(data[position + 8 : end - 4]):
            kept.append(data[start:position])
            start = end
        position = end
    return b"".join((*kept, data[start:])) if kept else data


def _may_turn(text: bytes) -> bool:
    return text.startswith(ORIENTATION) and len(text) <= MAX_ORIENTATION_BYTES


def is_deep_color(image: Image.Image) -> bool:
    """Whether an image that is opened and not loaded is a PNG with colors of 16 bits."""
    tiles: list[Any] = getattr(image, "tile", [])
    return image.format == "PNG" and bool(tiles) and tiles[0][3] in LOWER_BYTES


def read_deep_color(image: Any) -> Samples:
    """Reads a PNG with colors of 16 bits.

    Arguments:
        image: The image, for which :func:`is_deep_color` is true; it is loaded afterwards.

    Raises:
        Exception: Of any kind, if the file is damaged.
    """
    lower: Any = Image.open(BytesIO(image.fp.getvalue()), formats=("PNG",))
    lower.tile = [(*tile[:3], LOWER_BYTES[tile[3]]) for tile in lower.tile]
    image.load()
    lower.load()
    values = np.asarray(image).astype(np.uint16) << 8 | np.asarray(lower)
    return Samples(values, opacity=values.shape[2] == 4, colors=3)
