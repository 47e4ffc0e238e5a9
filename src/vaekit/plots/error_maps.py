"""The error of reconstructions in each pixel."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray
from torch import Tensor

from vaekit.plots.channels import Channels, as_uint8, describe_channels, num_tiles, tiles
from vaekit.plots.style import MAGNITUDE, StyledFigure, count, styled, theme

MAX_PANELS = 24
"""The maximum height of the panels in inches; tall images are shown smaller."""

INCHES, MEAN_INCHES, MAX_TILE = 5.6, 3.4, 1.2
"""The least width of a figure, the height of its upper part, and the maximum width of an image in it, in inches."""
SCALE = "error: from 0 (dark) to 255 gray levels (bright)"
"""The text below the errors of single images."""
CHANNEL_INCHES, MAX_CHANNEL_INCHES, MARGIN = 0.42, 0.8, 0.7
"""The least and the largest width of a channel in a figure, and the width of the names of its rows, in inches."""


@styled
def error_plot(
    rms: Tensor, originals: Tensor, reconstructions: Tensor, num_images: int, *, channels: Channels | None = None
) -> Figure:
    """Plots the error of each pixel over a set, and the errors of a few images.

    Arguments:
        rms: The root mean squared error of each pixel over the set, in gray levels, with shape (H, W).
        originals: A few images, with shape (N, C, H, W).
        reconstructions: Their reconstructions, with the same shape.
        num_images: The number of images of the set.
        channels: The channels to draw; by default all. Images of 2, or of more than 3, channels have a row of the figure
            each, with all channels side by side. The error of an image that is drawn as one tile is over all its channels.

    Raises:
        ConfigError: If the images do not have the channels.
    """
    num_channels = originals.shape[1]
    by_channel = num_tiles(num_channels, channels) > 1
    across = max(INCHES, CHANNEL_INCHES * num_channels + MARGIN) if by_channel else INCHES
    aspect = rms.shape[0] / rms.shape[1]
    rows_of_an_image = min((across - MARGIN) / num_channels, MAX_CHANNEL_INCHES) * aspect * 3
    down = (
        len(originals) * rows_of_an_image if by_channel else min((across - MARGIN) / len(originals), MAX_TILE) * aspect * 3
    )
    down = min(down, MAX_PANELS)
    figure = StyledFigure(figsize=(across, MEAN_INCHES + 0.6 + down), layout="constrained")
    upper, lower = np.asarray(figure.subfigures(2, 1, height_ratios=[MEAN_INCHES, 0.6 + down]))
    shown = describe_channels(num_channels, channels)
    _plot_mean(upper, rms, f"\nover {num_channels} channels" if shown else "", num_images)
    if by_channel:
        _plot_channels(lower, as_uint8(originals), as_uint8(reconstructions))
    else:
        _plot_images(lower, originals, reconstructions, channels)
    lower.supxlabel(f"{shown}\n{SCALE}" if shown and not by_channel else SCALE, fontsize=8, color=theme().faint)
    return figure


def _plot_mean(figure: SubFigure, rms: Tensor, over: str, num_images: int) -> None:
    """Plots the error of each pixel over a set."""
    axes = figure.subplots()
    heat_map = axes.imshow(rms.numpy(), cmap=MAGNITUDE, vmin=0, interpolation="nearest")
    figure.suptitle(f"root mean squared error of each pixel{over}, {count(num_images, 'images')}", fontsize=10)
    _without_axes(axes)
    bar = figure.colorbar(heat_map, ax=axes, label="gray levels of 255", shrink=0.9)
    bar.outline.set_visible(False)


def _plot_images(figure: SubFigure, originals: Tensor, reconstructions: Tensor, channels: Channels | None) -> None:
    """Plots images, their reconstructions and the errors in three rows, an image in each column."""
    above, below = tiles(originals, channels)[:, 0], tiles(reconstructions, channels)[:, 0]
    error = (as_uint8(originals).float() - as_uint8(reconstructions).float()).square().mean(1).sqrt()
    panels = figure.subplots(3, len(above), squeeze=False)
    for line, (name, images) in zip(panels, (("original", above), ("model", below), ("error", error)), strict=True):
        for cell, image in zip(line, images, strict=True):
            if image.dtype == torch.uint8:
                levels = image.permute(1, 2, 0).numpy()
                cell.imshow(np.broadcast_to(levels, (*levels.shape[:2], 3)), interpolation="nearest")
            else:
                cell.imshow(image.numpy(), cmap=MAGNITUDE, vmin=0, vmax=255, interpolation="nearest")
            _without_axes(cell)
        line[0].set_ylabel(name, fontsize=8)


def _plot_channels(figure: SubFigure, originals: Tensor, reconstructions: Tensor) -> None:
    """Plots images, their reconstructions and the errors below each other, with all channels side by side."""
    num, num_channels, _, width = originals.shape
    cells = figure.subplots(3 * num, 1, squeeze=False)[:, 0]
    errors = (originals.float() - reconstructions.float()).abs()
    rows = torch.stack([originals.float(), reconstructions.float(), errors], 1).flatten(0, 1)
    for index, (cell, row) in enumerate(zip(cells, rows, strict=True)):
        name = ("original", "model", "error")[index % 3]
        color_map = MAGNITUDE if name == "error" else "gray"
        cell.imshow(_channels_of(row), cmap=color_map, vmin=0, vmax=255, interpolation="nearest")
        _without_axes(cell)
        cell.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
    middles = [channel * (width + 1) + (width - 1) / 2 for channel in range(num_channels)]
    cells[0].xaxis.tick_top()
    cells[0].set_xticks(middles, [str(channel + 1) for channel in range(num_channels)], fontsize=8)
    cells[0].tick_params(length=0)
    cells[0].set_title("channel", fontsize=8)


def _channels_of(image: Tensor) -> NDArray[np.float32]:
    """The channels of an image of shape (C, H, W) side by side, with a column of NaN between them."""
    gap = image.new_full((*image.shape[:2], 1), torch.nan)
    return torch.cat([image, gap], 2).permute(1, 0, 2).flatten(1)[:, :-1].numpy()


def _without_axes(cell: Axes) -> None:
    cell.set_xticks([])
    cell.set_yticks([])
    cell.spines[:].set_visible(False)
