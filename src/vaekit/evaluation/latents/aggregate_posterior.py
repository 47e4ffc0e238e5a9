r"""What the rate is made of: the aggregate posterior of a set of images, exactly.

With the **aggregate posterior** :math:`q(z) = \frac1N \sum_n q(z|x_n)` over the N images of a set the mean rate has two
parts, and where posterior and prior factorize over latents the second has two again:

.. math::
    \frac1N \sum_n \mathrm{KL}(q(z|x_n) \,\|\, p(z))
        &= \underbrace{\mathbb{E} \log \frac{q(z|x)}{q(z)}}_{\text{mutual information } I}
         + \underbrace{\mathbb{E} \log \frac{q(z)}{p(z)}}_{\mathrm{KL}(q(z) \| p(z))} \\
    \mathrm{KL}(q(z) \,\|\, p(z))
        &= \underbrace{\mathbb{E} \log \frac{q(z)}{\prod_d q(z_d)}}_{\text{total correlation}}
         + \underbrace{\sum_d \mathrm{KL}(q(z_d) \,\|\, p(z_d))}_{\text{dimension-wise}}

The expectations are means over S samples of each :math:`q(z|x_n)`; the densities within are sums over all N posteriors, so
nothing else is estimated. The image that z was drawn from is one of the N terms, as it is in q(z).

**What N images can say.** :math:`I \le \log N`: N codes that do not overlap are told apart, and that is all there is to
know. Near that ceiling I is a lower bound of what z says of images at large, and KL(q(z) || p(z)), with the total
correlation in it, is too high by what is missing. Further down, the N images stand for all others but for an error of the
order of 1 / N: I is too low, and KL(q(z) || p(z)) too high, by

.. math:: \frac{\chi^2}{2N}, \qquad \chi^2 = \mathbb{E}_{q(z)} \mathrm{Var}_x \Big(\frac{q(z|x)}{q(z)}\Big).

**Minibatches.** Training cannot sum over N posteriors, and estimates q(z), and each :math:`q(z_d)`, from a batch. Both forms
of Chen et al. are here, to see how good they are. With z drawn from image n of a batch of M:

.. math::
    \text{weighted} \quad & \frac{1}{NM} \sum_m q(z|x_m) \\
    \text{stratified} \quad & \frac1N q(z|x_n) + \frac{1}{M - 1} \sum_{m \ne n, l} q(z|x_m)
        + \frac{N - M + 1}{N (M - 1)} q(z|x_l), \quad l \text{ one of the others}

The second is unbiased for q(z) (not for its logarithm). The first is biased low: with M = N it is q(z) / N. So I is up to
:math:`\log N` too high and the total correlation up to :math:`(D - 1) \log N`; gradients do not mind, numbers do.

References:
    | ELBO surgery (Hoffman & Johnson, 2016), http://approximateinference.org/accepted/HoffmanJohnson2016.pdf
    | Isolating Sources of Disentanglement in VAEs (Chen et al., 2018), https://arxiv.org/abs/1802.04942
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vaekit.core.errors import ConfigError, DataError, suggest
from vaekit.core.progress import track
from vaekit.core.rng import generator
from vaekit.core.terms import LatentTerms
from vaekit.core.units import NATS
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import LATENTS, Estimate, mean_over_images
from vaekit.evaluation.likelihood.bounds import with_noise
from vaekit.models import VAE

Estimator = Literal["exact", "weighted", "stratified"]

CHUNK_NUMBERS = 2**20
"""How many densities are held at a time: 8 MB of float64."""

SATURATED = 0.95
"""Above this share of log N the mutual information says how many images there are rather than what z carries."""


@dataclass(frozen=True)
class Aggregate:
    """The parts of the rate, each a mean over images with its standard error for q(z) as it is.

    All are made from the same samples of z, so that the parts add up to the whole.

    Arguments:
        rate: KL(q(z|x) || p(z)).
        mutual_information: :math:`I`, at most log N (but by the weighted estimator).
        aggregate_kl: KL(q(z) || p(z)); None where the prior differs from image to image.
        total_correlation: How far the latents of q(z) are from independent; None where ``aggregate_kl`` is, or where
            prior or posterior does not factorize over latents.
        dimension_wise_kl: The sum of KL(q(z_d) || p(z_d)); None where ``total_correlation`` is.
        rates: The mean over images of KL(q(z|x) || p(z)) for each latent, in closed form where there is one; a single
            number where prior or posterior does not factorize.
        estimator: How q(z) was computed.
    """

    rate: Estimate
    mutual_information: Estimate
    aggregate_kl: Estimate | None
    total_correlation: Estimate | None
    dimension_wise_kl: Estimate | None
    rates: list[float]
    estimator: Estimator

    @property
    def log_num_images(self) -> float:
        """Log N, the most that the mutual information can be."""
        return math.log(self.rate.num_images)

    @property
    def saturated(self) -> bool:
        """Whether the mutual information is so near to log N that it is only a lower bound of what z carries."""
        return self.mutual_information.value > SATURATED * self.log_num_images

    def to_data(self) -> dict[str, Any]:
        """Returns the parts as a dictionary that JSON can hold, without those that do not exist."""
        parts = {
            "rate": self.rate,
            "mutual_information": self.mutual_information,
            "aggregate_kl": self.aggregate_kl,
            "total_correlation": self.total_correlation,
            "dimension_wise_kl": self.dimension_wise_kl,
        }
        return {name: part.to_data() for name, part in parts.items() if part is not None} | {
            "rates": self.rates,
            "estimator": self.estimator,
            "log_num_images": self.log_num_images,
            "saturated": self.saturated,
        }


def aggregate_terms(
    model: VAE,
    images: ImageSet,
    *,
    num_samples: int = 1,
    seed: int = 0,
    estimator: Estimator = "exact",
    batch_size: int = 256,
) -> Aggregate:
    r"""Takes the rate apart over a set of images.

    The time goes with :math:`S N^2 D`: diagonal Gaussians take half a second for each latent of 10,000 images. Posteriors
    of another kind, a flow say, are asked for :math:`S N^2` densities by their networks; give a thousand images of these.

    Of a conditional model q(z) is the mean over images and their labels. It is compared with p(z) where the prior is the
    same for every image, and left out where the prior listens to the label; the mutual information is there either way.

    Arguments:
        model: The model.
        images: The images, two at least.
        num_samples: S, how many samples of z for each image.
        seed: The seed of samples and batches; the global generators are left alone, and each estimator sees the same z.
        estimator: How q(z) is computed: ``exact`` from all images, ``weighted`` or ``stratified`` from batches.
        batch_size: M of the latter two; batches are made equal, of M images at least, or of all if there are fewer.

    Raises:
        ConfigError: If there is no such estimator, or a number is too small.
        DataError: If there is only one image.
    """
    if estimator not in get_args(Estimator):
        raise ConfigError(f"estimator {estimator!r}: no such estimator{suggest(estimator, get_args(Estimator))}")
    if num_samples < 1:
        raise ConfigError(f"num_samples must be at least 1, got {num_samples}")
    if batch_size < 2:
        raise ConfigError(f"batch_size must be at least 2, got {batch_size}")
    if len(images) < 2:
        raise DataError(f"{images.name}: one image has no aggregate posterior; give more of them")
    shuffled = images.take(torch.randperm(len(images), generator=generator(seed)))  # so that a batch is a slice of them
    size = len(images) if estimator == "exact" else batch_size
    with model.inference():
        draws = draw(model, shuffled, num_samples, seed)
        log_qzx, log_qz, log_marginals = log_densities(draws, estimator, size)

    def mean(values: Tensor) -> Estimate:
        return mean_over_images(values.mean(0), NATS, num_samples, LATENTS)

    splits = draws.same_prior and draws.factorizes
    return Aggregate(
        rate=mean(log_qzx - draws.log_pz),
        mutual_information=mean(log_qzx - log_qz),
        aggregate_kl=mean(log_qz - draws.log_pz) if draws.same_prior else None,
        total_correlation=mean(log_qz - log_marginals) if splits else None,
        dimension_wise_kl=mean(log_marginals - draws.log_pz) if splits else None,
        rates=draws.rates.tolist(),
        estimator=estimator,
    )


class Posteriors(ABC):
    """The N posteriors that q(z) is the mean of.

    Attributes:
        width: How many numbers are held for each pair of a z and an image.
    """

    width: int

    @abstractmethod
    def joint(self, z: Tensor, images: slice) -> Tensor:
        """Returns log q(z|x_n) in float64 on the CPU, with shape (R, n), for z of shape (R, D) and n images."""

    @abstractmethod
    def marginals(self, z: Tensor, images: slice) -> Iterator[Tensor]:
        """Yields log q(z_d|x_n) in float64 on the CPU, with shape (R, n), for each latent d; they must factorize."""


class GaussianPosteriors(Posteriors):
    r"""Diagonal Gaussians, whose joint density is a product of matrices.

    .. math:: \log q(z|x) = -\tfrac12 z^2 \cdot \sigma^{-2} + z \cdot \mu \sigma^{-2}
              - \tfrac12 \mu^2 \cdot \sigma^{-2} - \textstyle\sum_d \log \sigma_d - \tfrac D2 \log 2\pi

    Arguments:
        means: With shape (N, D).
        stddevs: With shape (N, D).
    """

    width = 1

    def __init__(self, means: Tensor, stddevs: Tensor) -> None:
        means, stddevs = (
            means.cpu().double(),
            stddevs.cpu().double(),
        )  # the squares above cancel; float32 would lose what is left
        precisions = stddevs**-2
        logs = -stddevs.log() - 0.5 * math.log(2 * math.pi)
        self._weights = torch.cat([-0.5 * precisions, means * precisions], 1)
        self._constants = (logs - 0.5 * means**2 * precisions).sum(1)
        self._means, self._inverses, self._logs = means.T.contiguous(), 1 / stddevs.T.contiguous(), logs.T.contiguous()

    def joint(self, z: Tensor, images: slice) -> Tensor:
        """Returns log q(z|x_n), with shape (R, n)."""
        z = z.cpu().double()
        return torch.addmm(self._constants[images], torch.cat([z**2, z], 1), self._weights[images].T)

    def marginals(self, z: Tensor, images: slice) -> Iterator[Tensor]:
        """Yields log q(z_d|x_n), with shape (R, n), for each latent."""
        parameters = zip(self._means, self._inverses, self._logs, strict=True)
        for z_d, (mean, inverse, log) in zip(z.cpu().double().T, parameters, strict=True):
            score = (z_d.unsqueeze(1) - mean[images]).mul_(inverse[images])
            yield score.square_().mul_(-0.5).add_(log[images])


class OtherPosteriors(Posteriors):
    """Distributions of any kind, asked one by one.

    Arguments:
        parts: q(z|x) of some images each, with batch shape (B) and event shape (D).
    """

    def __init__(self, parts: list[Distribution]) -> None:
        self.width = parts[0].event_shape[0]
        self._parts = parts

    def joint(self, z: Tensor, images: slice) -> Tensor:
        """Returns log q(z|x_n), with shape (R, n)."""
        return self._log_prob(self._parts, z, images)

    def marginals(self, z: Tensor, images: slice) -> Iterator[Tensor]:
        """Yields log q(z_d|x_n), with shape (R, n), for each latent."""
        yield from self._log_prob([part for q in self._parts if (part := factors(q))], z, images).unbind(-1)

    def _log_prob(self, parts: list[Distribution], z: Tensor, images: slice) -> Tensor:
        """The log-probabilities of the parts that any of the images lie in, with shape (R, n) or (R, n, D)."""
        found, start = [], 0
        for q in parts:
            num = q.batch_shape[0]
            first, last = max(images.start - start, 0), min(images.stop - start, num)
            if first < last:
                log_prob = q.log_prob(z.unsqueeze(1).expand(-1, num, -1))
                found.append(log_prob[:, first:last].cpu().double())
            start += num
        return torch.cat(found, 1)


@dataclass(frozen=True)
class Draws:
    """Samples of all posteriors of a set.

    Arguments:
        z: With shape (S, N, D).
        log_pz: log p(z) of each in float64, with shape (S, N).
        posteriors: The posteriors.
        rates: The mean rate of each latent, with shape (D) or (1).
        factorizes: Whether both prior and posterior do.
        same_prior: Whether the prior is the same for all images.
    """

    z: Tensor
    log_pz: Tensor
    posteriors: Posteriors
    rates: Tensor
    factorizes: bool
    same_prior: bool


def factors(distribution: Distribution) -> Distribution | None:
    """Returns the distributions of single latents, with batch shape (B, D), that a factorized one consists of, or None."""
    if isinstance(distribution, Independent) and not distribution.base_dist.event_shape:
        base: Distribution = distribution.base_dist
        return base
    return None


def draw(model: VAE, images: ImageSet, num_samples: int, seed: int) -> Draws:
    """Encodes all images and draws S samples of each posterior."""
    layers: list[LatentTerms] = []
    with model.inference():
        for x, labels, noise in with_noise(model, images, seed, f"encoding {len(images):,} images"):
            layers.append(model.latent_terms(x, labels, num_samples, noise.normal))
    rates = torch.cat([layer.rate() for layer in layers])
    # A prior that is the same for all images says the same of one point, whichever image it is asked for.
    point = layers[0].z[0, 0]
    said = torch.cat([layer.pz.log_prob(point.expand(layer.z.shape[1:])) for layer in layers])
    return Draws(
        z=torch.cat([layer.z for layer in layers], 1),
        log_pz=torch.cat([layer.pz.log_prob(layer.z).cpu().double() for layer in layers], 1),
        posteriors=_posteriors([layer.qz for layer in layers]),
        rates=rates.cpu().double().mean(0),
        factorizes=factors(layers[0].qz) is not None and factors(layers[0].pz) is not None,
        same_prior=torch.allclose(said, said[0], rtol=1e-4),
    )


def log_densities(draws: Draws, estimator: Estimator, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Computes what the samples are under their own posterior and under the aggregate.

    Arguments:
        draws: The samples.
        estimator: How q(z) is computed.
        batch_size: From how many images.

    Returns:
        log q(z|x), log q(z) and the sum of log q(z_d), 0 where latents do not factorize; each in float64 with shape (S, N).
    """
    num_samples, num = draws.z.shape[:2]
    log_qzx = torch.empty(num_samples, num, dtype=torch.float64)
    log_qz, log_marginals = torch.empty_like(log_qzx), torch.zeros_like(log_qzx)
    work = [(s, rows, batch) for s in range(num_samples) for rows, batch in _blocks(num, batch_size, draws.posteriors.width)]
    for s, rows, batch in track(work, f"aggregate posterior of {num:,} images", len(work)):
        z, within = draws.z[s, rows], slice(rows.start - batch.start, rows.stop - batch.start)
        weights = log_weights(estimator, num, batch.stop - batch.start, within)
        joint = draws.posteriors.joint(z, batch)
        log_qzx[s, rows] = joint.diagonal(within.start)  # the same numbers as in the sum, so that I keeps below log N
        log_qz[s, rows] = (joint + weights).logsumexp(1)
        if draws.factorizes:
            for marginal in draws.posteriors.marginals(z, batch):
                log_marginals[s, rows] += (marginal + weights).logsumexp(1)
    return log_qzx, log_qz, log_marginals


def log_weights(estimator: Estimator, num: int, size: int, rows: slice = slice(None)) -> Tensor:
    """Returns the log of what each posterior of a batch counts for in q(z).

    Arguments:
        estimator: How q(z) is computed.
        num: N, how many images there are.
        size: M, how many of them the batch has.
        rows: For the samples of which images of the batch; all by default.

    Returns:
        Weights in float64, with shape (R, M), or (1, 1) where they are all the same.
    """
    if estimator == "exact":
        return torch.full((1, 1), -math.log(num), dtype=torch.float64)
    if estimator == "weighted":
        return torch.full((1, 1), -math.log(num * size), dtype=torch.float64)
    own = torch.arange(size)[rows]
    row = torch.arange(len(own))
    others = size - 1
    weights = torch.full((len(own), size), 1 / others, dtype=torch.float64)
    weights[row, own] = 1 / num
    weights[row, (own + 1) % size] = (num - others) / (num * others)
    return weights.log()


def _posteriors(parts: list[Distribution]) -> Posteriors:
    bases = [base for part in parts if isinstance(base := factors(part), Normal)]
    if len(bases) == len(parts):
        return GaussianPosteriors(torch.cat([base.loc for base in bases]), torch.cat([base.scale for base in bases]))
    return OtherPosteriors(parts)


def _blocks(num: int, batch_size: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yields some samples at a time with the batch of images whose posteriors they are weighed against."""
    num_batches = max(1, num // batch_size)
    for start, stop in pairwise(num * i // num_batches for i in range(num_batches + 1)):
        step = max(1, CHUNK_NUMBERS // ((stop - start) * width))
        for first in range(start, stop, step):
            yield slice(first, min(first + step, stop)), slice(start, stop)
