"""Samples beside their nearest training images."""

import torch
from PIL import Image
from torch import Tensor

from vaekit.core.units import to_unit_interval
from vaekit.data import ImageSet
from vaekit.plots.channels import Channels
from vaekit.plots.grids import columns_for, grid
from vaekit.plots.look import DEFAULT, Look


def neighbor_plot(
    images: Tensor,
    distances: Tensor,
    nearest: Tensor,
    train: ImageSet,
    channels: Channels | None = None,
    look: Look = DEFAULT,
) -> Image.Image:
    """Draws the samples that are nearest to training images, and some others, each above its nearest training image.

    Arguments:
        images: M samples in random order, on the unit interval, with shape (M, C, H, W).
        distances: The distance of each to its nearest training image, with shape (M).
        nearest: The position of that image, with shape (M).
        train: The training images.
        channels: The channels to draw; None for all.
        look: How they are drawn.
    """
    num = min(columns_for(images.shape[-1]), len(images))
    rows, labels = [], []
    for chosen, name in ((distances.argsort(stable=True)[:num], "nearest"), (torch.arange(num), "random")):
        rows += [images[chosen], to_unit_interval(train.gather(nearest[chosen])).cpu()]
        labels += [f"{name}\nsamples", "their nearest\ntraining images"]
    title = f"the {num} of {len(images):,} samples that are nearest to a training image, and {num} others"
    return grid(torch.cat(rows), num, title=title, row_labels=labels, channels=channels, look=look)
