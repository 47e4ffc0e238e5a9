"""Pictures of pictures: grids, reconstruction pairs and strips, as Pillow images.

Pictures go in on the unit interval or as uint8, with shape (N, C, H, W). Small ones are enlarged by a whole factor, pixel by
pixel, so that what one sees is what the model drew.
"""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaekit.units import to_grey_levels

TARGET_WIDTH = 900
"""How wide a grid of small pictures becomes, about, in pixels."""

PAPER = 255
"""The grey level between pictures."""


def grid(pictures: Tensor, columns: int | None = None) -> Image.Image:
    """Lays pictures out in rows.

    Arguments:
        pictures: N pictures, with shape (N, C, H, W).
        columns: How many in a row; by default as many as make a square.

    Returns:
        An image in which picture ``i`` stands in row ``i // columns`` and column ``i % columns``.
    """
    pixels = _as_uint8(pictures)
    num, channels, height, width = pixels.shape
    columns = min(columns or math.ceil(math.sqrt(num)), num)
    rows = math.ceil(num / columns)
    factor, gap = layout(width, columns)
    tile_height, tile_width = height * factor + gap, width * factor + gap
    sheet = np.full((rows * tile_height + gap, columns * tile_width + gap, channels), PAPER, np.uint8)
    for index, picture in enumerate(pixels):
        top, left = gap + index // columns * tile_height, gap + index % columns * tile_width
        tile = picture.permute(1, 2, 0).numpy().repeat(factor, 0).repeat(factor, 1)
        sheet[top : top + height * factor, left : left + width * factor] = tile
    return Image.fromarray(sheet[:, :, 0] if channels == 1 else sheet)


def layout(width: int, columns: int) -> tuple[int, int]:
    """Returns by what factor pictures of a width are enlarged in a grid of so many columns, and the gap between them."""
    factor = max(1, TARGET_WIDTH // (columns * width))
    return factor, max(2, factor // 2)


def reconstruction_pairs(originals: Tensor, reconstructions: Tensor, columns: int = 10) -> Image.Image:
    """Lays originals out above their reconstructions.

    Arguments:
        originals: N pictures, with shape (N, C, H, W).
        reconstructions: The same pictures after the model, with the same shape.
        columns: How many pairs stand side by side.

    Returns:
        An image with a row of originals, the row of their reconstructions, the next row of originals, and so on.
    """
    above, below = _as_uint8(originals), _as_uint8(reconstructions)
    columns = min(columns, len(above))
    missing = -len(above) % columns
    if missing:
        blank = torch.full((missing, *above.shape[1:]), PAPER, dtype=torch.uint8)
        above, below = torch.cat([above, blank]), torch.cat([below, blank])
    rows = torch.stack([above.unflatten(0, (-1, columns)), below.unflatten(0, (-1, columns))], dim=1)
    return grid(rows.flatten(0, 2), columns)


def _as_uint8(pictures: Tensor) -> Tensor:
    return (pictures if pictures.dtype == torch.uint8 else to_grey_levels(pictures)).cpu()
