"""The text around a grid of images: heads above columns, labels at the left, ticks below, and a caption under all of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw

from vaekit.plots.look import DOT, Look
from vaekit.plots.style import font, wrap, written

MIN_TEXT = 14
"""The least height of letters, in pixels."""
MAX_CAPTION = 60
"""The number of characters to which each part of a caption is cut."""

Tick = tuple[str, float]
"""A label and its place on an axis, in tiles: 0 is the middle of the first."""


@dataclass(frozen=True)
class LineLabels:
    """A column of labels at the left of a grid.

    Arguments:
        texts: The labels from the top down, each of one or several lines of text; none for no column.
        num_lines: The number of lines of tiles that a label belongs to.
    """

    texts: Sequence[str]
    num_lines: int

    def placed(self, tops: Sequence[int], tile_height: int, line: int) -> list[tuple[str, float]]:
        """Returns the labels that have space, each with the middle of its lines of tiles, in pixels.

        Arguments:
            tops: The top of each line of tiles.
            tile_height: The height of a tile with the gap below it.
            line: The height of a line of text.
        """
        room = tops[self.num_lines - 1] - tops[0] + tile_height
        every = max(1, math.ceil(max(text.count("\n") + 1 for text in self.texts) * line / room))
        firsts, lasts = tops[:: self.num_lines], tops[self.num_lines - 1 :: self.num_lines]
        middles = [(first + last + tile_height) / 2 for first, last in zip(firsts, lasts, strict=True)]
        return list(zip(self.texts, middles, strict=False))[::every]


@dataclass(frozen=True)
class AxisLabels(LineLabels):
    """The ticks of a vertical axis, written again for each ``num_lines`` lines of tiles.

    Arguments:
        places: The place of each tick, in tiles from the middle of the first line.
    """

    places: Sequence[float] = ()

    def placed(self, tops: Sequence[int], tile_height: int, line: int) -> list[tuple[str, float]]:
        """Returns the ticks, each with its place in pixels; arguments as of :meth:`LineLabels.placed`."""
        return [
            (text, top + (place + 0.5) * tile_height)
            for top in tops[:: self.num_lines]
            for text, place in zip(self.texts, self.places, strict=True)
        ]


@dataclass(frozen=True)
class Around:
    """The text around a grid.

    Arguments:
        title: A description, below the caption.
        labels: The columns of labels at the left.
        heads: The text above each column; if they do not fit, every second, third, ... is written.
        ticks: The labels below the columns.
    """

    title: str = ""
    labels: Sequence[LineLabels] = field(default_factory=tuple)
    heads: Sequence[str] = ()
    ticks: Sequence[Tick] = ()


def text_size(width: int) -> int:
    """Returns the height of letters around an image of a width, which is also the margin, in pixels."""
    return max(MIN_TEXT, width // 60)


def top_of(width: int, has_heads: bool) -> int:
    """Returns the top of an image of a width among the text around it, in pixels."""
    size = text_size(width)
    return size + (round(1.6 * size) if has_heads else 0)


def with_text(
    image: Image.Image, look: Look, around: Around, tops: Sequence[int], tile: tuple[int, int], inset: int = 0
) -> Image.Image:
    """Returns a grid with the text around it, at the upper right of a sheet.

    Arguments:
        image: The grid.
        look: The theme and the caption.
        around: The text.
        tops: The vertical position of each line of tiles, in pixels, with half a gap above it.
        tile: The height and width of a tile with the gap beside it.
        inset: The width of the gap at the left of the first tile.
    """
    size, theme = text_size(image.width), look.theme
    line = round(1.35 * size)
    columns = [column for column in around.labels if column.texts]
    widths = [max(_width(_written(text), size) for text in column.texts) + size for column in columns]
    left, top = size + sum(widths), top_of(image.width, bool(around.heads))
    bottom = top + image.height + (round(1.6 * size) if around.ticks else 0)
    title = wrap(around.title, size, image.width - inset)
    height = bottom + ((bool(look.caption) + len(title)) * line + round(0.6 * size) if look.caption or title else 0) + size
    sheet = Image.new(image.mode, (left + image.width + size, height), theme.paper)
    sheet.paste(image, (left, top))
    canvas = ImageDraw.Draw(sheet)
    for number, column in enumerate(columns):
        right = size + sum(widths[: number + 1]) - round(0.6 * size)
        for text, middle in column.placed(tops, tile[0], line):
            canvas.multiline_text(
                (right, top + middle), _written(text), theme.ink, font(size), anchor="rm", align="right", spacing=size // 4
            )
    for text, place in _thinned(around.heads, size, tile[1]):
        center = (left + (place + 0.5) * tile[1], top - round(0.5 * size))
        canvas.text(center, text, theme.ink, font(size, bold=True), anchor="ms")
    for text, place in around.ticks:
        canvas.text(
            (left + (place + 0.5) * tile[1], top + image.height + size // 3), text, theme.ink, font(size), anchor="ma"
        )
    _write_caption(canvas, look, title, (left + inset, bottom + round(0.6 * size)), size)
    return sheet


def _write_caption(canvas: ImageDraw.ImageDraw, look: Look, title: Sequence[str], place: tuple[int, int], size: int) -> None:
    """Writes the caption, its first part in bold, and the lines of the title below it."""
    left, top = place
    line, x = round(1.35 * size), float(left)
    for number, part in enumerate(look.caption.split(DOT) if look.caption else ()):
        text, letters = written(part, MAX_CAPTION), font(size, bold=number == 0)
        shown = text if number == 0 else f"{DOT}{text}"
        canvas.text((x, top), shown, look.theme.ink, letters, anchor="la")
        x += letters.getlength(shown)
    for number, text in enumerate(title, bool(look.caption)):
        canvas.text((left, top + number * line), text, look.theme.faint, font(size), anchor="la")


def _thinned(texts: Sequence[str], size: int, width: int) -> list[Tick]:
    """The texts of columns of a width with their places; every second, third, ... if they do not fit."""
    shown = [written(text) for text in texts]
    longest = max((font(size, bold=True).getlength(text) for text in shown), default=0)
    every = max(1, math.ceil((longest + size // 2) / width))
    return [(text, float(place)) for place, text in enumerate(shown)][::every]


def _width(text: str, size: int) -> int:
    """The width of the longest line of a text, in pixels."""
    return max(round(font(size).getlength(part)) for part in text.split("\n"))


def _written(label: str) -> str:
    """A label as the typeface can write it, with its lines."""
    return "\n".join(map(written, label.split("\n")))
