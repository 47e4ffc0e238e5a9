"""Images of images: grids, reconstruction pairs, traversals and manifolds, as Pillow images.

Images have shape (N, C, H, W) and are on the unit interval or uint8. Small ones are enlarged by a whole factor without
interpolation, so that every pixel of the model is visible. Text is written around the images, never on them.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from vaekit.core.units import to_gray_levels
from vaekit.plots.style import INK, font, wrap, written

TARGET_WIDTH = 900
"""The approximate width of a grid of small images, in pixels."""
MAX_WIDTH = 2000
"""The maximum width of a grid of large images, in pixels, where the number of columns is free."""
MAX_COLUMNS, MAX_ROWS = 10, 4
"""The default number of images side by side, and of rows of pairs."""
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
) -> Image.Image:
    """Arranges images in rows.

    Arguments:
        images: N images, with shape (N, C, H, W).
        columns: The number of images in a row; by default that of a square.
        title: The text above the grid.
        row_labels: The text at the left of each row, which may have several lines.
        column_labels: The text below each column; if they do not fit, every second, third, ... is written.

    Returns:
        An image in which image ``i`` is in row ``i // columns`` and column ``i % columns``, with the text around the grid.
    """
    pixels = as_uint8(images)
    num, channels, height, width = pixels.shape
    columns = min(columns or math.ceil(math.sqrt(num)), num)
    rows = math.ceil(num / columns)
    factor, gap = layout(width, columns)
    tile_height, tile_width = height * factor + gap, width * factor + gap
    sheet = np.full((rows * tile_height + gap, columns * tile_width + gap, channels), PAPER, np.uint8)
    for index, image in enumerate(pixels):
        top, left = gap + index // columns * tile_height, gap + index % columns * tile_width
        tile = image.permute(1, 2, 0).numpy().repeat(factor, 0).repeat(factor, 1)
        sheet[top : top + height * factor, left : left + width * factor] = tile
    if not (title or row_labels or column_labels):
        return to_image(sheet)
    return _with_text(to_image(sheet), title, row_labels, column_labels, tile_height, tile_width)


def layout(width: int, columns: int) -> tuple[int, int]:
    """Returns the factor by which a grid of ``columns`` columns enlarges images of a width, and the gap between them."""
    factor = max(1, TARGET_WIDTH // (columns * width))
    return factor, max(2, factor // 2)


def columns_for(width: int) -> int:
    """Returns the default number of images of a width in a row: ten, and fewer of large ones."""
    return max(2, min(MAX_COLUMNS, MAX_WIDTH // width))


def number_for(height: int, width: int) -> int:
    """Returns the default number of images of a size: four rows of pairs, and two rows of large ones."""
    return columns_for(width) * (MAX_ROWS if 2 * MAX_ROWS * height <= MAX_WIDTH else 2)


def reconstruction_pairs(originals: Tensor, reconstructions: Tensor, columns: int | None = None) -> Image.Image:
    """Arranges images above their reconstructions.

    Arguments:
        originals: N images, with shape (N, C, H, W).
        reconstructions: Their reconstructions, with the same shape.
        columns: The number of pairs side by side; by default ten, and fewer of large images.

    Returns:
        An image with a row of originals, the row of their reconstructions, the next row of originals, and so on.
    """
    above, below = as_uint8(originals), as_uint8(reconstructions)
    columns = min(columns or columns_for(above.shape[-1]), len(above))
    missing = -len(above) % columns
    if missing:
        blank = torch.full((missing, *above.shape[1:]), PAPER, dtype=torch.uint8)
        above, below = torch.cat([above, blank]), torch.cat([below, blank])
    rows = torch.stack([above.unflatten(0, (-1, columns)), below.unflatten(0, (-1, columns))], dim=1)
    return grid(rows.flatten(0, 2), columns)


def side_by_side(originals: Tensor, reconstructions: Tensor, names: Sequence[str]) -> Image.Image:
    """Arranges images at the left of their reconstructions, one pair in a row.

    Arguments:
        originals: N images, with shape (N, C, H, W).
        reconstructions: Their reconstructions, with the same shape.
        names: The names of the originals.
    """
    both = torch.stack([as_uint8(originals), as_uint8(reconstructions)], 1).flatten(0, 1)
    row_labels = [written(name, MAX_LABEL) for name in names] if len(names) > 1 else ()
    return grid(both, 2, row_labels=row_labels, column_labels=("original", "reconstruction"))


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


def manifold(images: Tensor, horizontal: Tensor, vertical: Tensor, title: str) -> Image.Image:
    """Arranges the images of a latent plane: the first coordinate grows to the right, the second upward.

    Arguments:
        images: Images of shape (R, S, C, H, W); ``images[r, s]`` belongs to ``vertical[r]`` and ``horizontal[s]``.
        horizontal: The first coordinate of each column, with shape (S).
        vertical: The second coordinate of each row, with shape (R).
        title: The text above, which names the coordinates.
    """
    row_labels = [f"{value:.2f}" for value in vertical.flip(0).tolist()] if len(vertical) > 1 else ()
    column_labels = [f"{value:.2f}" for value in horizontal.tolist()]
    rows = images.flip(0).flatten(0, 1)
    return grid(rows, len(horizontal), title=title, row_labels=row_labels, column_labels=column_labels)


def traversals(images: Tensor, row_labels: Sequence[str], title: str) -> Image.Image:
    """Arranges traversals, one latent in a row.

    Arguments:
        images: Images of shape (R, S, C, H, W), one latent in a row.
        row_labels: The text at the left of each row.
        title: The text above.
    """
    return grid(images.flatten(0, 1), images.shape[1], title=title, row_labels=row_labels)


def as_uint8(images: Tensor) -> Tensor:
    """Returns images as uint8 gray levels on the CPU."""
    return (images if images.dtype == torch.uint8 else to_gray_levels(images)).cpu()


def to_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """Returns pixels of shape (H, W, C) as an image."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _with_text(
    image: Image.Image,
    title: str,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    tile_height: int,
    tile_width: int,
) -> Image.Image:
    """A grid with its title and labels around it."""
    row_labels = ["\n".join(map(written, label.split("\n"))) for label in row_labels]
    column_labels = [written(label) for label in column_labels]
    size = max(14, image.width // 75)
    pad, line = size // 2, round(1.3 * size)
    label_lines = [text for label in row_labels for text in label.split("\n")]
    left = max((round(font(size).getlength(text)) for text in label_lines), default=-2 * pad) + 2 * pad
    title_lines = wrap(title, size, left + image.width - 2 * pad)
    top = len(title_lines) * line + 2 * pad if title_lines else 0
    bottom = line + pad if column_labels else 0
    sheet = Image.new(image.mode, (left + image.width, top + image.height + bottom), "white")
    sheet.paste(image, (left, top))
    canvas = ImageDraw.Draw(sheet)
    for number, text in enumerate(title_lines):
        canvas.text((pad, pad + number * line), text, INK, font(size))
    max_lines = max((label.count("\n") + 1 for label in row_labels), default=1)
    every = max(1, math.ceil((max_lines * line) / tile_height))
    for row in range(0, len(row_labels), every):
        middle = top + (row + 0.5) * tile_height
        canvas.multiline_text((left - pad, middle), row_labels[row], INK, font(size), anchor="rm", align="right")
    longest = max((font(size).getlength(label) for label in column_labels), default=0)
    every = max(1, math.ceil((longest + pad) / tile_width))
    for column in range(0, len(column_labels), every):
        middle = left + (column + 0.5) * tile_width
        canvas.text((middle, top + image.height), column_labels[column], INK, font(size), anchor="ma")
    return sheet
