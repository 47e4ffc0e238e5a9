"""The error of reconstructions in each pixel."""

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from vaekit.plots.grids import as_uint8
from vaekit.plots.style import MAGNITUDE, StyledFigure, count, styled

MAX_PANELS = 24
"""The maximum height of the panels in inches; tall images are shown smaller."""


@styled
def error_plot(rms: Tensor, originals: Tensor, reconstructions: Tensor, num_images: int) -> Figure:
    """Plots the error of each pixel over a set, and the errors of a few images.

    Arguments:
        rms: The root mean squared error of each pixel over the set, in gray levels, with shape (H, W).
        originals: A few images, with shape (N, C, H, W).
        reconstructions: Their reconstructions, with the same shape.
        num_images: The number of images of the set.
    """
    above, below = as_uint8(originals), as_uint8(reconstructions)
    error = (above.float() - below.float()).square().mean(1).sqrt()
    num = len(above)
    aspect = rms.shape[0] / rms.shape[1]
    panels_height = min(4.2 / num * aspect * 3, MAX_PANELS)
    figure = StyledFigure(figsize=(4.2, 3.2 + panels_height), layout="constrained")
    upper, lower = np.asarray(figure.subfigures(2, 1, height_ratios=[3.0, 0.2 + panels_height]))
    axes = upper.subplots()
    heat_map = axes.imshow(rms.numpy(), cmap=MAGNITUDE, vmin=0, interpolation="nearest")
    upper.suptitle(f"root mean squared error of each pixel, {count(num_images, 'images')}", fontsize=9)
    axes.set_xlabel("pixel column")
    axes.set_ylabel("pixel row")
    upper.colorbar(heat_map, ax=axes, label="gray levels of 255", shrink=0.9)
    rows = (("original", above), ("model", below), ("error", error))
    panels = lower.subplots(3, num, squeeze=False)
    for line, (name, images) in zip(panels, rows, strict=True):
        for cell, image in zip(line, images, strict=True):
            if image.dtype == torch.uint8:
                levels = image.permute(1, 2, 0).numpy()
                cell.imshow(np.broadcast_to(levels, (*levels.shape[:2], 3)), interpolation="nearest")
            else:
                cell.imshow(image.numpy(), cmap=MAGNITUDE, vmin=0, vmax=255, interpolation="nearest")
            cell.set_xticks([])
            cell.set_yticks([])
            cell.spines[:].set_visible(False)
        line[0].set_ylabel(name, fontsize=7)
    lower.supxlabel("error: from 0 (dark) to 255 gray levels (bright)", fontsize=7)
    return figure
