r"""Posteriors q(z|x) and priors p(z): modules that return a distribution over latents.

The diagonal Gaussian and the standard normal of Auto-Encoding Variational Bayes,

.. math:: q(z|x) = \mathcal{N}(z; \mu(x), \mathrm{diag}\, e^{\mathrm{logvar}(x)}), \qquad p(z) = \mathcal{N}(z; 0, I),

for which :math:`\mathrm{KL}(q \| p) = \tfrac12 \sum_d \mu_d^2 + e^{\mathrm{logvar}_d} - 1 - \mathrm{logvar}_d`.

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from hashlib import blake2b

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from vaekit.core.errors import ConfigError, ModelError
from vaekit.core.rng import fixed_seed

Encode = Callable[[Tensor, Tensor | None], Distribution]
"""A model's own q(z|x), of images on the unit interval, with shape (B, C, H, W), and their context, (B, E) or None."""


class Posterior(nn.Module, ABC):
    """A distribution over latents, given an encoder's features."""

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """Returns q(z|x) with batch shape (B) and event shape (D), given features of shape (B, F) or (B, F, h, w)."""


class Prior(nn.Module, ABC):
    """A distribution over latents, given a context where the model has one.

    A model's configuration builds it with ``latent_dim``, ``context_dim`` and ``shape``, an image's.
    """

    @abstractmethod
    def forward(self, num: int, context: Tensor | None = None, encode: Encode | None = None) -> Distribution:
        """Returns p(z), or p(z|context), with batch shape (num) and event shape (D).

        Arguments:
            num: How many images, B.
            context: What the model is conditioned on, with shape (B, E), or None.
            encode: The model's own q(z|x), for a prior that is made of it.
        """


class DiagonalGaussian(Posterior):
    """A Gaussian with independent latents and two linear heads that one can probe, ``mu`` and ``logvar``.

    Arguments:
        num_features: F, how many features the encoder gives, or (F, h, w) of maps of them: then the heads read
            :math:`D / hw` latents off each point.
        latent_dim: D, how many latents.

    Raises:
        ConfigError: If there is not a whole number of latents for each point.
    """

    def __init__(self, num_features: int | tuple[int, int, int], latent_dim: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.latent_dim = latent_dim
        self.mu = self._head()
        self.logvar = self._head()

    def _head(self) -> nn.Module:
        if isinstance(self.num_features, int):
            return nn.Linear(self.num_features, self.latent_dim)
        width, height, breadth = self.num_features
        depth, left = divmod(self.latent_dim, height * breadth)
        if left:
            raise ConfigError(
                f"latent_dim {self.latent_dim}: latents that keep their place (hidden: null) lie on maps of "
                f"{height}x{breadth}, so it must be a multiple of {height * breadth}"
            )
        return nn.Conv2d(width, depth, 1)

    def forward(self, features: Tensor) -> Distribution:
        """Returns the Gaussian in float32, whatever the precision of the features."""
        mu, logvar = self.mu(features).flatten(1).float(), self.logvar(features).flatten(1).float()
        return Independent(Normal(mu, torch.exp(0.5 * logvar), validate_args=False), 1, validate_args=False)


class StandardNormal(Prior):
    """The standard normal distribution; it ignores the context.

    Arguments:
        latent_dim: D, how many latents.
        context_dim: E, how many numbers the context has.
        shape: An image's shape (C, H, W); it ignores that, too.
    """

    loc: Tensor
    stddev: Tensor

    def __init__(self, latent_dim: int, context_dim: int = 0, shape: tuple[int, int, int] | None = None) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.context_dim = context_dim
        self.shape = shape
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("stddev", torch.ones(latent_dim), persistent=False)

    def forward(self, num: int, context: Tensor | None = None, encode: Encode | None = None) -> Distribution:
        """Returns the standard normal with batch shape (num) and event shape (D)."""
        loc, stddev = self.loc.expand(num, -1), self.stddev.expand(num, -1)
        return Independent(Normal(loc, stddev, validate_args=False), 1, validate_args=False)


def is_diagonal_gaussian(distribution: Distribution) -> bool:
    """Whether latents are independent Gaussians."""
    return isinstance(distribution, Independent) and isinstance(distribution.base_dist, Normal)


def reparameterize(qz: Distribution, noise: Tensor) -> Tensor:
    """Turns standard normal noise into samples of a posterior, so that an image may have noise of its own in any batch.

    Arguments:
        qz: A posterior with batch shape (B) and event shape (D).
        noise: With shape (K, B, D).

    Returns:
        Samples of q(z|x) with shape (K, B, D), through which gradients flow.

    Raises:
        ModelError: If the posterior is neither a Gaussian nor has a method ``from_noise``.
    """
    if is_diagonal_gaussian(qz):
        return qz.mean + qz.stddev * noise
    if isinstance(qz, MultivariateNormal):
        return qz.loc + torch.einsum("...bij,...bj->...bi", qz.scale_tril, noise)
    if hasattr(qz, "from_noise"):
        samples: Tensor = qz.from_noise(noise)
        return samples
    raise ModelError(f"{type(qz).__name__} cannot be sampled from given noise; give it a method from_noise(noise)")


def sampled(distribution: Distribution, noise: Tensor) -> Tensor:
    """Samples a distribution by noise: made of it where that can be, else drawn with a seed that is made of it.

    In the latter case what is drawn for an image depends on the batch that it comes in.

    Arguments:
        distribution: With batch shape (B) and event shape (D).
        noise: With shape (K, B, D).

    Returns:
        Samples of shape (K, B, D); gradients flow through those that are made of the noise.
    """
    try:
        return reparameterize(distribution, noise)
    except ModelError:
        digest = blake2b(noise.detach().cpu().numpy().tobytes(), digest_size=7).digest()
        with fixed_seed(int.from_bytes(digest, "little")):
            return distribution.sample(noise.shape[:1])
