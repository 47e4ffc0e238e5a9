r"""Mixtures of Gaussians as priors: one with free parameters, and one of the model's own posteriors.

.. math:: p(z) = \sum_{c=1}^C \pi_c \, \mathcal{N}(z; m_c, \mathrm{diag}\, s_c^2)

Every training step evaluates the density of every sample under hundreds of components. The differences between each
:math:`z` and each component would take C x D numbers per sample. With

.. math:: \sum_d \frac{(z_d - m_{cd})^2}{s_{cd}^2}
    = \sum_d z_d^2 \, s_{cd}^{-2} - 2 \sum_d z_d \, m_{cd} s_{cd}^{-2} + \sum_d m_{cd}^2 s_{cd}^{-2}

the density takes two matrix products and C numbers per sample. For narrow components this is a difference of large numbers,
so it is computed in float64.

The prior that maximizes the ELBO of a given encoder and decoder is the aggregate posterior, :math:`\frac1N \sum_n q(z|x_n)`
over the training images. The VampPrior has the same form, with :math:`C \ll N` learned images, the pseudo-inputs
:math:`u_c`:

.. math:: p(z) = \frac1C \sum_{c=1}^C q(z|u_c).

The KL divergence to a mixture has no closed form. The rate is a Monte Carlo estimate, one number for all latents.

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
from vaekit.distributions.bounded_scale import stddev_of
from vaekit.distributions.priors import Encode, Prior
from vaekit.distributions.reparameterization import is_diagonal_gaussian

BETWEEN_COMPONENTS = 0.5
"""The fraction of the variance between the components of a new mixture. The rest is the variance of each component."""


class GaussianMixture(Distribution):
    """A mixture of C diagonal Gaussians over D latents, the same for the whole batch.

    ``log_prob`` is exact to the rounding of its result, also for narrow components far from zero. On Apple GPUs, which have
    no float64, it is computed in float32 and less exact.

    Arguments:
        batch_size: B. The batch shape is (B).
        means: The means of the components, with shape (C, D).
        stddevs: The standard deviations of the components, with shape (C, D).
        log_weights: The logarithms of the weights, which sum to 1, with shape (C).
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "means": constraints.independent(constraints.real, 2),
        "stddevs": constraints.independent(constraints.positive, 2),
        "log_weights": constraints.real_vector,
    }
    support = constraints.real_vector

    def __init__(self, batch_size: int, means: Tensor, stddevs: Tensor, log_weights: Tensor) -> None:
        self.means = means
        self.stddevs = stddevs
        self.log_weights = log_weights
        super().__init__(torch.Size([batch_size]), means.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean, with shape (B, D)."""
        return self._mean.expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """The variance of each latent, within and between components, with shape (B, D)."""
        squares = self.stddevs**2 + (self.means - self._mean) ** 2
        return (self._weights * squares).sum(0).expand(self._extended_shape())

    @property
    def _weights(self) -> Tensor:
        return self.log_weights.exp().unsqueeze(-1)

    @property
    def _mean(self) -> Tensor:
        return (self._weights * self.means).sum(0)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples latents of shape (*sample_shape, B, D), without a gradient; NaN if a weight is NaN."""
        shape = torch.Size(sample_shape) + self.batch_shape
        with torch.no_grad():
            weights = self.log_weights.exp()
            component = torch.multinomial(weights.nan_to_num(1.0), shape.numel(), replacement=True).reshape(shape)
            means, stddevs = self.means[component], self.stddevs[component]
            return (means + stddevs * torch.randn_like(means)).masked_fill(weights.isnan().any(), math.nan)

    def from_noise(self, noise: Tensor) -> Tensor:
        """Turns standard normal noise of shape (*, B, D) into samples of the same shape.

        Each sample is a function of its own noise alone. A hash of the noise, taken as a uniform number, chooses the
        component.
        """
        rows = noise.detach().cpu().reshape(-1, noise.shape[-1]).contiguous().numpy()
        uniform = [int.from_bytes(blake2b(row.tobytes(), digest_size=6).digest(), "little") / 2**48 for row in rows]
        cumulative = self.log_weights.detach().double().exp().cumsum(0).cpu()
        component = torch.searchsorted(cumulative / cumulative[-1], torch.tensor(uniform, dtype=torch.float64), right=True)
        component = component.clamp(max=len(cumulative) - 1).reshape(noise.shape[:-1]).to(self.means.device)
        return self.means[component] + self.stddevs[component] * noise

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-density in nats of latents of shape (*, B, D), with shape (*, B)."""
        # With z = 5 and s = 0.02 the terms are 6e4, where float32 has an error of about 0.01 per latent. Autocast does not
        # change float64.
        dtype = torch.float32 if value.device.type == "mps" else torch.float64
        z, means, stddevs = value.to(dtype), self.means.to(dtype), self.stddevs.to(dtype)
        precisions = stddevs**-2
        constants = (means**2 * precisions + 2 * stddevs.log() + math.log(2 * math.pi)).sum(-1)
        distances = (z**2) @ precisions.T - 2 * (z @ (means * precisions).T) + constants
        log_joint = self.log_weights.to(dtype) - 0.5 * distances  # (*, B, C)
        return log_joint.logsumexp(-1).to(value.dtype).expand(torch.broadcast_shapes(value.shape[:-1], self.batch_shape))


class MixtureOfGaussians(Prior):
    r"""A mixture of diagonal Gaussians with learned weights, means and log-variances. It does not depend on the context.

    Log-variances are bounded by :mod:`vaekit.distributions.bounded_scale`.

    The means are initialized by samples of :math:`\mathcal{N}(0, \tfrac12 I)` and the variances are :math:`\tfrac12`, so
    that the mixture approximates a standard normal.

    Arguments:
        latent_dim: D, the number of latents.
        context_dim: E, the size of the context. Not used.
        shape: The shape of an image (C, H, W). Not used.
        num_components: C, the number of Gaussians.
    """

    def __init__(
        self,
        latent_dim: int,
        context_dim: int = 0,
        shape: tuple[int, ...] | None = None,
        num_components: PositiveInt = 100,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.context_dim = context_dim
        self.shape = shape
        self.num_components = num_components
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.means = nn.Parameter(BETWEEN_COMPONENTS**0.5 * torch.randn(num_components, latent_dim))
        self.logvars = nn.Parameter(torch.full((num_components, latent_dim), math.log(1 - BETWEEN_COMPONENTS)))

    def forward(self, batch_size: int, context: Tensor | None = None, encode: Encode | None = None) -> GaussianMixture:
        """Returns the mixture with batch shape (B) and event shape (D)."""
        return GaussianMixture(
            batch_size, self.means.float(), stddev_of(self.logvars.float()), self.logits.float().log_softmax(0)
        )


class VampPrior(Prior):
    r"""The mean of the model's posteriors q(z|u) for learned images u, the pseudo-inputs.

    Pseudo-inputs are parameters that are clipped to the unit interval. They are initialized by a normal distribution; the
    default is that of the paper for MNIST. A clipped pixel has no gradient and does not change.

    In a conditional model each pseudo-input has a learned context, and the context of the images is not used.

    References:
        | VAE with a VampPrior (Tomczak & Welling, 2018), https://arxiv.org/abs/1705.07120

    Arguments:
        latent_dim: D, the number of latents.
        shape: The shape of an image (C, H, W), and of a pseudo-input.
        context_dim: E, the size of the context.
        num_components: C, the number of pseudo-inputs.
        init_mean: The mean of the pixels of the pseudo-inputs at initialization.
        init_stddev: The standard deviation of the pixels of the pseudo-inputs at initialization.
    """

    schedule = None

    def __init__(
        self,
        latent_dim: int,
        shape: tuple[int, ...],
        context_dim: int = 0,
        num_components: PositiveInt = 500,
        init_mean: Annotated[float, Field(ge=0, le=1)] = 0.05,
        init_stddev: PositiveFloat = 0.01,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = shape
        self.context_dim = context_dim
        self.num_components = num_components
        self.init_mean = init_mean
        self.init_stddev = init_stddev
        self.pseudo_inputs = nn.Parameter(init_mean + init_stddev * torch.randn(num_components, *shape))
        self.contexts = nn.Parameter(torch.randn(num_components, context_dim)) if context_dim else None

    def forward(self, batch_size: int, context: Tensor | None = None, encode: Encode | None = None) -> GaussianMixture:
        """Returns the mixture with batch shape (B) and event shape (D). Its gradient reaches encoder and pseudo-inputs.

        Raises:
            ModelError: If ``encode`` is None or returns a distribution that is not a diagonal Gaussian.
        """
        if encode is None:
            raise ModelError("prior vamp: it is a mixture of the model's q(z|x); call it with the argument encode")
        qz = encode(self.pseudo_inputs.clamp(0, 1), self.contexts)
        if not is_diagonal_gaussian(qz):
            raise ModelError(
                f"prior vamp: the posterior must be a diagonal Gaussian, got {type(qz).__name__}; "
                "choose the posterior diagonal-gaussian, or another prior"
            )
        log_weights = qz.mean.new_full((self.num_components,), -math.log(self.num_components))
        return GaussianMixture(batch_size, qz.mean, qz.stddev, log_weights)
