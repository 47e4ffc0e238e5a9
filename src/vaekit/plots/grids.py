"""Images of images: grids, reconstruction pairs, traversals and manifolds, as Pillow images.

Images have shape (N, C, H, W) and are on the unit interval or uint8. Small ones are enlarged by a whole factor without
interpolation, so that every pixel of the model is visible. Text is written around the images, never on them.

A grid consists of lines of tiles (:mod:`vaekit.plots.channels`). A row of gray or color images is one line. A row of images
that are drawn channel by channel is a line for each channel, with the channel's number at the left.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from vaekit.plots.channels import Channels, as_uint8, tile_names, tiles
from vaekit.plots.grid_text import LineLabels, with_text
from vaekit.plots.style import INK, font, written

TARGET_WIDTH = 900
"""The approximate width of a grid of small images, in pixels."""
MAX_WIDTH = 2000
"""The maximum width of a grid of large images, in pixels, where the number of columns is free."""
MAX_COLUMNS, MAX_ROWS = 10, 4
"""The default number of images side by side, and of rows of pairs."""
MAX_HEIGHT, MIN_TILE = 2000, 32
"""The height to which a grid of channels is enlarged, in pixels, and that to which its tiles are in any case."""
MAX_LABEL = 40
"""The number of characters to which the name of a row is cut."""
PAPER = 255
"""The gray level between images."""


def grid(
    images: Tensor,
    columns: int | None = None,
    *,
    title: str = "",
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    channels: Channels | None = None,
) -> Image.Image:
    """Arranges images in rows.

    Arguments:
        images: N images, with shape (N, C, H, W).
        columns: The number of images in a row; by default that of a square.
        title: The text above the grid.
        row_labels: The text at the left of each row, which may have several lines.
        column_labels: The text below each column; if they do not fit, every second, third, ... is written.
        channels: The channels to draw; by default all. Images of 2, or of more than 3, channels are columns of gray tiles.

    Returns:
        An image in which image ``i`` is in row ``i // columns`` and column ``i % columns``, with the text around the grid.

    Raises:
        ConfigError: If the images do not have the channels.
    """
    rows = _in_rows(tiles(images, channels), columns or math.ceil(math.sqrt(len(images))))
    num = rows.shape[2]
    labels = [LineLabels(row_labels, num), LineLabels(tile_names(num) * len(rows), 1)]
    lines = rows.permute(0, 2, 1, 3, 4, 5).flatten(0, 1)
    return _draw(lines, title, labels, column_labels, groups=(num,) if num > 1 else ())


def layout(width: int, columns: int) -> tuple[int, int]:
    """Returns the factor by which a grid of ``columns`` columns enlarges images of a width, and the gap between them."""
    factor = max(1, TARGET_WIDTH // (columns * width))
    return factor, max(2, factor // 2)


def channel_factor(factor: int, height: int, num_lines: int) -> int:
    """Returns the factor by which a grid of channels is enlarged: so that it is no higher than :data:`MAX_HEIGHT`.

    Arguments:
        factor: The factor that its width allows.
        height: The height of a tile.
        num_lines: The number of lines of tiles.
    """
    return min(factor, max(1, math.ceil(MIN_TILE / height), MAX_HEIGHT // (num_lines * height)))


def columns_for(width: int) -> int:
    """Returns the default number of images of a width in a row: ten, and fewer of large ones."""
    return max(2, min(MAX_COLUMNS, MAX_WIDTH // width))


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
    originals: Tensor, reconstructions: Tensor, columns: int | None = None, *, channels: Channels | None = None
) -> Image.Image:
    """Arranges images above their reconstructions.

    Arguments:
        originals: N images, with shape (N, C, H, W).
        reconstructions: Their reconstructions, with the same shape.
        columns: The number of pairs side by side; by default ten, and fewer of large images.
        channels: The channels to draw, as in :func:`grid`.

    Returns:
        An image with a row of originals, the row of their reconstructions, the next row of originals, and so on; channel by
        channel, each channel of the originals is above that of their reconstructions.
    """
    columns = columns or columns_for(originals.shape[-1])
    above, below = (_in_rows(tiles(images, channels), columns) for images in (originals, reconstructions))
    num = above.shape[2]
    lines = torch.stack([above, below], 3).permute(0, 2, 3, 1, 4, 5, 6).flatten(0, 2)
    labels = [LineLabels(tile_names(num) * len(above), 2)]
    return _draw(lines, "", labels, (), groups=(2, 2 * num) if num > 1 else ())


def side_by_side(
    originals: Tensor, reconstructions: Tensor, names: Sequence[str], *, channels: Channels | None = None
) -> Image.Image:
    """Arranges images at the left of their reconstructions, one pair in a row.

    Arguments:
        originals: N images, with shape (N, C, H, W).
        reconstructions: Their reconstructions, with the same shape.
        names: The names of the originals.
        channels: The channels to draw, as in :func:`grid`.
    """
    both = torch.stack([as_uint8(originals), as_uint8(reconstructions)], 1).flatten(0, 1)
    row_labels = [written(name, MAX_LABEL) for name in names] if len(names) > 1 else ()
    return grid(both, 2, row_labels=row_labels, column_labels=("original", "reconstruction"), channels=channels)


def in_a_row(images: Sequence[Image.Image], titles: Sequence[str]) -> Image.Image:
    """Arranges images side by side on white, enlarged to the height of the tallest, each below its title."""
    height = max(image.height for image in images)
    images = [image.resize((round(image.width * height / image.height), height)) for image in images]
    gap, size = height // 40, max(14, height // 40)
    top = 2 * size
    sheet = Image.new("RGB", (sum(image.width + gap for image in images) - gap, top + height), "white")
    canvas, left = ImageDraw.Draw(sheet), 0
    for image, title in zip(images, titles, strict=True):
        canvas.text((left, size // 3), written(title), INK, font(size))
        sheet.paste(image, (left, top))
        left += image.width + gap
    return sheet


def manifold(
    images: Tensor, horizontal: Tensor, vertical: Tensor, title: str, *, channels: Channels | None = None
) -> Image.Image:
    """Arranges the images of a latent plane: the first coordinate grows to the right, the second upward.

    Arguments:
        images: Images of shape (R, S, C, H, W); ``images[r, s]`` belongs to ``vertical[r]`` and ``horizontal[s]``.
        horizontal: The first coordinate of each column, with shape (S).
        vertical: The second coordinate of each row, with shape (R).
        title: The text above, which names the coordinates.
        channels: The channels to draw, as in :func:`plane`.
    """
    row_labels = [f"{value:.2f}" for value in vertical.flip(0).tolist()] if len(vertical) > 1 else ()
    column_labels = [f"{value:.2f}" for value in horizontal.tolist()]
    return plane(images, title, row_labels, column_labels, channels=channels)


def plane(
    images: Tensor,
    title: str = "",
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    *,
    channels: Channels | None = None,
) -> Image.Image:
    """Arranges images of shape (R, S, C, H, W) on a plane, the last row above; other arguments are those of :func:`grid`.

    Channel by channel, there is a whole plane for each channel, so that neighbors stay neighbors.
    """
    rows = tiles(images.flip(0).flatten(0, 1), channels).unflatten(0, images.shape[:2])
    num = rows.shape[2]
    lines = rows.permute(2, 0, 1, 3, 4, 5).flatten(0, 1)
    labels = [LineLabels(tile_names(num), len(rows)), LineLabels([*row_labels] * num, 1)]
    return _draw(lines, title, labels, column_labels, groups=(len(rows),) if num > 1 else ())


def traversals(images: Tensor, row_labels: Sequence[str], title: str, *, channels: Channels | None = None) -> Image.Image:
    """Arranges traversals, one latent in a row.

    Arguments:
        images: Images of shape (R, S, C, H, W), one latent in a row.
        row_labels: The text at the left of each row.
        title: The text above.
        channels: The channels to draw, as in :func:`grid`.
    """
    return grid(images.flatten(0, 1), images.shape[1], title=title, row_labels=row_labels, channels=channels)


def to_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """Returns pixels of shape (H, W, C) as an image."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _in_rows(images: Tensor, columns: int) -> Tensor:
    """Tiles of shape (N, T, c, H, W) in rows, with shape (R, S, T, c, H, W); the last row is filled with blank ones."""
    columns = min(columns, len(images))
    blank = images.new_full((-len(images) % columns, *images.shape[1:]), PAPER)
    rows: Tensor = torch.cat([images, blank]).unflatten(0, (-1, columns))
    return rows


def _draw(
    lines: Tensor, title: str, labels: Sequence[LineLabels], column_labels: Sequence[str], groups: Sequence[int]
) -> Image.Image:
    """Draws lines of tiles, with text around them.

    Arguments:
        lines: L lines of S tiles, with shape (L, S, c, H, W).
        title: The text above.
        labels: The texts at the left of the lines.
        column_labels: The text below each column.
        groups: The numbers of lines that belong together; between two groups of each number the space is wider. Empty for
            a grid of gray or color images, whose lines are all alike.
    """
    num_lines, columns, channels, height, width = lines.shape
    factor, gap = layout(width, columns)
    if groups:
        factor = channel_factor(factor, height, num_lines)
        gap = max(2, factor // 2)
    tile_height, tile_width = height * factor + gap, width * factor + gap
    wider = [sum(2 * gap for size in groups if line % size == 0) for line in range(1, num_lines)]
    tops = [gap + line * tile_height + sum(wider[:line]) for line in range(num_lines)]
    sheet = np.full((tops[-1] + tile_height, columns * tile_width + gap, channels), PAPER, np.uint8)
    for top, line in zip(tops, lines, strict=True):
        strip = np.full((height * factor, columns, tile_width, channels), PAPER, np.uint8)
        strip[:, :, : width * factor] = line.permute(2, 0, 3, 1).numpy().repeat(factor, 0).repeat(factor, 2)
        sheet[top : top + height * factor, gap:] = strip.reshape(height * factor, -1, channels)
    image = to_image(sheet)
    if not (title or column_labels or any(column.texts for column in labels)):
        return image
    return with_text(image, title, labels, column_labels, [top - gap for top in tops], (tile_height, tile_width))
