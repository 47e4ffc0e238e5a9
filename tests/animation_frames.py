"""Helpers of tests: the frames of animations."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tests.sheets import middles
from vaekit.networks import Shape

DARK = 100
"""Below it lies the ink of current words in the light theme, and above it that of the others."""


def shrunk(frame: Image.Image, shape: Shape, factor: int) -> Tensor:
    """The image in the middle of a frame's top, before it was enlarged."""
    channels, height, width = shape
    left = (frame.width - width * factor) // 2
    part = np.asarray(frame)[: height * factor, left : left + width * factor].reshape(height * factor, width * factor, -1)
    return torch.from_numpy(middles(part, factor).copy()).permute(2, 0, 1).reshape(channels, height, width)


def closest(found: Tensor, expected: Tensor) -> int:
    """The largest difference in gray levels."""
    return int((found.int() - expected.int()).abs().max())


def eased(waypoints: int, steps: int) -> list[float]:
    """The positions of the frames of an animation, by the formula."""
    times = [m / (steps + 1) for m in range(steps + 1)]
    return [waypoint + t * t * (3 - 2 * t) for waypoint in range(waypoints) for t in times]


def find(sheet: Image.Image, part: Image.Image) -> list[tuple[int, int]]:
    """All places (top, left) where an image stands on a sheet, pixel by pixel."""
    whole, piece = np.asarray(sheet), np.asarray(part)
    height, width = piece.shape[:2]
    corners = whole[: whole.shape[0] - height + 1, : whole.shape[1] - width + 1] == piece[0, 0]
    corners = corners if corners.ndim == 2 else corners.all(-1)
    places = [(int(y), int(x)) for y, x in np.argwhere(corners)]
    return [(y, x) for y, x in places if np.array_equal(whole[y : y + height, x : x + width], piece)]


def checkers(num: int, mode: str = "L", size: tuple[int, int] = (9, 7), factor: int = 4) -> list[Image.Image]:
    """Images of random blocks, all different."""
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    draw = np.random.default_rng(1)
    blocks = [draw.integers(0, 256, shape, dtype=np.uint8) for _ in range(num)]
    return [Image.fromarray(block.repeat(factor, 0).repeat(factor, 1)) for block in blocks]
