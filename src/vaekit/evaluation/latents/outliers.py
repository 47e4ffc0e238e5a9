r"""Two scores of single images for outlier detection that are no likelihoods: reconstruction error and latent distance.

With the mean :math:`\mu(x)` of q(z|x), both are **lower for more unusual images**:

- ``reconstruction``: minus the root mean squared error of the mean image at :math:`\mu(x)`, over pixels and channels, in
  gray levels. A model that has learned the usual images reconstructs others badly, but simple images well in any case.
- ``latent``: minus the Mahalanobis distance of :math:`\mu(x)` from the posterior means of training images, whose covariance
  is shrunk as by Ledoit and Wolf, so that there may be more latents than images. Only what the encoder tells apart counts.

References:
    | A Simple Unified Framework for Detecting Out-of-Distribution Samples (Lee et al., 2018), https://arxiv.org/abs/1807.03888
    | A well-conditioned estimator for large-dimensional covariance matrices (Ledoit & Wolf, 2004),
      https://doi.org/10.1016/S0047-259X(03)00096-4
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.core.units import GRAY_LEVELS, to_unit_interval
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import batches
from vaekit.evaluation.finiteness import require_finite
from vaekit.evaluation.latents.encodings import encode_images
from vaekit.models import Model


def reconstruction_errors(model: Model, images: ImageSet) -> Tensor:
    """Returns the root mean squared error of each image's reconstruction, in gray levels, float64 of shape (N)."""
    errors = []
    for pixels, labels in batches(model, images, f"reconstructing {len(images):,} images"):
        reconstruction = require_finite(model.reconstruct(pixels, labels), "the reconstructions")
        squares = (reconstruction.clamp(0, 1) - to_unit_interval(pixels)).square().flatten(1)
        errors.append(squares.double().mean(1).sqrt().cpu())
    return (GRAY_LEVELS - 1) * torch.cat(errors)


@dataclass(frozen=True)
class LatentGaussian:
    """A Gaussian over posterior means, from which distances are measured.

    Arguments:
        mean: The mean, float64 of shape (D).
        precision: The inverse of the covariance, float64 of shape (D, D).
    """

    mean: Tensor
    precision: Tensor

    @classmethod
    def of(cls, model: Model, images: ImageSet) -> "LatentGaussian":
        """Returns the Gaussian of the posterior means of training images."""
        from sklearn.covariance import ledoit_wolf  # heavy, and only needed here

        means = encode_images(model, images).means.double()
        covariance = torch.from_numpy(ledoit_wolf(means.numpy())[0])
        least = torch.finfo(torch.float32).eps * (covariance.diagonal().mean() + 1e-12)  # of latents that never vary
        return cls(means.mean(0), torch.linalg.inv(covariance + least * torch.eye(len(covariance), dtype=torch.float64)))

    def distances(self, model: Model, images: ImageSet) -> Tensor:
        """Returns the Mahalanobis distance of each image's posterior mean, float64 of shape (N)."""
        centered = encode_images(model, images).means.double() - self.mean
        return ((centered @ self.precision) * centered).sum(1).clamp(min=0).sqrt()
