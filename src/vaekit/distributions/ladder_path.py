r"""The distributions of a ladder VAE: the residual posterior of a layer, and the joint distribution along a path.

Layer :math:`l` has the prior :math:`\mathcal{N}(\mu, \sigma^2)`, and its **residual posterior** is relative to it:

.. math:: q(z_l|x, z_{<l}) = \mathcal{N}\bigl(\mu + \sigma\,\delta\mu,\; \sigma^2 e^{\delta\log \sigma^2}\bigr).

So a posterior that learns nothing is its prior, and a prior that moves takes its posterior with it. Log-variances are
bounded smoothly to :math:`\pm 10`, by :func:`vaekit.distributions.bounded_scale.soft_clip`.

References:
    | NVAE (Vahdat & Kautz, 2020), https://arxiv.org/abs/2007.03898
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vaekit.core.errors import ModelError
from vaekit.distributions.bounded_scale import soft_clip
from vaekit.distributions.layered import LayeredDistribution
from vaekit.distributions.posteriors import Posterior

LINEAR, LIMIT = 6.0, 10.0
"""The log-variance up to which it is unchanged, and its bound: standard deviations between 0.0067 and 150."""

ChooseLayer = Callable[[int, Distribution], Tensor]
"""Chooses the latents of a layer, with shape (*, B, D_l), given its number and its distribution."""


def ladder_gaussian(parameters: Tensor) -> Distribution:
    """Returns the Gaussian of means and log-variances, with shape (*, 2, D); its log-variances are bounded."""
    mu, logvar = parameters.unbind(-2)
    scale = (0.5 * soft_clip(logvar, LINEAR, LIMIT)).exp()
    return Independent(Normal(mu, scale, validate_args=False), 1, validate_args=False)


class ResidualGaussian(Posterior):
    """The posterior of each layer of a ladder, relative to its prior. It has no weights: those are the path's.

    Arguments:
        num_features: The number of features of the encoder. Not used.
        latent_dim: The number of latents. Not used.
    """

    def __init__(self, num_features: int | tuple[int, int, int], latent_dim: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.latent_dim = latent_dim

    def forward(self, features: Tensor) -> Distribution:
        """Returns the Gaussian of a layer.

        Arguments:
            features: Means and log-variances of the prior, and what is added to them, with shape (*, 4, D_l).

        Raises:
            ModelError: If the features are those of an encoder, since the model is not a ladder.
        """
        if features.dim() < 3 or features.shape[-2] != 4:
            raise ModelError(
                "model.posterior: residual is relative to the priors of a ladder; set model.decoder.name=ladder"
            )
        mu, logvar, added_mu, added_logvar = features.unbind(-2)
        scale = (0.5 * soft_clip(logvar, LINEAR, LIMIT)).exp()
        return ladder_gaussian(torch.stack([mu + scale * added_mu, logvar + added_logvar], -2))


@dataclass(frozen=True)
class Descent:
    """One pass down the path.

    Arguments:
        z: The latents of all layers, with shape (*, B, D).
        priors: The prior of each layer given the layers above, with batch shape (B) or (*, B).
        posteriors: The posterior of each layer; empty if there are no features of an image.
        output: The parameters of the likelihood, with shape (*, B, P, ...).
    """

    z: Tensor
    priors: tuple[Distribution, ...]
    posteriors: tuple[Distribution, ...]
    output: Tensor


class PathDistribution(LayeredDistribution):
    """The joint distribution of the latents of a ladder, whose layers are computed by going down a path.

    The last pass is kept, so that samples, their densities and what is decoded from them cost one pass and not three.

    Arguments:
        top: The distribution of the top layer, with batch shape (B) and event shape (D_1).
        descend: Goes down the path once, with the latents that a function chooses from the distributions of this kind.
        sizes: The number of latents of each layer, D_1, ..., D_L.
        of_posterior: Whether the distributions are those of the posterior.
    """

    def __init__(
        self, top: Distribution, descend: Callable[[ChooseLayer], Descent], sizes: list[int], of_posterior: bool
    ) -> None:
        self.top = top
        self.descend = descend
        self.sizes = tuple(sizes)
        self.of_posterior = of_posterior
        self._last: Descent | None = None
        self._key: tuple[int, bool, bool] | None = None
        self._check(0, top, top.batch_shape)
        Distribution.__init__(self, top.batch_shape, torch.Size([sum(sizes)]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "PathDistribution":
        """Returns the distribution with another batch shape, to which (B) can be broadcast."""
        top = self.top.expand(torch.Size(batch_shape))
        return PathDistribution(top, self.descend, list(self.sizes), self.of_posterior)

    def at(self, z: Tensor) -> Descent:
        """Returns the pass with latents of all layers, with shape (*, B, D)."""
        if self._last is None or self._last.z is not z or self._key != _key(z):
            latents = self.split(z)
            self._keep(replace(self.descend(lambda index, _: latents[index]), z=z))
        assert self._last is not None
        return self._last

    def layers(self, z: Tensor) -> tuple[Distribution, ...]:
        """Returns the distribution of each layer, given the latents of the layers above, z of shape (*, B, D)."""
        descent = self.at(self._broadcast(z))
        return descent.posteriors if self.of_posterior else descent.priors

    def _ancestral(self, choose: ChooseLayer) -> Tensor:
        descent = self.descend(choose)
        self._keep(descent)
        return descent.z

    def _keep(self, descent: Descent) -> None:
        self._last, self._key = descent, _key(descent.z)


def _key(z: Tensor) -> tuple[int, bool, bool]:
    """What changes if latents are changed in place, or if a gradient is wanted that was not before."""
    return z._version, z.requires_grad, torch.is_grad_enabled()
