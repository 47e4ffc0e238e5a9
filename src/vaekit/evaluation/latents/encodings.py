r"""The posteriors of a set of images, and which latents are active.

A latent is **active** if its posterior mean varies over the images:
:math:`\mathrm{Var}_x(\mathbb{E}_{q(z|x)}[z_d]) > 0.01`. Of a model with several stochastic layers it is the mean relative to
that of the prior given the layers above, which varies over images, too.

References:
    | Importance Weighted Autoencoders (Burda et al., 2015), https://arxiv.org/abs/1509.00519
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaekit.core.rng import fixed_seed
from vaekit.data import Dataset
from vaekit.distributions import LayeredDistribution
from vaekit.evaluation.estimate import LATENTS, Metric
from vaekit.evaluation.finiteness import require_finite
from vaekit.evaluation.likelihood.bounds import with_noise
from vaekit.models import Model

THRESHOLD = 0.01
"""The variance of the posterior mean above which a latent is active."""

METRICS = (
    Metric(
        "active_units",
        "active latents",
        "The latents whose posterior mean varies over images; of a ladder relative to the layers above.",
        LATENTS,
        0,
    ),
)


@dataclass(frozen=True)
class LatentCount:
    """The number of latents whose statistic exceeds a threshold.

    Arguments:
        value: The number of latents above the threshold.
        of: D, the number of latents.
        threshold: The threshold.
        num_images: The number of images that the statistic is computed from.
    """

    value: int
    of: int
    threshold: float
    num_images: int

    def to_data(self) -> dict[str, Any]:
        """Returns the count as a dictionary for JSON."""
        return {
            "value": self.value,
            "of": self.of,
            "unit": LATENTS,
            "threshold": self.threshold,
            "num_images": self.num_images,
        }


@dataclass(frozen=True)
class Encodings:
    """The posteriors of a set of images, on the CPU.

    Arguments:
        means: E[z] under q(z|x), with shape (N, D).
        stddevs: The standard deviations of q(z|x), with shape (N, D).
        rates: The mean over images of KL(q(z|x) || p(z)) for each latent, in nats, with shape (D). If the prior or the
            posterior does not factorize over latents, only their sum exists, with shape (1); empty without a density p(z).
        prior_mean: The mean of p(z), with shape (D).
        prior_stddev: The standard deviation of p(z), with shape (D).
        layer_means: The mean of p(z) of each layer given the means of the posteriors of the layers above, with shape (N, D);
            None for a model with one layer.
    """

    means: Tensor
    stddevs: Tensor
    rates: Tensor
    prior_mean: Tensor
    prior_stddev: Tensor
    layer_means: Tensor | None = None

    @property
    def variances(self) -> Tensor:
        """The variance over images of each latent's posterior mean, relative to the layers above, with shape (D)."""
        means = self.means.double() if self.layer_means is None else self.means.double() - self.layer_means.double()
        return means.var(0, correction=min(1, len(self.means) - 1))

    @property
    def active(self) -> Tensor:
        """Whether each latent is active, as booleans with shape (D)."""
        return self.variances > THRESHOLD

    @property
    def active_units(self) -> LatentCount:
        """The number of active latents."""
        return self._count(self.active, THRESHOLD)

    @property
    def rate_per_latent(self) -> bool:
        """Whether ``rates`` has one value per latent."""
        return len(self.rates) == self.means.shape[1]

    @property
    def order(self) -> Tensor:
        """The latents in descending order of their rate, or of their variance if there is no rate per latent."""
        return (self.rates if self.rate_per_latent else self.variances).argsort(descending=True, stable=True)

    def used_latents(self, min_rate: float) -> LatentCount | None:
        """Returns the number of latents whose rate exceeds ``min_rate`` nats, or None if there is no rate per latent."""
        return self._count(self.rates > min_rate, min_rate) if self.rate_per_latent else None

    def quantiles(self, low: float, high: float) -> Tensor:
        """Returns two quantiles of each latent over the aggregate posterior, with shape (2, D).

        Each posterior contributes one sample, from a Gaussian with its mean and standard deviation.
        """
        with fixed_seed(0):
            z = self.means + self.stddevs * torch.randn_like(self.means)
        return torch.from_numpy(np.quantile(z.numpy(), [low, high], axis=0))

    def principal(self, num: int) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the principal components of the posterior means.

        Arguments:
            num: The number of components.

        Returns:
            Unit vectors with shape (num, D), each with its largest entry positive; the standard deviation along each, with
            shape (num); and the share of the total variance along each, with shape (num).

        Raises:
            ModelError: If the means are so large that their differences overflow.
        """
        centered = require_finite((self.means - self.means.mean(0)).double(), "the means of q(z|x), less their mean,")
        values, vectors = torch.linalg.eigh(centered.T @ centered / len(centered))
        values, directions = values.flip(0).clamp(min=0), vectors.flip(1).T
        largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
        directions = directions * largest.sign()
        shares = values / values.sum().clamp(min=1e-12)
        return directions[:num].float(), values[:num].sqrt().float(), shares[:num].float()

    def _count(self, mask: Tensor, threshold: float) -> LatentCount:
        return LatentCount(int(mask.sum()), len(mask), threshold, len(self.means))


def encode_images(model: Model, images: Dataset) -> Encodings:
    """Computes the posterior of each image of a set.

    Raises:
        ModelError: If the posterior of an image, or the prior, is not finite.
    """
    means, stddevs, rates, layer_means = [], [], [], []
    with model.inference():
        for x, labels, noise in with_noise(model, images, 0, f"encoding {len(images):,} images"):
            latent = model.latent_terms(x, labels, 1, noise.normal)
            means.append(latent.qz.mean.cpu())
            stddevs.append(latent.qz.stddev.cpu())
            if isinstance(latent.pz, LayeredDistribution):
                layer_means.append(torch.cat([layer.mean for layer in latent.pz.layers(latent.qz.mean)], -1).cpu())
            rates.append(latent.rate().cpu() if model.has_density else torch.zeros(len(x), 0))
    prior = torch.stack([latent.pz.mean.mean(0).cpu(), latent.pz.stddev.mean(0).cpu()])
    prior_mean, prior_stddev = require_finite(prior, "the mean and the standard deviation of p(z)")
    return Encodings(
        require_finite(torch.cat(means), "the means of q(z|x)"),
        require_finite(torch.cat(stddevs), "the standard deviations of q(z|x)"),
        require_finite(torch.cat(rates), "the rates").mean(0),
        prior_mean,
        prior_stddev,
        torch.cat(layer_means) if layer_means else None,
    )


def active_units(model: Model, images: Dataset) -> LatentCount:
    """Counts the active latents over a set of images."""
    return encode_images(model, images).active_units
