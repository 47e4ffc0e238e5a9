"""Contact sheets: images in rows, each with a caption and perhaps its name below it."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, features
from torch import Tensor

from vaekit.core.safe_text import printable
from vaekit.plots.channels import Channels
from vaekit.plots.frames import captioned, enlarge, mosaic
from vaekit.plots.grids import columns_for
from vaekit.plots.look import DEFAULT, Look
from vaekit.plots.style import Theme, font, wrap, written

TILE = 132
"""The least size of an image in pixels, which leaves space for a number below it."""
TITLE_SIZE, CAPTION_SIZE, NAME_SIZE, PAD = 16, 14, 12, 10
"""The text sizes of the title, of the captions and of the names of small images, and the margin, in pixels."""
NAME_LINES, MIN_NAME = 2, 3
"""The largest number of lines of a name, and the least number of characters that it is cut to."""
SEPARATORS = " _-./"
"""The characters after which a name is broken rather than within a word."""
AS_IT_IS = ["-calt"] if features.check("raqm") else None
"""The feature of a typeface that is switched off, where text is laid out by features: it shows ``64x64`` as ``64×64``."""

MAX_CAPTION = 30
"""The number of characters to which a caption is cut."""
MAX_NAME = 80
"""The number of characters to which a name is cut before it is fitted to the width of its image."""


def contact_sheet(
    images: Tensor,
    captions: Sequence[str],
    title: str,
    columns: int = 8,
    *,
    names: Sequence[str] = (),
    channels: Channels | None = None,
    look: Look = DEFAULT,
) -> Image.Image:
    """Arranges images in rows with a caption below each and a title above all.

    Arguments:
        images: N images, with shape (N, C, H, W).
        captions: The text below each image, a few characters.
        title: The text above.
        columns: The maximum number of images side by side.
        names: The name of each image, in smaller letters below its caption, cut in the middle to two lines; or none.
        channels: The channels to draw, as in :func:`vaekit.plots.frames.enlarge`.
        look: How they are drawn.
    """
    captions = [written(caption, MAX_CAPTION) for caption in captions]
    longest = max(font(CAPTION_SIZE).getlength(caption) for caption in captions)
    enlarged = enlarge(images, max(TILE, math.ceil(longest) + PAD), channels, look)
    tiles = [captioned(tile, caption, look.theme) for tile, caption in zip(enlarged, captions, strict=True)]
    tiles = _with_names(tiles, names, look.theme) if names else tiles
    body = mosaic(tiles, min(columns, columns_for(tiles[0].width), len(tiles)), theme=look.theme)
    width = max(body.width, 4 * TILE) + 2 * PAD  # the sheet of a single image still has space for its title
    lines = wrap(title, TITLE_SIZE, width - 2 * PAD)
    line_height = math.ceil(1.3 * TITLE_SIZE)
    top = len(lines) * line_height + 2 * PAD
    sheet = Image.new(body.mode, (width, top + body.height + (PAD if names else 0)), look.theme.paper)
    sheet.paste(body, (PAD, top))
    canvas = ImageDraw.Draw(sheet)
    for number, text in enumerate(lines):
        canvas.text((PAD, PAD + number * line_height), text, look.theme.ink, font(TITLE_SIZE))
    return sheet


def name_lines(name: str, width: float) -> list[str]:
    """Returns a name as at most two lines of a width in pixels; a longer one is cut in the middle."""
    shown, size = written(name, MAX_NAME), MAX_NAME
    lines = _broken(shown, width)
    while len(lines) > NAME_LINES and size > MIN_NAME:
        size = min(size, len(shown)) - 1
        lines = _broken(printable(shown, size), width)
    return lines


def _broken(name: str, width: float) -> list[str]:
    """A name in lines of a width in pixels, broken after a separator if there is one in the second half of a line."""
    lines = []
    while _length(name) > width and len(name) > 1:
        num = max((num for num in range(1, len(name)) if _length(name[:num]) <= width), default=1)
        at = max(name.rfind(separator, num // 2, num) for separator in SEPARATORS) + 1
        lines.append(name[: at or num])
        name = name[at or num :]
    return [*lines, name]


def _length(text: str) -> float:
    return font(NAME_SIZE).getlength(text, features=AS_IT_IS)


def _with_names(tiles: Sequence[Image.Image], names: Sequence[str], theme: Theme) -> list[Image.Image]:
    """Images of one size with names below them, all with space for as many lines as the longest name has."""
    texts = [name_lines(name, tiles[0].width) for name in names]
    line_height = math.ceil(1.25 * NAME_SIZE)
    height = tiles[0].height + line_height * max(map(len, texts))
    sheets = [Image.new(tile.mode, (tile.width, height), theme.paper) for tile in tiles]
    for sheet, tile, lines in zip(sheets, tiles, texts, strict=True):
        sheet.paste(tile, (0, 0))
        for number, line in enumerate(lines):
            place = (tile.width / 2, tile.height + number * line_height)
            ImageDraw.Draw(sheet).text(place, line, theme.faint, font(NAME_SIZE), anchor="ma", features=AS_IT_IS)
    return sheets
