r"""The rate, decomposed by the aggregate posterior of a set of images.

The **aggregate posterior** of N images is :math:`q(z) = \frac1N \sum_n q(z|x_n)`. It splits the mean rate into two parts.
If the posterior and the prior factorize over latents, the second part splits again:

.. math::
    \frac1N \sum_n \mathrm{KL}(q(z|x_n) \,\|\, p(z))
        &= \underbrace{\mathbb{E} \log \frac{q(z|x)}{q(z)}}_{\text{mutual information } I}
         + \underbrace{\mathbb{E} \log \frac{q(z)}{p(z)}}_{\mathrm{KL}(q(z) \| p(z))} \\
    \mathrm{KL}(q(z) \,\|\, p(z))
        &= \underbrace{\mathbb{E} \log \frac{q(z)}{\prod_d q(z_d)}}_{\text{total correlation}}
         + \underbrace{\sum_d \mathrm{KL}(q(z_d) \,\|\, p(z_d))}_{\text{dimension-wise}}

The rate is in closed form where there is one, as between Gaussians; so it is never negative. Without one it is a mean over S
samples of each :math:`q(z|x_n)`, whose error may exceed a small rate. The other expectations are means over these samples.
The densities q(z) and q(z_d) are exact: sums over all N posteriors, including the one that z was sampled from.

**Control variate.** The error of the sampled rate of each image,

.. math:: e_n = \frac1S \sum_s \log \frac{q(z_s|x_n)}{p(z_s)} - \mathrm{KL}(q(z|x_n) \,\|\, p(z)),

is known and has mean 0. From I and from the total correlation the part that e explains by linear regression over images is
subtracted, which keeps their expectation and makes their errors smaller. The KL of the aggregate is the rate minus I, and
the dimension-wise part is the KL of the aggregate minus the total correlation, so that all parts add up.

**Bias of a finite set.** :math:`I \le \log N`, with equality if the posteriors do not overlap. Near this limit, I is a lower
bound of the mutual information over all images, and KL(q(z) || p(z)) and the total correlation are upper bounds. Far below
the limit, I is too low and KL(q(z) || p(z)) too high by about

.. math:: \frac{\chi^2}{2N}, \qquad \chi^2 = \mathbb{E}_{q(z)} \mathrm{Var}_x \Big(\frac{q(z|x)}{q(z)}\Big).

References:
    | ELBO surgery (Hoffman & Johnson, 2016), http://approximateinference.org/accepted/HoffmanJohnson2016.pdf
    | Isolating Sources of Disentanglement in VAEs (Chen et al., 2018), https://arxiv.org/abs/1802.04942
    | Monte Carlo theory, methods and examples (Owen, 2013), section 8.9, https://artowen.su.domains/mc/
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaekit.core.errors import ConfigError, DataError
from vaekit.core.progress import track
from vaekit.core.rng import generator
from vaekit.core.terms import LatentTerms
from vaekit.core.units import NATS
from vaekit.data import Dataset
from vaekit.evaluation.estimate import LATENTS, Estimate, mean_over_images
from vaekit.evaluation.latents.posterior_densities import PosteriorDensities, per_latent, posterior_densities
from vaekit.evaluation.likelihood.bounds import with_noise
from vaekit.models import Model

MAX_DENSITIES = 2**20
"""The number of densities held in memory at once: 8 MB of float64."""

MIN_REGRESSION = 30
"""The number of images from which on the coefficient of the control variate is estimated; of fewer it would fit noise."""
ROUNDING = 1e-4
"""The standard deviation in nats, for rates up to 100 nats, up to which errors of sampled rates are those of float32."""

SATURATED = 0.95
"""The share of log N above which the number of images, and not the latents, limits the mutual information."""


@dataclass(frozen=True)
class RateDecomposition:
    """The parts of the rate, each a mean over images.

    The parts add up. A standard error is that of the mean over images for a fixed q(z).

    Arguments:
        rate: KL(q(z|x) || p(z)).
        mutual_information: :math:`I`, at most log N.
        aggregate_kl: KL(q(z) || p(z)). None if the prior differs from image to image.
        total_correlation: KL(q(z) || prod_d q(z_d)). None if ``aggregate_kl`` is None, or if the prior or the posterior does
            not factorize over latents.
        dimension_wise_kl: The sum over latents of KL(q(z_d) || p(z_d)). None if ``total_correlation`` is None.
        rates: The mean over images of KL(q(z|x) || p(z)) for each latent, in closed form if there is one; a single number if
            the prior or the posterior does not factorize over latents.
    """

    rate: Estimate
    mutual_information: Estimate
    aggregate_kl: Estimate | None
    total_correlation: Estimate | None
    dimension_wise_kl: Estimate | None
    rates: list[float]

    @property
    def log_num_images(self) -> float:
        """Log N, the upper limit of the mutual information."""
        return math.log(self.rate.num_images)

    @property
    def saturated(self) -> bool:
        """Whether the mutual information is so near to log N that it is only a lower bound of that over all images."""
        return self.mutual_information.value > SATURATED * self.log_num_images

    def to_data(self) -> dict[str, Any]:
        """Returns the parts that exist as a dictionary for JSON."""
        parts = {
            "rate": self.rate,
            "mutual_information": self.mutual_information,
            "aggregate_kl": self.aggregate_kl,
            "total_correlation": self.total_correlation,
            "dimension_wise_kl": self.dimension_wise_kl,
        }
        return {name: part.to_data() for name, part in parts.items() if part is not None} | {
            "rates": self.rates,
            "estimator": "exact",
            "log_num_images": self.log_num_images,
            "saturated": self.saturated,
        }


def decompose_rate(model: Model, images: Dataset, *, num_samples: int = 1, seed: int = 0) -> RateDecomposition:
    r"""Decomposes the rate over a set of images.

    The cost is :math:`S N^2 D`: half a second per latent for 10,000 images with diagonal Gaussian posteriors. Posteriors of
    other kinds, such as flows, evaluate :math:`S N^2` densities with their networks; use about a thousand images for these.

    For a conditional model, q(z) is the mean over images with their labels. It is compared with p(z) only if the prior is
    the same for all images.

    Arguments:
        model: The model.
        images: The images, at least two.
        num_samples: S, the number of samples of z per image.
        seed: The seed of the samples. The global generators are not used.

    Raises:
        ConfigError: If ``num_samples`` is below 1.
        DataError: If there are fewer than two images.
    """
    if num_samples < 1:
        raise ConfigError(f"num_samples must be at least 1, got {num_samples}")
    if len(images) < 2:
        raise DataError(f"{images.name}: one image has no aggregate posterior; use at least two images")
    shuffled = images.take(torch.randperm(len(images), generator=generator(seed)))  # decides which image gets which noise
    samples = sample_posteriors(model, shuffled, num_samples, seed)
    with model.inference():
        log_qzx, log_qz, log_marginals = log_densities(samples)

    def mean(values: Tensor) -> Estimate:
        return mean_over_images(values, NATS, num_samples, LATENTS)

    rate = samples.rates.sum(1)
    error = (log_qzx - samples.log_pz).mean(0) - rate
    error = error if bool(error.std() > ROUNDING * (1 + rate.abs().max() / 100)) else torch.zeros_like(error)
    information = without_error((log_qzx - log_qz).mean(0), error)
    correlation = without_error((log_qz - log_marginals).mean(0), error)
    has_marginals = samples.same_prior and samples.factorizes
    return RateDecomposition(
        rate=mean_over_images(rate, NATS, space=LATENTS),
        mutual_information=mean(information),
        aggregate_kl=mean(rate - information) if samples.same_prior else None,
        total_correlation=mean(correlation) if has_marginals else None,
        dimension_wise_kl=mean(rate - information - correlation) if has_marginals else None,
        rates=samples.rates.mean(0).tolist(),
    )


def without_error(values: Tensor, error: Tensor) -> Tensor:
    """Subtracts from the values of images the part that a control variate explains by linear regression.

    Arguments:
        values: A part of the rate of each image, with shape (N).
        error: The error of the sampled rate of each image, with shape (N), whose expectation is 0.

    Returns:
        Values with shape (N) of the same expectation; the same values for fewer than :data:`MIN_REGRESSION` images.
    """
    if len(values) < MIN_REGRESSION or not error.any():
        return values
    covariance = torch.cov(torch.stack([values, error]))
    return values - covariance[0, 1] / covariance[1, 1] * error


@dataclass(frozen=True)
class PosteriorSamples:
    """Samples of the posteriors of a set of images.

    Arguments:
        z: The samples, with shape (S, N, D).
        log_pz: log p(z) of each sample in float64, with shape (S, N).
        posteriors: The densities of the N posteriors.
        rates: The rate of each latent for each image, with shape (N, D), or (N, 1) if there is no rate per latent.
        factorizes: Whether both the prior and the posterior factorize over latents.
        same_prior: Whether the prior is the same for all images.
    """

    z: Tensor
    log_pz: Tensor
    posteriors: PosteriorDensities
    rates: Tensor
    factorizes: bool
    same_prior: bool


def sample_posteriors(model: Model, images: Dataset, num_samples: int, seed: int) -> PosteriorSamples:
    """Encodes all images and samples each posterior S times."""
    layers: list[LatentTerms] = []
    with model.inference():
        for x, labels, noise in with_noise(model, images, seed, f"encoding {len(images):,} images"):
            layers.append(model.latent_terms(x, labels, num_samples, noise.normal))
    rates = torch.cat([layer.rate() for layer in layers])
    point = layers[0].z[0, 0]
    log_pz_of_point = torch.cat([layer.pz.log_prob(point.expand(layer.z.shape[1:])) for layer in layers])
    return PosteriorSamples(
        z=torch.cat([layer.z for layer in layers], 1),
        log_pz=torch.cat([layer.pz.log_prob(layer.z).cpu().double() for layer in layers], 1),
        posteriors=posterior_densities([layer.qz for layer in layers]),
        rates=rates.detach().cpu().double(),
        factorizes=per_latent(layers[0].qz) is not None and per_latent(layers[0].pz) is not None,
        same_prior=torch.allclose(log_pz_of_point, log_pz_of_point[0], rtol=1e-4),
    )


def log_densities(samples: PosteriorSamples) -> tuple[Tensor, Tensor, Tensor]:
    """Evaluates each sample under its own posterior, the aggregate posterior, and the aggregate's marginals.

    Returns:
        log q(z|x), log q(z) and the sum over latents of log q(z_d), each in float64 with shape (S, N). The last is 0 if the
        latents do not factorize.
    """
    num_samples, num = samples.z.shape[:2]
    log_qzx = torch.empty(num_samples, num, dtype=torch.float64)
    log_qz, log_marginals = torch.empty_like(log_qzx), torch.zeros_like(log_qzx)
    log_num, chunk_size = math.log(num), max(1, MAX_DENSITIES // (num * samples.posteriors.numbers_per_pair))
    chunks = [(s, slice(n, min(n + chunk_size, num))) for s in range(num_samples) for n in range(0, num, chunk_size)]
    for s, rows in track(chunks, f"aggregate posterior of {num:,} images", len(chunks)):
        z = samples.z[s, rows]
        joint = samples.posteriors.joint(z)
        log_qzx[s, rows] = joint.diagonal(rows.start)  # the same values as in the sum below, so that I is at most log N
        log_qz[s, rows] = (joint - log_num).logsumexp(1)
        if samples.factorizes:
            for marginal in samples.posteriors.marginals(z):
                log_marginals[s, rows] += (marginal - log_num).logsumexp(1)
    return log_qzx, log_qz, log_marginals
