"""Contact sheets: images in rows, each with a caption below it."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from vaekit.plots.channels import Channels
from vaekit.plots.frames import captioned, enlarge, mosaic
from vaekit.plots.grids import columns_for
from vaekit.plots.look import DEFAULT, Look
from vaekit.plots.style import font, wrap, written

TILE = 132
"""The least size of an image in pixels, which leaves space for a number below it."""
TITLE_SIZE, CAPTION_SIZE, PAD = 16, 14, 10
"""The text sizes of the title and of the captions of small images, and the margin, in pixels."""

MAX_CAPTION = 30
"""The number of characters to which a caption is cut."""


def contact_sheet(
    images: Tensor,
    captions: Sequence[str],
    title: str,
    columns: int = 8,
    *,
    channels: Channels | None = None,
    look: Look = DEFAULT,
) -> Image.Image:
    """Arranges images in rows with a caption below each and a title above all.

    Arguments:
        images: N images, with shape (N, C, H, W).
        captions: The text below each image, a few characters.
        title: The text above.
        columns: The maximum number of images side by side.
        channels: The channels to draw, as in :func:`vaekit.plots.frames.enlarge`.
        look: How they are drawn.
    """
    captions = [written(caption, MAX_CAPTION) for caption in captions]
    longest = max(font(CAPTION_SIZE).getlength(caption) for caption in captions)
    enlarged = enlarge(images, max(TILE, math.ceil(longest) + PAD), channels, look)
    tiles = [captioned(tile, caption, look.theme) for tile, caption in zip(enlarged, captions, strict=True)]
    body = mosaic(tiles, min(columns, columns_for(tiles[0].width), len(tiles)), theme=look.theme)
    width = max(body.width, 4 * TILE) + 2 * PAD  # the sheet of a single image still has space for its title
    lines = wrap(title, TITLE_SIZE, width - 2 * PAD)
    line_height = math.ceil(1.3 * TITLE_SIZE)
    top = len(lines) * line_height + 2 * PAD
    sheet = Image.new(body.mode, (width, top + body.height), look.theme.paper)
    sheet.paste(body, (PAD, top))
    canvas = ImageDraw.Draw(sheet)
    for number, text in enumerate(lines):
        canvas.text((PAD, PAD + number * line_height), text, look.theme.ink, font(TITLE_SIZE))
    return sheet
