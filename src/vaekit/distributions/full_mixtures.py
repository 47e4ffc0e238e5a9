r"""Gaussians and mixtures of Gaussians with full covariances, fitted to the latents of a trained model.

.. math:: p(z|g) = \sum_{c=1}^C \pi_{gc} \, \mathcal{N}(z; m_{gc}, L_{gc} L_{gc}^\top)

with a mixture for each class g if the model is conditional, and one mixture otherwise. The Gaussian, C = 1, that maximizes
:math:`\mathbb{E}_{q(z)} \log p(z)` has the mean and the covariance of the aggregate posterior
(:mod:`vaekit.distributions.latent_set`), in closed form. A mixture is fitted to samples of the aggregate posterior by the
expectation-maximization algorithm of scikit-learn. Log-densities are computed in float64.

References:
    | From Variational to Deterministic Autoencoders (Ghosh et al., 2019), https://arxiv.org/abs/1903.12436
    | Maximum Likelihood from Incomplete Data via the EM Algorithm (Dempster et al., 1977),
      https://doi.org/10.1111/j.2517-6161.1977.tb01600.x
"""

import math
import warnings
from hashlib import blake2b
from typing import Any, ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from vaekit.core.rng import generator
from vaekit.distributions.bounded_scale import scale_of
from vaekit.distributions.latent_set import FitSchedule, LatentSet
from vaekit.distributions.priors import Encode, Prior

MAX_ITERATIONS = 100
"""The maximum number of iterations of expectation-maximization."""
JITTER = 1e-6
"""What is added to the variances of a covariance, as a share of their mean, so that it has a Cholesky factor."""


class FullMixture(Distribution):
    """Mixtures of C Gaussians with full covariances, one mixture for each of G groups.

    Arguments:
        groups: The group of each element of the batch, with shape (B).
        log_weights: The logarithms of the weights, with shape (G, C).
        means: The means, with shape (G, C, D).
        factors: The lower Cholesky factors of the covariances, with shape (G, C, D, D).
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector

    def __init__(self, groups: Tensor, log_weights: Tensor, means: Tensor, factors: Tensor) -> None:
        self.groups = groups
        self.log_weights = log_weights
        self.means = means
        self.factors = factors
        super().__init__(groups.shape, means.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean, with shape (B, D)."""
        return self._mean[self.groups]

    @property
    def variance(self) -> Tensor:
        """The variance of each latent, within and between components, with shape (B, D)."""
        within = (self.factors**2).sum(-1)
        between = (self.means - self._mean.unsqueeze(1)) ** 2
        return (self._weights * (within + between)).sum(1)[self.groups]

    @property
    def _weights(self) -> Tensor:
        return self.log_weights.exp().unsqueeze(-1)

    @property
    def _mean(self) -> Tensor:
        return (self._weights * self.means).sum(1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples latents of shape (*sample_shape, B, D), without a gradient."""
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            noise = torch.randn(shape, dtype=self.means.dtype).to(self.means.device)
            return self._transform(noise, torch.rand(shape[:-1], dtype=torch.float64))

    def from_noise(self, noise: Tensor) -> Tensor:
        """Turns standard normal noise of shape (*, B, D) into samples of the same shape.

        Each sample is a function of its own noise alone, whose hash chooses the component.
        """
        rows = noise.detach().cpu().reshape(-1, noise.shape[-1]).contiguous().numpy()
        uniform = [int.from_bytes(blake2b(row.tobytes(), digest_size=6).digest(), "little") / 2**48 for row in rows]
        return self._transform(noise, torch.tensor(uniform, dtype=torch.float64).reshape(noise.shape[:-1]))

    def _transform(self, noise: Tensor, uniform: Tensor) -> Tensor:
        """Noise of shape (*, B, D), with the components that uniform numbers of shape (*, B) choose."""
        cumulative = self.log_weights.detach().double().exp().cumsum(1).cpu()
        bounds = (cumulative / cumulative[:, -1:])[self.groups.cpu()]
        chosen = (uniform.unsqueeze(-1) >= bounds).sum(-1).clamp(max=self.means.shape[1] - 1).to(noise.device)
        groups = self.groups.expand(chosen.shape)
        result = self.means[groups, chosen].to(noise.dtype)
        for group, component in torch.stack([groups.flatten(), chosen.flatten()], 1).unique(dim=0).tolist():
            mask = (groups == group) & (chosen == component)
            result[mask] += noise[mask] @ self.factors[group, component].T
        return result

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-density in nats of latents of shape (*, B, D), with shape (*, B)."""
        dtype = torch.float32 if value.device.type == "mps" else torch.float64
        z = value.to(dtype).expand(*value.shape[:-2], *self._extended_shape())
        result = z.new_empty(z.shape[:-1])
        for group in self.groups.unique().tolist():
            mask = self.groups == group
            result[..., mask] = self._log_density(z[..., mask, :], group)
        return result.to(value.dtype)

    def _log_density(self, z: Tensor, group: int) -> Tensor:
        """The log-density of latents of shape (*, D) of a group, with shape (*)."""
        joint = []
        for log_weight, mean, factor in zip(
            self.log_weights[group], self.means[group], self.factors[group].to(z.dtype), strict=True
        ):
            centered = (z - mean).reshape(-1, z.shape[-1])
            white = torch.linalg.solve_triangular(factor, centered.T, upper=False)
            constant = log_weight - factor.diagonal().log().sum() - 0.5 * z.shape[-1] * math.log(2 * math.pi)
            joint.append(constant - 0.5 * (white**2).sum(0))
        return torch.stack(joint).logsumexp(0).reshape(z.shape[:-1])


class FullCovariancePrior(Prior):
    """The parameters of :class:`FullMixture`: weights, means and Cholesky factors, of each class if there is a context.

    Arguments:
        latent_dim: D, the number of latents.
        context_dim: E, the size of the context.
        num_components: C, the number of Gaussians.
    """

    schedule = FitSchedule(steps=0)

    def __init__(self, latent_dim: int, context_dim: int, num_components: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.context_dim = context_dim
        shape = max(1, context_dim), num_components
        self.logits = nn.Parameter(torch.zeros(shape))
        self.means = nn.Parameter(torch.randn(*shape, latent_dim) * (0.5 if num_components > 1 else 0.0))
        self.log_diagonals = nn.Parameter(torch.zeros(*shape, latent_dim))
        self.lower = nn.Parameter(torch.zeros(*shape, latent_dim, latent_dim))

    def forward(self, batch_size: int, context: Tensor | None = None, encode: Encode | None = None) -> FullMixture:
        """Returns the mixture with batch shape (B) and event shape (D); the largest entry of a context is its class."""
        device = self.means.device
        groups = torch.zeros(batch_size, dtype=torch.int64, device=device) if context is None else context.argmax(1)
        factors = self.lower.float().tril(-1) + torch.diag_embed(scale_of(self.log_diagonals.float()))
        return FullMixture(groups, self.logits.float().log_softmax(1), self.means.float(), factors)

    def set_group(self, group: int, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        """Sets the mixture of a group.

        Arguments:
            group: The number of the group.
            weights: The weights, with shape (C).
            means: The means, with shape (C, D).
            covariances: The covariances, with shape (C, D, D).
        """
        variances = covariances.diagonal(dim1=-2, dim2=-1).mean(-1)
        jitter = JITTER * variances[:, None, None] * torch.eye(self.latent_dim, dtype=covariances.dtype)
        factors = torch.linalg.cholesky(covariances + jitter)
        with torch.no_grad():
            self.logits[group] = weights.clamp(min=1e-12).log()
            self.means[group] = means
            self.log_diagonals[group] = factors.diagonal(dim1=-2, dim2=-1).log()
            self.lower[group] = factors


class GaussianPrior(FullCovariancePrior):
    """A Gaussian with full covariance, of each class if the model is conditional.

    Arguments:
        latent_dim: D, the number of latents.
        context_dim: E, the size of the context.
        shape: The shape of an image (C, H, W). Not used.
    """

    def __init__(self, latent_dim: int, context_dim: int = 0, shape: tuple[int, ...] | None = None) -> None:
        super().__init__(latent_dim, context_dim, 1)
        self.shape = shape

    def start(self, latents: LatentSet, seed: int) -> None:
        """Sets mean and covariance to those of the aggregate posterior, which is the best fit."""
        for group, part in enumerate(latents.by_group(len(self.means))):
            self.set_group(group, torch.ones(1), part.mean.cpu()[None], part.covariance.cpu()[None])


class MixturePrior(FullCovariancePrior):
    """A mixture of Gaussians with full covariances, of each class if the model is conditional.

    Arguments:
        latent_dim: D, the number of latents.
        context_dim: E, the size of the context.
        shape: The shape of an image (C, H, W). Not used.
        num_components: C, the number of Gaussians.
        max_samples: The number of samples of the aggregate posterior that each mixture is fitted to.
        min_variance: What is added to the variance of each latent in each Gaussian.
    """

    def __init__(
        self,
        latent_dim: int,
        context_dim: int = 0,
        shape: tuple[int, ...] | None = None,
        num_components: PositiveInt = 40,
        max_samples: PositiveInt = 50_000,
        min_variance: PositiveFloat = 1e-4,
    ) -> None:
        super().__init__(latent_dim, context_dim, num_components)
        self.shape = shape
        self.num_components = num_components
        self.max_samples = max_samples
        self.min_variance = min_variance

    def start(self, latents: LatentSet, seed: int) -> None:
        """Fits the mixtures by expectation-maximization, beginning with k-means."""
        for group, part in enumerate(latents.by_group(len(self.means))):
            self._fit_group(group, part, seed)

    def _fit_group(self, group: int, part: LatentSet, seed: int) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        source, repeats = generator(seed), math.ceil(self.max_samples / len(part))
        rows = torch.cat([torch.randperm(len(part), generator=source) for _ in range(repeats)])[: self.max_samples]
        z, _ = part.sample(rows, source)
        options: dict[str, Any] = {"reg_covar": self.min_variance, "max_iter": MAX_ITERATIONS, "random_state": seed % 2**32}
        mixture = GaussianMixture(self.num_components, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the last iteration is good enough
            mixture.fit(z.double().cpu().numpy())
        parts = (mixture.weights_, mixture.means_, mixture.covariances_)
        self.set_group(group, *(torch.from_numpy(value) for value in parts))
