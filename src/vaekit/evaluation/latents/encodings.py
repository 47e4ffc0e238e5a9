r"""What the latents carry.

A latent is **active** if its posterior mean moves with the image:
:math:`\mathrm{Var}_x(\mathbb{E}_{q(z|x)}[z_d]) > 0.01` over the set. The **aggregate posterior**
:math:`q(z) = \frac1N \sum_n q(z|x_n)` says which values of a latent occur.

References:
    | Importance Weighted Autoencoders (Burda et al., 2015), https://arxiv.org/abs/1509.00519
    | ELBO surgery (Hoffman & Johnson, 2016), http://approximateinference.org/accepted/HoffmanJohnson2016.pdf
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.core.rng import fixed_seed
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import LATENTS
from vaekit.evaluation.likelihood.bounds import with_noise
from vaekit.models import VAE

THRESHOLD = 0.01
"""The variance of posterior means above which a latent counts as active."""


@dataclass(frozen=True)
class Encodings:
    """The posteriors of a set of images, on the CPU.

    Arguments:
        means: E[z] under q(z|x), with shape (N, D).
        stddevs: The standard deviations, with shape (N, D).
        rates: The mean over images of KL(q(z|x) || p(z)) for each latent, in nats, with shape (D); where prior or
            posterior does not factorize over latents there is only their sum, with shape (1).
        prior_mean: The mean of p(z), with shape (D).
        prior_stddev: Its standard deviation, with shape (D).
    """

    means: Tensor
    stddevs: Tensor
    rates: Tensor
    prior_mean: Tensor
    prior_stddev: Tensor

    @property
    def variances(self) -> Tensor:
        """The variance of each latent's posterior mean over images, with shape (D)."""
        return self.means.double().var(0, correction=min(1, len(self.means) - 1))

    @property
    def active(self) -> Tensor:
        """Which latents are active, as booleans of shape (D)."""
        return self.variances > THRESHOLD

    @property
    def order(self) -> Tensor:
        """The latents from the one of the highest mean KL down (of the highest variance where KL has no parts)."""
        has_parts = len(self.rates) == self.means.shape[1]
        return (self.rates if has_parts else self.variances).argsort(descending=True, stable=True)

    def quantiles(self, low: float, high: float) -> Tensor:
        """Returns two quantiles of each latent over draws from all posteriors, as Gaussians, with shape (2, D)."""
        with fixed_seed(0):
            z = self.means + self.stddevs * torch.randn_like(self.means)
        return torch.from_numpy(np.quantile(z.numpy(), [low, high], axis=0))

    def principal(self, num: int) -> tuple[Tensor, Tensor, Tensor]:
        """Finds the principal components of the posterior means.

        Returns:
            Unit directions of shape (num, D), each with its largest entry positive; the standard deviation along each, with
            shape (num); and the share of the variance that each holds, with shape (num).
        """
        centered = (self.means - self.means.mean(0)).double()
        values, vectors = torch.linalg.eigh(centered.T @ centered / len(centered))
        values, directions = values.flip(0).clamp(min=0), vectors.flip(1).T
        largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
        directions = directions * largest.sign()
        shares = values / values.sum().clamp(min=1e-12)
        return directions[:num].float(), values[:num].sqrt().float(), shares[:num].float()


def encode_images(model: VAE, images: ImageSet) -> Encodings:
    """Encodes all images of a set."""
    means, stddevs, rates = [], [], []
    with model.inference():
        for x, labels, noise in with_noise(model, images, 0, f"encoding {len(images):,} images"):
            latent = model.latent_terms(x, labels, noise=noise.normal)
            means.append(latent.qz.mean.cpu())
            stddevs.append(latent.qz.stddev.cpu())
            rates.append(latent.rate().cpu())
    prior_mean, prior_stddev = latent.pz.mean.mean(0).cpu(), latent.pz.stddev.mean(0).cpu()
    return Encodings(torch.cat(means), torch.cat(stddevs), torch.cat(rates).mean(0), prior_mean, prior_stddev)


def active_units(model: VAE, images: ImageSet) -> dict[str, Any]:
    """Counts the active latents over a set of images.

    Returns:
        ``value`` active latents ``of`` so many, with the ``unit``, and the ``threshold`` and ``num_images`` that the count
        rests on.
    """
    codes = encode_images(model, images)
    return {
        "value": int(codes.active.sum()),
        "of": codes.means.shape[1],
        "unit": LATENTS,
        "threshold": THRESHOLD,
        "num_images": len(codes.means),
    }
