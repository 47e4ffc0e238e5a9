"""Where reconstructions are wrong."""

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from vaekit.pictures.grids import as_uint8
from vaekit.pictures.style import MAGNITUDE, count, styled


@styled
def error_chart(rms: Tensor, originals: Tensor, reconstructions: Tensor, num_pictures: int) -> Figure:
    """Draws the error of each pixel over a set, and of a few pictures.

    Arguments:
        rms: The root mean squared error of each pixel over the set, in grey levels, with shape (H, W).
        originals: A few pictures, with shape (N, C, H, W).
        reconstructions: The same after the model.
        num_pictures: How many pictures ``rms`` is over.
    """
    above, below = as_uint8(originals), as_uint8(reconstructions)
    error = (above.float() - below.float()).square().mean(1).sqrt()
    num = len(above)
    tall = rms.shape[0] / rms.shape[1]
    figure = Figure(figsize=(4.2, 3.2 + 4.2 / num * tall * 3), layout="constrained")
    parts = np.asarray(figure.subfigures(2, 1, height_ratios=[3.0, 0.2 + 4.2 / num * tall * 3]))
    upper, lower = parts
    axes = upper.subplots()
    drawn = axes.imshow(rms.numpy(), cmap=MAGNITUDE, vmin=0, interpolation="nearest")
    upper.suptitle(f"root mean squared error of each pixel, {count(num_pictures, 'pictures')}", fontsize=9)
    axes.set_xlabel("pixel column")
    axes.set_ylabel("pixel row")
    upper.colorbar(drawn, ax=axes, label="grey levels of 255", shrink=0.9)
    rows = (("original", above), ("model", below), ("error", error))
    panels = lower.subplots(3, num, squeeze=False)
    for line, (name, pictures) in zip(panels, rows, strict=True):
        for cell, picture in zip(line, pictures, strict=True):
            if picture.dtype == torch.uint8:
                levels = picture.permute(1, 2, 0).numpy()
                cell.imshow(np.broadcast_to(levels, (*levels.shape[:2], 3)), interpolation="nearest")
            else:
                cell.imshow(picture.numpy(), cmap=MAGNITUDE, vmin=0, vmax=255, interpolation="nearest")
            cell.set_xticks([])
            cell.set_yticks([])
            cell.spines[:].set_visible(False)
        line[0].set_ylabel(name, fontsize=7)
    lower.supxlabel("error: from 0 (dark) to 255 grey levels (bright)", fontsize=7)
    return figure
