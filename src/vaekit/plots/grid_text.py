"""The text around a grid of images: a title above, labels at the left of lines of tiles, and labels below columns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from vaekit.plots.style import INK, font, wrap, written


@dataclass(frozen=True)
class LineLabels:
    """A column of labels at the left of a grid.

    Arguments:
        texts: The labels from the top down, each of one or several lines of text; none for no column.
        num_lines: The number of lines of tiles that a label belongs to.
    """

    texts: Sequence[str]
    num_lines: int


def with_text(
    image: Image.Image,
    title: str,
    labels: Sequence[LineLabels],
    column_labels: Sequence[str],
    tops: Sequence[int],
    tile: tuple[int, int],
) -> Image.Image:
    """Returns a grid with its title and labels around it.

    Arguments:
        image: The grid.
        title: The text above.
        labels: The columns of labels at the left; of labels that are too high for their lines, every second, third, ... is
            written.
        column_labels: The text below each column; if they do not fit, every second, third, ... is written.
        tops: The vertical position of each line of tiles, in pixels, with the gap above it.
        tile: The height and width of a tile with the gap beside it.
    """
    columns = [LineLabels([_written(text) for text in column.texts], column.num_lines) for column in labels if column.texts]
    column_labels = [written(label) for label in column_labels]
    size = max(14, image.width // 75)
    pad, line = size // 2, round(1.3 * size)
    widths = [max(_width(text, size) for text in column.texts) + 2 * pad for column in columns]
    left = sum(widths)
    title_lines = wrap(title, size, left + image.width - 2 * pad)
    top = len(title_lines) * line + 2 * pad if title_lines else 0
    bottom = line + pad if column_labels else 0
    sheet = Image.new(image.mode, (left + image.width, top + image.height + bottom), "white")
    sheet.paste(image, (left, top))
    canvas = ImageDraw.Draw(sheet)
    for number, text in enumerate(title_lines):
        canvas.text((pad, pad + number * line), text, INK, font(size))
    for number, column in enumerate(columns):
        right = sum(widths[: number + 1]) - pad
        for text, middle in _placed(column, tops, tile[0], line):
            canvas.multiline_text((right, top + middle), text, INK, font(size), anchor="rm", align="right")
    longest = max((font(size).getlength(label) for label in column_labels), default=0)
    every = max(1, math.ceil((longest + pad) / tile[1]))
    for number in range(0, len(column_labels), every):
        middle = left + (number + 0.5) * tile[1]
        canvas.text((middle, top + image.height), column_labels[number], INK, font(size), anchor="ma")
    return sheet


def _placed(column: LineLabels, tops: Sequence[int], tile_height: int, line: int) -> list[tuple[str, float]]:
    """The labels of a column that have space, each with the middle of its lines of tiles."""
    room = tops[column.num_lines - 1] - tops[0] + tile_height
    every = max(1, math.ceil(max(text.count("\n") + 1 for text in column.texts) * line / room))
    firsts, lasts = tops[:: column.num_lines], tops[column.num_lines - 1 :: column.num_lines]
    middles = [(first + last + tile_height) / 2 for first, last in zip(firsts, lasts, strict=True)]
    return list(zip(column.texts, middles, strict=False))[::every]


def _width(text: str, size: int) -> int:
    """The width of the longest line of a text, in pixels."""
    return max(round(font(size).getlength(part)) for part in text.split("\n"))


def _written(label: str) -> str:
    """A label as the typeface can write it, with its lines."""
    return "\n".join(map(written, label.split("\n")))
