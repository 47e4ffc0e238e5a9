r"""A second VAE as a prior, on the latents of the first.

The second VAE has latents u of the same number as z, standardized latents :math:`y = (z - \mu) / \sigma` as its data, and a
scalar standard deviation :math:`\gamma` that is learned:

.. math:: u \sim \mathcal{N}(0, I), \qquad y | u \sim \mathcal{N}(f(u, c), \gamma^2 I), \qquad
          q(u|y) = \mathcal{N}(u; m(y, c), \mathrm{diag}\, s(y, c)^2).

A sample is :math:`z = \mu + \sigma \odot (f(u, c) + \gamma \epsilon)`, with its noise: without it the samples would not have
the distribution of the latents. Fitting maximizes the ELBO of the second VAE. The density of z is an integral over u, which
is not computed: the prior can only be sampled.

References:
    | Diagnosing and Enhancing VAE Models (Dai & Wipf, 2019), https://arxiv.org/abs/1903.05789
"""

import math
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from vaekit.distributions.bounded_scale import bounded_logvar, scale_of
from vaekit.distributions.flows import Widths
from vaekit.distributions.latent_set import FitSchedule, LatentSet
from vaekit.distributions.priors import Encode, Prior
from vaekit.distributions.sampler import Sampler


class TwoStagePrior(Prior):
    """A second VAE on the latents of the first; it can only be sampled.

    Arguments:
        latent_dim: D, the number of latents.
        context_dim: E, the size of the context.
        shape: The shape of an image (C, H, W). Not used.
        hidden: The widths of the hidden layers of encoder and decoder.
    """

    has_density = False
    schedule = FitSchedule(steps=3000)
    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        latent_dim: int,
        context_dim: int = 0,
        shape: tuple[int, ...] | None = None,
        hidden: Widths = [256, 256],
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.context_dim = context_dim
        self.shape = shape
        self.hidden = hidden
        self.register_buffer("loc", torch.zeros(latent_dim))
        self.register_buffer("scale", torch.ones(latent_dim))
        self.encoder = _mlp(latent_dim + context_dim, hidden, 2 * latent_dim)
        self.decoder = _mlp(latent_dim + context_dim, hidden, latent_dim)
        self.log_gamma = nn.Parameter(torch.zeros(()))

    def start(self, latents: LatentSet, seed: int) -> None:
        """Sets shift and scale to the mean and the standard deviation of each latent."""
        self.loc.copy_(latents.mean)
        self.scale.copy_(latents.stddev)

    def fit_loss(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns the negative ELBO of log p(z) of each sample, in nats, with shape (B)."""
        y = (z - self.loc) / self.scale
        mean, logvar = self.encoder(_joined(y, context)).chunk(2, 1)
        logvar = bounded_logvar(logvar)
        u = mean + (0.5 * logvar).exp() * torch.randn(mean.shape).to(mean)
        gamma = scale_of(self.log_gamma)
        errors = (y - self.decoder(_joined(u, context))) / gamma
        distortion = 0.5 * errors.square().sum(1) + self.latent_dim * (gamma.log() + 0.5 * math.log(2 * math.pi))
        rate = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1)
        loss: Tensor = distortion + rate + self.scale.log().sum()
        return loss

    def forward(self, batch_size: int, context: Tensor | None = None, encode: Encode | None = None) -> Sampler:
        """Returns p(z) with batch shape (B) and event shape (D)."""
        context = None if context is None else context.float()
        return Sampler("two-stage", batch_size, self.loc, self.scale, partial(self._decode, context))

    def _decode(self, context: Tensor | None, noise: Tensor, more: Tensor, positions: Tensor) -> Tensor:
        """Samples of shape (M, D): ``more`` is u, and ``noise`` is that of z given u."""
        mean: Tensor = self.decoder(_joined(more, None if context is None else context[positions]))
        return self.loc + self.scale * (mean + scale_of(self.log_gamma) * noise)


def _mlp(in_features: int, hidden: list[int], out_features: int) -> nn.Sequential:
    widths = [in_features, *hidden]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], out_features))


def _joined(z: Tensor, context: Tensor | None) -> Tensor:
    return z if context is None else torch.cat([z, context], 1)
