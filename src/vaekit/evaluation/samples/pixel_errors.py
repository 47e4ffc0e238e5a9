"""The reconstruction error of each pixel."""

import torch
from torch import Tensor

from vaekit.core.units import GRAY_LEVELS, to_unit_interval
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import batches
from vaekit.evaluation.finiteness import require_finite
from vaekit.models import Model


def pixel_errors(model: Model, images: ImageSet) -> Tensor:
    """Returns the root mean squared error of each pixel over images and channels, in gray levels, with shape (H, W)."""
    total = torch.zeros(images.shape[1:], dtype=torch.float64)
    for pixels, labels in batches(model, images):
        reconstruction = require_finite(model.reconstruct(pixels, labels), "the reconstructions")
        error = reconstruction.clamp(0, 1) - to_unit_interval(pixels)
        total += error.square().mean(1).sum(0).cpu().double()
    return (GRAY_LEVELS - 1) * (total / len(images)).sqrt()
