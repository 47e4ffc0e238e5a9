r"""Priors p(z): modules that return a distribution over latents.

This module has the base class and the standard normal prior, :math:`p(z) = \mathcal{N}(z; 0, I)`. Mixtures of Gaussians are
in :mod:`vaekit.distributions.gaussian_mixtures`, normalizing flows in :mod:`vaekit.distributions.flows`.

To add a prior, write a subclass of :class:`Prior` in a file of your own and register it in ``vaekit.distributions.PRIORS``:

>>> @PRIORS.register("laplace")
... class LaplacePrior(Prior):
...     def __init__(self, latent_dim: int, context_dim: int = 0, shape: tuple[int, ...] | None = None, scale: float = 1.0):
...         super().__init__()
...         self.latent_dim, self.context_dim, self.shape, self.scale = latent_dim, context_dim, shape, scale
...         self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
...
...     def forward(self, batch_size, context=None, encode=None):
...         loc = self.loc.expand(batch_size, -1)
...         return Independent(Laplace(loc, self.scale, validate_args=False), 1, validate_args=False)

``latent_dim``, ``context_dim`` and ``shape`` follow from the model; every other argument of the constructor becomes a key
of the recipe and must be kept in an attribute of the same name. The rate is analytic where torch registers the KL
divergence and a Monte Carlo estimate otherwise.

A prior can also be fitted to a trained model (``vae prior``), whose encoder and decoder stay as they are.
:meth:`Prior.start` sets what follows from the latents without gradient steps, which then minimize :meth:`Prior.fit_loss`.

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from vaekit.core.errors import ConfigError
from vaekit.distributions.latent_set import FitSchedule, LatentSet

Encode = Callable[[Tensor, Tensor | None], Distribution]
"""The function from a batch x, with shape (B, *event), and its context, with shape (B, E) or None, to the model's q(z|x)."""


class Prior(nn.Module, ABC):
    """The base class of priors: a distribution over latents, given the context if the model is conditional.

    The constructor of a subclass takes ``latent_dim``, ``context_dim`` and ``shape``, the shape of one element of the data.

    Attributes:
        has_density: Whether p(z) can be evaluated. A prior without a density can only be sampled; it is fitted to a trained
            model, and a model with it has no ELBO.
        schedule: How the prior is fitted to a trained model; None if there is nothing to fit.
    """

    has_density: ClassVar[bool] = True
    schedule: FitSchedule | None = FitSchedule()

    @abstractmethod
    def forward(self, batch_size: int, context: Tensor | None = None, encode: Encode | None = None) -> Distribution:
        """Returns p(z), or p(z|context), with batch shape (B) and event shape (D).

        Arguments:
            batch_size: B.
            context: The context, with shape (B, E), or None if the model is not conditional.
            encode: The model's q(z|x), for priors that are defined by it.
        """

    def start(self, latents: LatentSet, seed: int) -> None:
        """Sets what follows from the latents of the training images without gradient steps; by default nothing.

        Arguments:
            latents: The posteriors of the training images.
            seed: The seed of whatever is random.
        """

    def fit_loss(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns the loss of fitting for samples of the aggregate posterior, with shape (B); by default -log p(z) in nats.

        Arguments:
            z: Samples, with shape (B, D).
            context: Their contexts, with shape (B, E), or None.
        """
        log_pz: Tensor = self(len(z), context).log_prob(z)
        return -log_pz


def require_density(name: str, prior: type[Prior]) -> None:
    """Refuses a prior without a density where the ELBO is needed.

    Raises:
        ConfigError: If the prior can only be sampled.
    """
    if not prior.has_density:
        raise ConfigError(
            f"model.prior: {name} has no density, so it cannot be trained with the model; train with another prior and "
            f"fit it afterwards: vae prior RUN --name {name}"
        )


class StandardNormal(Prior):
    """The standard normal distribution. It does not depend on the context.

    Arguments:
        latent_dim: D, the number of latents.
        context_dim: E, the size of the context. Not used.
        shape: The shape of an image (C, H, W). Not used.
    """

    schedule = None
    loc: Tensor
    stddev: Tensor

    def __init__(self, latent_dim: int, context_dim: int = 0, shape: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.context_dim = context_dim
        self.shape = shape
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("stddev", torch.ones(latent_dim), persistent=False)

    def forward(self, batch_size: int, context: Tensor | None = None, encode: Encode | None = None) -> Distribution:
        """Returns the standard normal with batch shape (B) and event shape (D)."""
        loc, stddev = self.loc.expand(batch_size, -1), self.stddev.expand(batch_size, -1)
        return Independent(Normal(loc, stddev, validate_args=False), 1, validate_args=False)
