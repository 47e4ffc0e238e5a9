"""Images of images: grids, reconstruction pairs and traversals, as Pillow images.

Images have shape (N, C, H, W) and are on the unit interval or uint8. How they are drawn, apart from what they show, is a
:class:`~vaekit.plots.look.Look`. Text is written around the images, never on them.

A grid consists of lines of tiles (:mod:`vaekit.plots.channels`). A row of gray or color images is one line. A row of images
that are drawn channel by channel is a line for each channel, with the channel's number at the left.
"""

import math
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from vaekit.plots.channels import Channels, as_uint8, tile_names, tiles
from vaekit.plots.grid_text import Around, LineLabels
from vaekit.plots.look import DEFAULT, Look
from vaekit.plots.style import Theme, font, written
from vaekit.plots.tile_lines import MIN_TILE, breaks, draw, in_rows

MAX_WIDTH = 2000
"""The maximum width of a grid of large images, in pixels, where the number of columns is free."""
MAX_COLUMNS, MAX_ROWS = 10, 4
"""The default number of images side by side, and of rows of pairs."""
MAX_HEIGHT = 2000
"""The height of a grid of channels by which its number of rows is chosen, in pixels."""
MAX_LABEL, MAX_HEAD = 40, 16
"""The numbers of characters to which the name of a row, and of a class above a column, are cut."""
MARK = "▲"
"""The mark below a row, as a caption names it."""
INPUT, MODEL = "input", "model"
"""The names of the rows of images and of their reconstructions."""


def grid(
    images: Tensor,
    columns: int | None = None,
    *,
    title: str = "",
    row_labels: Sequence[str] = (),
    heads: Sequence[str] = (),
    marks: Sequence[float] = (),
    channels: Channels | None = None,
    look: Look = DEFAULT,
) -> Image.Image:
    """Arranges images in rows.

    Arguments:
        images: N images, with shape (N, C, H, W).
        columns: The number of images in a row; by default that of a square.
        title: The text below the grid.
        row_labels: The text at the left of each row, which may have several lines.
        heads: The text above each column; if they do not fit, every second, third, ... is written.
        marks: The place of a mark below each row, in images from the middle of the first.
        channels: The channels to draw; by default all. Images of 2, or of more than 3, channels are columns of gray tiles.
        look: How they are drawn.

    Returns:
        An image in which image ``i`` is in row ``i // columns`` and column ``i % columns``, with the text around the grid.

    Raises:
        ConfigError: If the images do not have the channels.
    """
    rows = in_rows(tiles(images, channels), columns or math.ceil(math.sqrt(len(images))), look.theme)
    num = rows.shape[2]
    labels = (LineLabels(row_labels, num), LineLabels(tile_names(num) * len(rows), 1))
    lines = rows.permute(0, 2, 1, 3, 4, 5).flatten(0, 1)
    wider = breaks(len(lines), num) if num > 1 or marks else []
    return draw(lines, Around(title, labels, heads), wider, look, marks, least=MIN_TILE if num > 1 else 1)


def columns_for(width: int) -> int:
    """Returns the default number of images of a width in a row: ten, and fewer of large ones."""
    return max(2, min(MAX_COLUMNS, MAX_WIDTH // width))


def columns_of_classes(num: int, classes: Sequence[str], width: int, columns: int | None) -> tuple[int | None, list[str]]:
    """Returns a number of columns in which each has images of one class, if classes come in turn, and the heads of columns.

    Arguments:
        num: The number of images.
        classes: The classes, in turn; none if there are no classes.
        width: The width of an image.
        columns: The number of columns that is wanted; None for any.

    Returns:
        The number of columns, ``columns`` if there are no classes or too many; and the heads, if columns are classes.
    """
    if not classes:
        return columns, []
    most = columns_for(width) // len(classes)
    if columns is None and most:
        columns = len(classes) * max(1, min(most, math.ceil(math.sqrt(num) / len(classes))))
    if columns is None or columns % len(classes):
        return columns, []
    heads = [written(name, MAX_HEAD) for name in classes] * (columns // len(classes))
    return columns, heads[:num]


def number_for(height: int, width: int, num_tiles: int = 1) -> int:
    """Returns the default number of images of a size: four rows of pairs, and two rows of large ones.

    Arguments:
        height: The height of an image.
        width: Its width.
        num_tiles: The number of its tiles. There are fewer rows of images with several: as many as fit, and at least one.
    """
    if num_tiles > 1:
        return columns_for(width) * max(1, min(MAX_ROWS, MAX_HEIGHT // (2 * num_tiles * max(height, MIN_TILE))))
    return columns_for(width) * (MAX_ROWS if 2 * MAX_ROWS * height <= MAX_WIDTH else 2)


def reconstruction_pairs(
    originals: Tensor,
    reconstructions: Tensor,
    columns: int | None = None,
    *,
    channels: Channels | None = None,
    look: Look = DEFAULT,
) -> Image.Image:
    """Arranges images above their reconstructions, with ``input`` and ``model`` at the left.

    Arguments:
        originals: N images, with shape (N, C, H, W).
        reconstructions: Their reconstructions, with the same shape.
        columns: The number of pairs side by side; by default ten, and fewer of large images.
        channels: The channels to draw, as in :func:`grid`.
        look: How they are drawn.

    Returns:
        An image with a row of originals, the row of their reconstructions, a gap, the next row of originals, and so on;
        channel by channel, each channel of the originals is above that of their reconstructions.
    """
    columns = columns or columns_for(originals.shape[-1])
    above, below = (in_rows(tiles(images, channels), columns, look.theme) for images in (originals, reconstructions))
    num = above.shape[2]
    lines = torch.stack([above, below], 3).permute(0, 2, 3, 1, 4, 5, 6).flatten(0, 2)
    names = LineLabels([INPUT, MODEL] * (num * len(above)), 1)
    labels = (LineLabels(tile_names(num) * len(above), 2), names)
    wider = breaks(len(lines), 2, *([2 * num] if num > 1 else []))
    return draw(lines, Around(labels=labels), wider, look, least=MIN_TILE if num > 1 else 1)


def side_by_side(
    originals: Tensor,
    reconstructions: Tensor,
    names: Sequence[str],
    *,
    channels: Channels | None = None,
    look: Look = DEFAULT,
) -> Image.Image:
    """Arranges images at the left of their reconstructions, one pair in a row.

    Arguments:
        originals: N images, with shape (N, C, H, W).
        reconstructions: Their reconstructions, with the same shape.
        names: The names of the originals.
        channels: The channels to draw, as in :func:`grid`.
        look: How they are drawn.
    """
    both = torch.stack([as_uint8(originals), as_uint8(reconstructions)], 1).flatten(0, 1)
    row_labels = [written(name, MAX_LABEL) for name in names] if len(names) > 1 else ()
    return grid(both, 2, row_labels=row_labels, heads=(INPUT, MODEL), channels=channels, look=look)


def in_a_row(images: Sequence[Image.Image], titles: Sequence[str], theme: Theme = DEFAULT.theme) -> Image.Image:
    """Arranges images side by side, enlarged to the height of the tallest, each below its title."""
    height = max(image.height for image in images)
    images = [image.resize((round(image.width * height / image.height), height)) for image in images]
    gap, size = height // 40, max(14, height // 40)
    top = 2 * size
    sheet = Image.new("RGB", (sum(image.width + gap for image in images) - gap, top + height), theme.paper)
    canvas, left = ImageDraw.Draw(sheet), 0
    for image, title in zip(images, titles, strict=True):
        canvas.text((left, size // 3), written(title), theme.ink, font(size))
        sheet.paste(image, (left, top))
        left += image.width + gap
    return sheet


def traversals(
    images: Tensor,
    row_labels: Sequence[str],
    title: str,
    marks: Sequence[float] = (),
    *,
    channels: Channels | None = None,
    look: Look = DEFAULT,
) -> Image.Image:
    """Arranges traversals, one latent in a row.

    Arguments:
        images: Images of shape (R, S, C, H, W), one latent in a row.
        row_labels: The text at the left of each row.
        title: The text below.
        marks: The place of a mark below each row, in images from the middle of the first.
        channels: The channels to draw, as in :func:`grid`.
        look: How they are drawn.
    """
    columns = images.shape[1]
    return grid(images.flatten(0, 1), columns, title=title, row_labels=row_labels, marks=marks, channels=channels, look=look)
