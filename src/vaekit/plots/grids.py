"""Images of images: grids, reconstruction pairs, traversals and manifolds, as Pillow images.

Images go in on the unit interval or as uint8, with shape (N, C, H, W). Small ones are enlarged by a whole factor, pixel by
pixel, so that what one sees is what the model drew. Words stand around the images, never on them.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from vaekit.core.units import to_gray_levels
from vaekit.plots.style import INK, font, wrap

TARGET_WIDTH = 900
"""How wide a grid of small images becomes, about, in pixels."""
WIDEST = 2000
"""How wide a grid of large images becomes at most, in pixels, where it may choose its columns."""
MAX_COLUMNS, MAX_ROWS = 10, 4
"""How many images stand side by side, and how many pairs one below the other, where nobody says."""

PAPER = 255
"""The gray level between images."""


def grid(
    images: Tensor,
    columns: int | None = None,
    *,
    title: str = "",
    heads: Sequence[str] = (),
    feet: Sequence[str] = (),
) -> Image.Image:
    """Lays images out in rows.

    Arguments:
        images: N images, with shape (N, C, H, W).
        columns: How many in a row; by default as many as make a square.
        title: What stands above.
        heads: What stands at the left of each row, in lines.
        feet: What stands below each column; where there is not room for all, every second, third, ...

    Returns:
        An image in which image ``i`` stands in row ``i // columns`` and column ``i % columns``; its top left corner is
        that of the grid, but for the words around it.
    """
    pixels = as_uint8(images)
    num, channels, height, width = pixels.shape
    columns = min(columns or math.ceil(math.sqrt(num)), num)
    rows = math.ceil(num / columns)
    factor, gap = layout(width, columns)
    tile_height, tile_width = height * factor + gap, width * factor + gap
    sheet = np.full((rows * tile_height + gap, columns * tile_width + gap, channels), PAPER, np.uint8)
    for index, picture_ in enumerate(pixels):
        top, left = gap + index // columns * tile_height, gap + index % columns * tile_width
        tile = picture_.permute(1, 2, 0).numpy().repeat(factor, 0).repeat(factor, 1)
        sheet[top : top + height * factor, left : left + width * factor] = tile
    image = Image.fromarray(sheet[:, :, 0] if channels == 1 else sheet)
    if not (title or heads or feet):
        return image
    return _with_words(image, title, heads, feet, tile_height, tile_width)


def layout(width: int, columns: int) -> tuple[int, int]:
    """Returns by what factor images of a width are enlarged in a grid of so many columns, and the gap between them."""
    factor = max(1, TARGET_WIDTH // (columns * width))
    return factor, max(2, factor // 2)


def columns_for(width: int) -> int:
    """Returns how many images of a width stand side by side where nobody says: ten, and fewer of large ones."""
    return max(2, min(MAX_COLUMNS, WIDEST // width))


def number_for(height: int, width: int) -> int:
    """Returns how many images of a size are shown where nobody says: four rows of pairs, and of large ones two."""
    return columns_for(width) * (MAX_ROWS if 2 * MAX_ROWS * height <= WIDEST else 2)


def reconstruction_pairs(originals: Tensor, reconstructions: Tensor, columns: int | None = None) -> Image.Image:
    """Lays originals out above their reconstructions.

    Arguments:
        originals: N images, with shape (N, C, H, W).
        reconstructions: The same images after the model, with the same shape.
        columns: How many pairs stand side by side; by default ten, and fewer of large images.

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
    """Lays each original out at the left of its reconstruction, a row each.

    Arguments:
        originals: N images, with shape (N, C, H, W).
        reconstructions: The same images after the model, with the same shape.
        names: What the originals are called.
    """
    both = torch.stack([as_uint8(originals), as_uint8(reconstructions)], 1).flatten(0, 1)
    return grid(both, 2, heads=names if len(names) > 1 else (), feet=("original", "reconstruction"))


def in_a_row(images: Sequence[Image.Image], titles: Sequence[str]) -> Image.Image:
    """Lays images out side by side on white, enlarged to the height of the tallest, each under its title."""
    height = max(image.height for image in images)
    images = [image.resize((round(image.width * height / image.height), height)) for image in images]
    gap, size = height // 40, max(14, height // 40)
    top = 2 * size
    sheet = Image.new("RGB", (sum(image.width + gap for image in images) - gap, top + height), "white")
    pen, left = ImageDraw.Draw(sheet), 0
    for image, title in zip(images, titles, strict=True):
        pen.text((left, size // 3), title, INK, font(size))
        sheet.paste(image, (left, top))
        left += image.width + gap
    return sheet


def manifold(images: Tensor, across: Tensor, upward: Tensor, title: str) -> Image.Image:
    """Lays a plane of images out as axes are drawn: the first coordinate grows to the right, the second upwards.

    Arguments:
        images: Images of shape (R, S, C, H, W); ``images[r, s]`` belongs to ``upward[r]`` and ``across[s]``.
        across: The first coordinate of each column, with shape (S).
        upward: The second coordinate of each row, with shape (R).
        title: What is shown, and what the coordinates are.
    """
    rows = images.flip(0)
    heads = [f"{value:.2f}" for value in upward.flip(0).tolist()] if len(upward) > 1 else ()
    return grid(
        rows.flatten(0, 1), len(across), title=title, heads=heads, feet=[f"{value:.2f}" for value in across.tolist()]
    )


def traversals(images: Tensor, heads: Sequence[str], title: str) -> Image.Image:
    """Lays traversals out, a row a latent.

    Arguments:
        images: Images of shape (R, S, C, H, W), a row a latent.
        heads: What stands at the left of each row.
        title: What is shown.
    """
    return grid(images.flatten(0, 1), images.shape[1], title=title, heads=heads)


def as_uint8(images: Tensor) -> Tensor:
    """Returns images as gray levels on the CPU."""
    return (images if images.dtype == torch.uint8 else to_gray_levels(images)).cpu()


def _with_words(
    image: Image.Image, title: str, heads: Sequence[str], feet: Sequence[str], tile_height: int, tile_width: int
) -> Image.Image:
    """The grid with its words around it."""
    size = max(14, image.width // 75)
    pad, line = size // 2, round(1.3 * size)
    left = (
        max((round(font(size).getlength(part)) for head in heads for part in head.split("\n")), default=-2 * pad) + 2 * pad
    )
    title_lines = wrap(title, size, left + image.width - 2 * pad)
    top = len(title_lines) * line + 2 * pad if title_lines else 0
    bottom = line + pad if feet else 0
    sheet = Image.new(image.mode, (left + image.width, top + image.height + bottom), "white")
    sheet.paste(image, (left, top))
    pen = ImageDraw.Draw(sheet)
    for number, words in enumerate(title_lines):
        pen.text((pad, pad + number * line), words, INK, font(size))
    head_lines = max((head.count("\n") + 1 for head in heads), default=1)
    every = max(1, math.ceil((head_lines * line) / tile_height))
    for row in range(0, len(heads), every):
        middle = top + (row + 0.5) * tile_height
        pen.multiline_text((left - pad, middle), heads[row], INK, font(size), anchor="rm", align="right")
    longest = max((font(size).getlength(foot) for foot in feet), default=0)
    every = max(1, math.ceil((longest + pad) / tile_width))
    for column in range(0, len(feet), every):
        pen.text((left + (column + 0.5) * tile_width, top + image.height), feet[column], INK, font(size), anchor="ma")
    return sheet
