"""Helpers of tests: grids of images of several channels, read back tile by tile, and smooth images to put in them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaekit.plots.grids import PAPER, channel_factor, layout

HEIGHT, WIDTH = 10, 18


def smooth(num: int, channels: int) -> Tensor:
    """Images whose channels differ: each is a ramp of a direction of its own, times the brightness of the image."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, HEIGHT), torch.linspace(0, 1, WIDTH), indexing="ij")
    ramps = torch.stack([(columns * (1 + c % 4) + rows * (c % 3) + c / 5) % 1 for c in range(channels)])
    brightness = torch.rand(num, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    return (255 * (0.2 + 0.8 * brightness) * ramps).byte()


def tops_of(num_lines: int, height: int, gap: int, groups: Sequence[int]) -> list[int]:
    """The top of each line of tiles, and the bottom of the grid."""
    tops, top = list[int](), gap
    for line in range(num_lines + 1):
        top += sum(2 * gap for size in groups if 0 < line < num_lines and line % size == 0)
        tops.append(top)
        top += height + gap
    return tops


def width_of(num_lines: int, columns: int) -> int:
    """The width of a grid without the text at its left."""
    factor = channel_factor(layout(WIDTH, columns)[0], HEIGHT, num_lines)
    gap = max(2, factor // 2)
    return columns * (WIDTH * factor + gap) + gap


def lines_of(
    image: Path | Image.Image, num_lines: int, columns: int, groups: Sequence[int], size: tuple[int, int] = (HEIGHT, WIDTH)
) -> Tensor:
    """Returns the gray tiles at the lower right of a sheet, with shape (L, S, H, W); between them it must be blank."""
    height, width = size
    factor = channel_factor(layout(width, columns)[0], height, num_lines)
    gap = max(2, factor // 2)
    *tops, bottom = tops_of(num_lines, height * factor, gap, groups)
    sheet = np.array(Image.open(image) if isinstance(image, Path) else image)
    assert sheet.ndim == 2
    sheet = sheet[-bottom:, -(columns * (width * factor + gap) + gap) :]
    assert sheet.shape == (bottom, columns * (width * factor + gap) + gap)
    lines = np.empty((num_lines, columns, height, width), np.uint8)
    for line, top in enumerate(tops):
        for column in range(columns):
            left = gap + column * (width * factor + gap)
            window = np.s_[top : top + height * factor, left : left + width * factor]
            lines[line, column] = sheet[window][::factor, ::factor]
            np.testing.assert_array_equal(lines[line, column].repeat(factor, 0).repeat(factor, 1), sheet[window])
            sheet[window] = PAPER
    assert (sheet == PAPER).all()
    return torch.from_numpy(lines)
