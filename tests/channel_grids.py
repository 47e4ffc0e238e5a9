"""Helpers of tests: grids of images of several channels, read back tile by tile, and smooth images to put in them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from tests.sheets import channel_lines

HEIGHT, WIDTH = 10, 18


def smooth(num: int, channels: int) -> Tensor:
    """Images whose channels differ: each is a ramp of a direction of its own, times the brightness of the image."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, HEIGHT), torch.linspace(0, 1, WIDTH), indexing="ij")
    ramps = torch.stack([(columns * (1 + c % 4) + rows * (c % 3) + c / 5) % 1 for c in range(channels)])
    brightness = torch.rand(num, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    return (255 * (0.2 + 0.8 * brightness) * ramps).byte()


def lines_of(
    image: Path | Image.Image, num_lines: int, columns: int, groups: Sequence[int], size: tuple[int, int] = (HEIGHT, WIDTH)
) -> Tensor:
    """Returns the gray tiles of a sheet, with shape (L, S, H, W); between them it must be blank."""
    return channel_lines(image, num_lines, columns, size, *groups)
