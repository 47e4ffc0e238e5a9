"""Helpers of tests: grids of images, read back tile by tile from wherever they stand on a sheet."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaekit.plots.grid_text import text_size, top_of
from vaekit.plots.look import Look
from vaekit.plots.tile_lines import MIN_TILE, Geometry, breaks, geometry, paper

DEFAULT = Look()


def opened(image: Path | Image.Image | IO[bytes]) -> Image.Image:
    """An image, in a file or not."""
    return image if isinstance(image, Image.Image) else Image.open(image)


def middles(pixels: np.ndarray, factor: int) -> np.ndarray:
    """The pixels of an image before it was enlarged by an odd factor: those in the middle of each block."""
    return pixels[factor // 2 :: factor, factor // 2 :: factor]


def block(sheet: np.ndarray, where: Geometry, heads: bool = False) -> np.ndarray:
    """The grid on a sheet: all of it, or the part at the upper right with text around it."""
    if sheet.shape[:2] == (where.height, where.width):
        return sheet
    top, right = top_of(where.width, heads), sheet.shape[1] - text_size(where.width)
    return sheet[top : top + where.height, right - where.width : right]


def lines_on(
    image: Path | Image.Image | IO[bytes],
    num_lines: int,
    columns: int,
    tile: tuple[int, int, int],
    wider: Sequence[int] = (),
    *,
    heads: bool = False,
    look: Look = DEFAULT,
    least: int = 1,
    marked: bool = False,
) -> Tensor:
    """Returns the tiles of a sheet, with shape (L, S, C, H, W); between them it must be paper, but for marks below rows."""
    channels, height, width = tile
    wider = breaks(num_lines, 1) if marked else wider  # of one line in a row
    where = geometry(num_lines, columns, (height, width), wider, look, least)
    sheet = np.array(opened(image))
    grid = block(sheet, where, heads).reshape(where.height, where.width, channels).copy()
    found = np.empty((num_lines, columns, height, width, channels), np.uint8)
    blank = paper(look.theme, channels).numpy()
    for line, top in enumerate(where.tops):
        for column in range(columns):
            left = where.gap + column * (width * where.factor + where.gap)
            window = np.s_[top : top + height * where.factor, left : left + width * where.factor]
            found[line, column] = middles(grid[window], where.factor)
            grid[window] = blank
    assert marked or (grid == blank).all()
    return torch.from_numpy(found).permute(0, 1, 4, 2, 3)


def channel_lines(image: Path | Image.Image, num_lines: int, columns: int, size: tuple[int, int], *groups: int) -> Tensor:
    """Returns the gray tiles of a sheet of images that are drawn channel by channel, with shape (L, S, H, W)."""
    found = lines_on(image, num_lines, columns, (1, *size), breaks(num_lines, *groups), least=MIN_TILE)
    return found[:, :, 0]
