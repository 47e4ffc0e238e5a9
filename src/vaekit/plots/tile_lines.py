"""Lines of tiles: where the tiles of a grid are, and how they are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor

from vaekit.plots.grid_text import Around, with_text
from vaekit.plots.look import DEFAULT, Look, odd
from vaekit.plots.style import Theme

GAPS = 24
"""The width of an image divided by that of the gap beside it."""
MIN_TILE = 32
"""The least height of a tile of a grid of channels, in pixels."""


@dataclass(frozen=True)
class Geometry:
    """Where the lines of a grid are, in pixels.

    Arguments:
        factor: The factor by which images are enlarged.
        gap: The width of the gap around each image.
        tops: The top of each line of tiles.
        height: The height of the grid.
        width: Its width.
    """

    factor: int
    gap: int
    tops: Sequence[int]
    height: int
    width: int


def breaks(num_lines: int, *sizes: int) -> list[int]:
    """Returns the lines above which the space is wider: between groups of each size, twice where both end."""
    return [line for size in sizes for line in range(size, num_lines, size)]


def geometry(
    num_lines: int,
    columns: int,
    tile: tuple[int, int],
    wider: Sequence[int] = (),
    look: Look = DEFAULT,
    least: int = 1,
) -> Geometry:
    """Returns where the lines of a grid are.

    Arguments:
        num_lines: The number of lines of tiles.
        columns: The number of tiles in a line.
        tile: The height and the width of a tile.
        wider: The lines above which the space is wider, see :func:`breaks`.
        look: The look, which has the size.
        least: The least height of a tile, in pixels.
    """
    height, width = tile
    factor = max(look.factor(num_lines * height, columns * width), odd(least / height))
    gap = max(2, factor * width // GAPS)
    above = [2 * gap * sum(line >= place for place in wider) for line in range(num_lines)]
    tops = [gap + line * (height * factor + gap) + above[line] for line in range(num_lines)]
    return Geometry(factor, gap, tops, tops[-1] + height * factor + gap, columns * (width * factor + gap) + gap)


def paper(theme: Theme, channels: int) -> Tensor:
    """Returns the color of a theme's paper as uint8, with shape (C) for gray (1) or color (3)."""
    color = ImageColor.getcolor(theme.paper, "L" if channels == 1 else "RGB")
    return torch.tensor([color] if isinstance(color, int) else color, dtype=torch.uint8)


def in_rows(images: Tensor, columns: int, theme: Theme) -> Tensor:
    """Tiles of shape (N, T, c, H, W) in rows, with shape (R, S, T, c, H, W); the last row is filled with blank ones."""
    columns = min(columns, len(images))
    blank = paper(theme, images.shape[2]).reshape(-1, 1, 1).expand(-len(images) % columns, *images.shape[1:])
    rows: Tensor = torch.cat([images, blank]).unflatten(0, (-1, columns))
    return rows


def draw(
    lines: Tensor, around: Around, wider: Sequence[int], look: Look, marks: Sequence[float] = (), *, least: int = 1
) -> Image.Image:
    """Draws lines of tiles, with text around them.

    Arguments:
        lines: L lines of S tiles, with shape (L, S, c, H, W).
        around: The text.
        wider: The lines above which the space is wider; with marks, all rows but the first.
        look: How they are drawn.
        marks: The place of a mark below each row.
        least: The least height of a tile, in pixels.
    """
    num_lines, columns, _, height, width = lines.shape
    where = geometry(num_lines, columns, (height, width), wider, look, least)
    factor, gap = where.factor, where.gap
    below = 2 * gap if marks else 0  # the space for marks that is between rows, where it is wider
    sheet = Image.new("L" if lines.shape[2] == 1 else "RGB", (where.width, where.height + below), look.theme.paper)
    for top, line in zip(where.tops, lines.permute(0, 1, 3, 4, 2).numpy(), strict=True):
        for column, tile in enumerate(line):
            sheet.paste(look.enlarged(tile, factor), (gap + column * (width * factor + gap), top))
    step = num_lines // max(len(marks), 1)
    for top, mark in zip(where.tops[step - 1 :: step], marks, strict=False):
        center = gap / 2 + (mark + 0.5) * (width * factor + gap)
        _mark(sheet, (center, top + height * factor), gap, look.theme)
    return framed(sheet, look, around, [top - gap for top in where.tops], (height * factor + gap, width * factor + gap), gap)


def framed(
    sheet: Image.Image, look: Look, around: Around, tops: Sequence[int], tile: tuple[int, int], inset: int = 0
) -> Image.Image:
    """Returns a grid with the text around it, or as it is if there is none; arguments as of :func:`with_text`."""
    has_text = look.caption or around.title or around.heads or around.ticks or any(part.texts for part in around.labels)
    return with_text(sheet, look, around, tops, tile, inset) if has_text else sheet


def _mark(sheet: Image.Image, place: tuple[float, int], gap: int, theme: Theme) -> None:
    """Draws a triangle into the space below a row, with its tip at the row."""
    center, bottom = place
    top, foot = bottom + gap / 3, bottom + 2.6 * gap
    corners = [(center, top), (center - 1.6 * gap, foot), (center + 1.6 * gap, foot)]
    ImageDraw.Draw(sheet).polygon(corners, fill=theme.ink)
