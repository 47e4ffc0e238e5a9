r"""Posteriors q(z|x): modules that turn the features of an encoder into a distribution over latents.

The diagonal Gaussian of Auto-Encoding Variational Bayes,

.. math:: q(z|x) = \mathcal{N}(z; \mu(x), \mathrm{diag}\, e^{\mathrm{logvar}(x)}),

with log-variances that :mod:`vaekit.distributions.bounded_scale` bounds beyond :math:`\pm 30`.

With the standard normal prior, :math:`\mathrm{KL}(q \| p) = \tfrac12 \sum_d \mu_d^2 + e^{\mathrm{logvar}_d} - 1 -
\mathrm{logvar}_d`.

To add a posterior, write a subclass of :class:`Posterior` whose constructor takes ``num_features`` and ``latent_dim``, and
register it in ``vaekit.distributions.POSTERIORS``. A distribution that is not a Gaussian needs a method ``from_noise``; see
:mod:`vaekit.distributions.reparameterization`.

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from vaekit.core.errors import ConfigError
from vaekit.distributions.bounded_scale import stddev_of


class Posterior(nn.Module, ABC):
    """The base class of posteriors: a distribution over latents, given the features of an encoder."""

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """Returns q(z|x) with batch shape (B) and event shape (D), given features of shape (B, F) or (B, F, h, w)."""


class DiagonalGaussian(Posterior):
    """A Gaussian with independent latents, whose mean and log-variance are linear functions of the features.

    The two linear layers are the attributes ``mu`` and ``logvar``.

    Arguments:
        num_features: F, the number of features, or (F, h, w) for feature maps. With feature maps the latents are spatial:
            each point of the maps gives :math:`D / hw` latents.
        latent_dim: D, the number of latents.

    Raises:
        ConfigError: If ``latent_dim`` is not a multiple of :math:`hw`.
    """

    def __init__(self, num_features: int | tuple[int, int, int], latent_dim: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.latent_dim = latent_dim
        self.mu = self._linear_layer()
        self.logvar = self._linear_layer()

    def _linear_layer(self) -> nn.Module:
        if isinstance(self.num_features, int):
            return nn.Linear(self.num_features, self.latent_dim)
        channels, height, width = self.num_features
        latents_per_point, remainder = divmod(self.latent_dim, height * width)
        if remainder:
            raise ConfigError(
                f"latent_dim {self.latent_dim}: the encoder ends in maps of {height}x{width} (hidden: null); "
                f"choose a multiple of {height * width}"
            )
        return nn.Conv2d(channels, latents_per_point, 1)

    def forward(self, features: Tensor) -> Distribution:
        """Returns the Gaussian. It is float32 for features of every precision."""
        mu, logvar = self.mu(features).flatten(1).float(), self.logvar(features).flatten(1).float()
        return Independent(Normal(mu, stddev_of(logvar), validate_args=False), 1, validate_args=False)
