r"""Priors that are mixtures of Gaussians: one of parameters of its own, and one of the model's own posteriors.

.. math:: p(z) = \sum_{c=1}^C \pi_c \, \mathcal{N}(z; m_c, \mathrm{diag}\, s_c^2)

A mixture of hundreds of components is asked for its density at each sample of each step. The distances of every :math:`z`
from every component would be C times as many numbers as there are latents; by

.. math:: \sum_d \frac{(z_d - m_{cd})^2}{s_{cd}^2}
    = \sum_d z_d^2 \, s_{cd}^{-2} - 2 \sum_d z_d \, m_{cd} s_{cd}^{-2} + \sum_d m_{cd}^2 s_{cd}^{-2}

it takes two matrix products. Narrow components make it a difference of large numbers, so that it is computed in float64.

The optimal prior for a model is its aggregate posterior, :math:`\frac1N \sum_n q(z|x_n)` over the training images. The
VampPrior is of that form, with :math:`C \ll N` learned images, the pseudo-inputs :math:`u_c`:

.. math:: p(z) = \frac1C \sum_{c=1}^C q(z|u_c).

Neither has a KL in closed form: their rate is a Monte Carlo estimate, one number for all latents.

References:
    | VAE with a VampPrior (Tomczak & Welling, 2018), https://arxiv.org/abs/1705.07120
"""

import math
from hashlib import blake2b
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from vaekit.core.errors import ModelError
from vaekit.distributions.latents import Encode, Prior, is_diagonal_gaussian

BETWEEN = 0.5
"""The share of the variance that lies between the components of a new mixture; the rest is that of each component."""


class GaussianMixture(Distribution):
    """A mixture of C diagonal Gaussians over D latents, the same for all ``num`` of its batch.

    ``log_prob`` takes C numbers for each z, and not C x D. It is exact to the rounding of its result, also where components
    are narrow and far from zero (but in float32 alone on Apple's GPUs, which have nothing wider).

    Arguments:
        num: The batch shape, (num).
        means: Of the components, with shape (C, D).
        stddevs: Their standard deviations, with shape (C, D).
        log_weights: The logarithms of their weights, which sum to 1, with shape (C).
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "means": constraints.independent(constraints.real, 2),
        "stddevs": constraints.independent(constraints.positive, 2),
        "log_weights": constraints.real_vector,
    }
    support = constraints.real_vector

    def __init__(self, num: int, means: Tensor, stddevs: Tensor, log_weights: Tensor) -> None:
        self.means = means
        self.stddevs = stddevs
        self.log_weights = log_weights
        super().__init__(torch.Size([num]), means.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean, with shape (num, D)."""
        return self._mean.expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """The variance of each latent: within components and between them, with shape (num, D)."""
        parts = self.stddevs**2 + (self.means - self._mean) ** 2
        return (self._weights * parts).sum(0).expand(self._extended_shape())

    @property
    def _weights(self) -> Tensor:
        return self.log_weights.exp().unsqueeze(-1)

    @property
    def _mean(self) -> Tensor:
        return (self._weights * self.means).sum(0)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws latents of shape (*sample_shape, num, D): a component for each, then from it; without a gradient."""
        shape = torch.Size(sample_shape) + self.batch_shape
        with torch.no_grad():
            drawn = torch.multinomial(self.log_weights.exp(), shape.numel(), replacement=True).reshape(shape)
            means, stddevs = self.means[drawn], self.stddevs[drawn]
            return means + stddevs * torch.randn_like(means)

    def from_noise(self, noise: Tensor) -> Tensor:
        """Turns standard normal noise of shape (*, num, D) into draws of that shape, each from what is its own alone.

        A draw takes one number more, which chooses its component: a hash of its noise, as good as uniform.
        """
        rows = noise.detach().cpu().reshape(-1, noise.shape[-1]).contiguous().numpy()
        uniform = [int.from_bytes(blake2b(row.tobytes(), digest_size=6).digest(), "little") / 2**48 for row in rows]
        ends = self.log_weights.detach().double().exp().cumsum(0).cpu()
        drawn = torch.searchsorted(ends / ends[-1], torch.tensor(uniform, dtype=torch.float64), right=True)
        drawn = drawn.clamp(max=len(ends) - 1).reshape(noise.shape[:-1]).to(self.means.device)
        return self.means[drawn] + self.stddevs[drawn] * noise

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-density in nats of latents of shape (*, num, D), with shape (*, num)."""
        # Wide numbers: with z = 5 and s = 0.02 the terms are 6e4, and float32 would be wrong in the second decimal place of
        # each latent's share. Autocast leaves them alone, too.
        wide = torch.float32 if value.device.type == "mps" else torch.float64
        z, means, stddevs = value.to(wide), self.means.to(wide), self.stddevs.to(wide)
        precisions = stddevs**-2
        constants = (means**2 * precisions + 2 * stddevs.log() + math.log(2 * math.pi)).sum(-1)
        distances = (z**2) @ precisions.T - 2 * (z @ (means * precisions).T) + constants
        log_joint = self.log_weights.to(wide) - 0.5 * distances  # (*, num, C)
        return log_joint.logsumexp(-1).to(value.dtype).expand(torch.broadcast_shapes(value.shape[:-1], self.batch_shape))


class MixtureOfGaussians(Prior):
    r"""A mixture of diagonal Gaussians whose weights, means and log-variances are learned; it ignores the context.

    It begins as a draw of the means from :math:`\mathcal{N}(0, \tfrac12 I)` with variances of :math:`\tfrac12` around each:
    a lumpy standard normal.

    Arguments:
        latent_dim: D, how many latents.
        context_dim: E, how many numbers the context has.
        shape: An image's shape (C, H, W); it ignores that, too.
        num_components: C, how many Gaussians.
    """

    def __init__(
        self,
        latent_dim: int,
        context_dim: int = 0,
        shape: tuple[int, int, int] | None = None,
        num_components: PositiveInt = 100,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.context_dim = context_dim
        self.shape = shape
        self.num_components = num_components
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.means = nn.Parameter(BETWEEN**0.5 * torch.randn(num_components, latent_dim))
        self.logvars = nn.Parameter(torch.full((num_components, latent_dim), math.log(1 - BETWEEN)))

    def forward(self, num: int, context: Tensor | None = None, encode: Encode | None = None) -> GaussianMixture:
        """Returns the mixture with batch shape (num) and event shape (D)."""
        stddevs = torch.exp(0.5 * self.logvars.float())
        return GaussianMixture(num, self.means.float(), stddevs, self.logits.float().log_softmax(0))


class VampPrior(Prior):
    r"""The mean of the model's own posteriors of learned images, the pseudo-inputs.

    Pseudo-inputs are parameters clipped to the unit interval and at first a draw from a normal distribution, by default the
    paper's for MNIST. A pixel that is clipped has no gradient and stays as it is.

    Where a model is conditional each pseudo-input has a learned context of its own, and that of images is ignored.

    References:
        | VAE with a VampPrior (Tomczak & Welling, 2018), https://arxiv.org/abs/1705.07120

    Arguments:
        latent_dim: D, how many latents.
        shape: An image's shape (C, H, W), and a pseudo-input's.
        context_dim: E, how many numbers the context has.
        num_components: How many pseudo-inputs.
        mean: Of a pseudo-input's pixels at first.
        spread: Their standard deviation at first.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: tuple[int, int, int],
        context_dim: int = 0,
        num_components: PositiveInt = 500,
        mean: Annotated[float, Field(ge=0, le=1)] = 0.05,
        spread: PositiveFloat = 0.01,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = shape
        self.context_dim = context_dim
        self.num_components = num_components
        self.mean = mean
        self.spread = spread
        self.pseudo_inputs = nn.Parameter(mean + spread * torch.randn(num_components, *shape))
        self.contexts = nn.Parameter(torch.randn(num_components, context_dim)) if context_dim else None

    def forward(self, num: int, context: Tensor | None = None, encode: Encode | None = None) -> GaussianMixture:
        """Returns the mixture with batch shape (num) and event shape (D); gradients reach encoder and pseudo-inputs.

        Raises:
            ModelError: If there is no ``encode``, or what it returns is not a diagonal Gaussian.
        """
        if encode is None:
            raise ModelError("the prior vamp is made of the model's q(z|x): call it with encode, as VAE does")
        qz = encode(self.pseudo_inputs.clamp(0, 1), self.contexts)
        if not is_diagonal_gaussian(qz):
            raise ModelError(
                f"the prior vamp needs a posterior that is a diagonal Gaussian, got {type(qz).__name__}; "
                "choose the posterior diagonal-gaussian, or another prior"
            )
        log_weights = qz.mean.new_full((self.num_components,), -math.log(self.num_components))
        return GaussianMixture(num, qz.mean, qz.stddev, log_weights)
