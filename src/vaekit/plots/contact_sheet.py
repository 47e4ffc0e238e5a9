"""Contact sheets: images in rows, each with words of its own below it."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from vaekit.plots.animation import captioned, enlarge, mosaic
from vaekit.plots.grids import columns_for
from vaekit.plots.style import INK, font, wrap

TILE = 132
"""How many pixels an image fills at least, so that a number fits below it."""
SIZE, SMALL, PAD = 16, 14, 10
"""The size of the words above and of those below small images, and the room around them."""


def contact_sheet(images: Tensor, captions: Sequence[str], title: str, columns: int = 8) -> Image.Image:
    """Lays images out in rows with a caption below each and a title above all.

    Arguments:
        images: N images, with shape (N, C, H, W).
        captions: What stands below each, a few characters.
        title: What is shown.
        columns: How many images stand side by side at most.
    """
    longest = max(font(SMALL).getlength(words) for words in captions)
    enlarged = enlarge(images, max(TILE, math.ceil(longest) + PAD))
    tiles = [captioned(tile, words) for tile, words in zip(enlarged, captions, strict=True)]
    body = mosaic(tiles, min(columns, columns_for(tiles[0].width), len(tiles)))
    width = max(body.width, 4 * TILE) + 2 * PAD  # a single image still has room for a title above it
    lines = wrap(title, SIZE, width - 2 * PAD)
    line = math.ceil(1.3 * SIZE)
    top = len(lines) * line + 2 * PAD
    sheet = Image.new(body.mode, (width, top + body.height), "white")
    sheet.paste(body, (PAD, top))
    pen = ImageDraw.Draw(sheet)
    for number, words in enumerate(lines):
        pen.text((PAD, PAD + number * line), words, INK, font(SIZE))
    return sheet
