r"""Densities of the posteriors of a set of images: log q(z|x_n) of every z under every image's posterior.

Diagonal Gaussians are evaluated by a matrix product,

.. math:: \log q(z|x) = -\tfrac12 z^2 \cdot \sigma^{-2} + z \cdot \mu \sigma^{-2}
          - \tfrac12 \mu^2 \cdot \sigma^{-2} - \textstyle\sum_d \log \sigma_d - \tfrac D2 \log 2\pi,

other posteriors by their ``log_prob``. All densities are float64 on the CPU.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal


class PosteriorDensities(ABC):
    """Evaluates z under each of N posteriors.

    Attributes:
        numbers_per_pair: The number of float64 values held in memory for each pair of a z and a posterior.
    """

    numbers_per_pair: int

    @abstractmethod
    def joint(self, z: Tensor) -> Tensor:
        """Returns log q(z|x_n), with shape (R, N), for z of shape (R, D)."""

    @abstractmethod
    def marginals(self, z: Tensor) -> Iterator[Tensor]:
        """Yields log q(z_d|x_n), with shape (R, N), for each latent d. The posteriors must factorize over latents."""


class GaussianDensities(PosteriorDensities):
    """Evaluates z under diagonal Gaussians.

    Arguments:
        means: The means, with shape (N, D).
        stddevs: The standard deviations, with shape (N, D).
    """

    numbers_per_pair = 1

    def __init__(self, means: Tensor, stddevs: Tensor) -> None:
        means, stddevs = means.cpu().double(), stddevs.cpu().double()  # float32 is too coarse: the squares nearly cancel
        precisions = stddevs**-2
        logs = -stddevs.log() - 0.5 * math.log(2 * math.pi)
        self._weights = torch.cat([-0.5 * precisions, means * precisions], 1)
        self._constants = (logs - 0.5 * means**2 * precisions).sum(1)
        self._means, self._inverses, self._logs = means.T.contiguous(), 1 / stddevs.T.contiguous(), logs.T.contiguous()

    def joint(self, z: Tensor) -> Tensor:
        """Returns log q(z|x_n), with shape (R, N)."""
        z = z.cpu().double()
        return torch.addmm(self._constants, torch.cat([z**2, z], 1), self._weights.T)

    def marginals(self, z: Tensor) -> Iterator[Tensor]:
        """Yields log q(z_d|x_n), with shape (R, N), for each latent."""
        parameters = zip(self._means, self._inverses, self._logs, strict=True)
        for z_d, (mean, inverse, log) in zip(z.cpu().double().T, parameters, strict=True):
            standardized = (z_d.unsqueeze(1) - mean).mul_(inverse)
            yield standardized.square_().mul_(-0.5).add_(log)


class GenericDensities(PosteriorDensities):
    """Evaluates z under posteriors of any kind.

    Arguments:
        batches: q(z|x) of the images, in batches: each with batch shape (B) and event shape (D).
    """

    def __init__(self, batches: Sequence[Distribution]) -> None:
        self.numbers_per_pair = batches[0].event_shape[0]
        self._batches = batches

    def joint(self, z: Tensor) -> Tensor:
        """Returns log q(z|x_n), with shape (R, N)."""
        return _log_prob(self._batches, z)

    def marginals(self, z: Tensor) -> Iterator[Tensor]:
        """Yields log q(z_d|x_n), with shape (R, N), for each latent."""
        yield from _log_prob([base for qz in self._batches if (base := per_latent(qz))], z).unbind(-1)


def posterior_densities(batches: Sequence[Distribution]) -> PosteriorDensities:
    """Returns the densities of posteriors that come in batches, each with batch shape (B) and event shape (D)."""
    bases = [base for qz in batches if isinstance(base := per_latent(qz), Normal)]
    if len(bases) == len(batches):
        return GaussianDensities(torch.cat([base.loc for base in bases]), torch.cat([base.scale for base in bases]))
    return GenericDensities(batches)


def per_latent(distribution: Distribution) -> Distribution | None:
    """Returns the distribution of each latent, with batch shape (B, D), or None if the latents are not independent."""
    if isinstance(distribution, Independent) and not distribution.base_dist.event_shape:
        base: Distribution = distribution.base_dist
        return base
    return None


def _log_prob(batches: Sequence[Distribution], z: Tensor) -> Tensor:
    """Log-densities with shape (R, N), or (R, N, D) of distributions of single latents."""
    log_probs = [qz.log_prob(z.unsqueeze(1).expand(-1, qz.batch_shape[0], -1)).cpu().double() for qz in batches]
    return torch.cat(log_probs, 1)
