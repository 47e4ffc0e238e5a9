"""The latent plane as one image: decoded images side by side, with the coordinates at the edges.

Images with plain borders, such as digits on black, join without gaps to one image. Where borders differ, as those of
photographs do, joined images cannot be told apart, and the color of the background is between them.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vaekit.plots.channels import Channels, tile_names, tiles
from vaekit.plots.grid_text import Around, AxisLabels, LineLabels, Tick
from vaekit.plots.look import DEFAULT, PLANE_SIZE, Look
from vaekit.plots.style import typeset
from vaekit.plots.tile_lines import GAPS, breaks, draw, framed

MAX_BORDER = 0.6
"""The variation of plain borders, see :func:`border_variation`: 0.01 of MNIST, 0.4 of Fashion-MNIST and of figures on white,
0.9 of digits of 8 x 8 pixels, and 1.0 to 1.2 of photographs and faces."""


def manifold(
    images: Tensor,
    horizontal: Tensor,
    vertical: Tensor,
    title: str,
    *,
    channels: Channels | None = None,
    look: Look = DEFAULT,
) -> Image.Image:
    """Arranges the images of a latent plane: the first coordinate grows to the right, the second upward.

    Arguments:
        images: Images of shape (R, S, C, H, W); ``images[r, s]`` belongs to ``vertical[r]`` and ``horizontal[s]``.
        horizontal: The first coordinate of each column, with shape (S).
        vertical: The second coordinate of each row, with shape (R).
        title: The text below, which names the coordinates.
        channels: The channels to draw, as in :func:`plane`.
        look: How they are drawn.
    """
    rows = [(text, len(vertical) - 1 - place) for text, place in ticks(vertical.tolist())] if len(vertical) > 1 else []
    return plane(images, title, rows, ticks(horizontal.tolist()), channels=channels, look=look)


def plane(
    images: Tensor,
    title: str = "",
    row_ticks: Sequence[Tick] = (),
    column_ticks: Sequence[Tick] = (),
    *,
    channels: Channels | None = None,
    look: Look = DEFAULT,
) -> Image.Image:
    """Arranges images of shape (R, S, C, H, W) on a plane, the last row above; without gaps if their borders are plain.

    Channel by channel, there is a whole plane for each channel, so that neighbors stay neighbors.

    Arguments:
        images: The images.
        title: The text below.
        row_ticks: Labels at the left, with their places in images from the middle of the uppermost row.
        column_ticks: Labels below, with their places in images from the middle of the first column.
        channels: The channels to draw, as in :func:`grid`.
        look: How they are drawn.
    """
    shown = tiles(images.flip(0).flatten(0, 1), channels).unflatten(0, images.shape[:2])
    rows, num = shown.shape[0], shown.shape[2]
    names, places = [text for text, _ in row_ticks], [place for _, place in row_ticks]
    labels = (LineLabels(tile_names(num), rows), AxisLabels(names, rows, places))
    around = Around(title, labels, ticks=column_ticks)
    lines = shown.permute(2, 0, 1, 3, 4, 5)
    if border_variation(shown.flatten(0, 2)) > MAX_BORDER:
        return draw(lines.flatten(0, 1), around, breaks(num * rows, rows), replace(look, size=look.size or PLANE_SIZE))
    return _joined(lines, around, look)


def border_variation(images: Tensor) -> float:
    """Returns the standard deviation of the outermost pixels of N images, divided by that of all pixels; of blank ones, 0.

    Both are over images and pixels, of each channel for itself. Images have shape (N, C, H, W).
    """
    pixels = images.double()
    border = torch.cat([pixels[:, :, [0, -1]].flatten(2), pixels[:, :, 1:-1, [0, -1]].flatten(2)], 2)
    of_border, of_all = (part.transpose(0, 1).flatten(1).var(1, correction=0).mean().sqrt() for part in (border, pixels))
    return float(of_border / of_all) if of_all else 0.0


def _joined(lines: Tensor, around: Around, look: Look) -> Image.Image:
    """Lines of tiles of shape (T, R, S, c, H, W) as T images without gaps in them, one below the other."""
    num, rows, columns, _, height, width = lines.shape
    factor = look.factor(num * rows * height, columns * width, PLANE_SIZE)
    gap = 0 if num == 1 else max(2, width * factor // GAPS)
    parts = [look.enlarged(part, factor) for part in lines.permute(0, 1, 4, 2, 5, 3).flatten(3, 4).flatten(1, 2).numpy()]
    tops = [part * (rows * height * factor + gap) + row * height * factor for part in range(num) for row in range(rows)]
    sheet = Image.new(parts[0].mode, (parts[0].width, tops[-1] + height * factor), look.theme.paper)
    for part, image in enumerate(parts):
        sheet.paste(image, (0, tops[part * rows]))
    return framed(sheet, look, around, tops, (height * factor, width * factor))


def ticks(values: Sequence[float]) -> list[Tick]:
    """Returns round numbers on an axis of growing values, each with its place among the values.

    The step between them is the largest that has three of them.
    """
    if len(values) < 2:
        return [(typeset(f"{value:g}"), 0.0) for value in values]
    first, last = (values[end] + (values[end] - values[inner]) / 2 for end, inner in ((0, 1), (-1, -2)))
    ends, places = [first, *values, last], [-0.5, *range(len(values)), len(values) - 0.5]
    exponent = math.floor(math.log10(max(last - first, 1e-30))) + 1
    for step in (unit * 10.0 ** (exponent - power) for power in range(3) for unit in (5, 2, 1)):
        marks = [number * step for number in range(math.ceil(first / step), math.floor(last / step) + 1)]
        if len(marks) >= 3:
            return [(typeset(f"{mark:g}"), float(np.interp(mark, ends, places))) for mark in marks]
    return []
