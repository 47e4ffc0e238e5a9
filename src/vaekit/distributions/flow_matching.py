r"""Flow matching as a prior: an ordinary differential equation that moves noise to latents.

Latents are standardized, :math:`y = (z - \mu) / \sigma` with the moments of the aggregate posterior. On the line from noise
:math:`\epsilon \sim \mathcal{N}(0, I)` to a sample y, a point and its velocity are

.. math:: y_t = (1 - t)\, \epsilon + t\, y, \qquad \dot y_t = y - \epsilon,

and a network minimizes :math:`\mathbb{E}\, |v_\theta(y_t, t, c) - \dot y_t|^2`. Its minimum is the conditional expectation
of the velocity, whose differential equation has the distribution of :math:`y_t` at every t. Samples are solutions at t = 1,
by Heun's method with a fixed number of steps.

In a conditional model the context is left out for a share of the samples in fitting, and with guidance weight w

.. math:: v = v_\theta(y_t, t) + w\, \bigl(v_\theta(y_t, t, c) - v_\theta(y_t, t)\bigr).

At :math:`w = 1` samples have the distribution of the class; a larger weight moves them towards what is typical of it.

The density of such a flow is not computed here: the prior can only be sampled.

References:
    | Flow Matching for Generative Modeling (Lipman et al., 2022), https://arxiv.org/abs/2210.02747
    | Flow Straight and Fast (Liu et al., 2022), https://arxiv.org/abs/2209.03003
    | Classifier-Free Diffusion Guidance (Ho & Salimans, 2022), https://arxiv.org/abs/2207.12598
"""

from functools import partial
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from vaekit.core.errors import ConfigError
from vaekit.distributions.latent_set import FitSchedule, LatentSet
from vaekit.distributions.priors import Encode, Prior
from vaekit.distributions.sampler import Sampler
from vaekit.distributions.velocity_networks import VelocityMLP, VelocityUNet

CHUNK_SIZE = 2048
"""The number of samples that are integrated at a time."""
SPATIAL_SCHEDULE = FitSchedule(steps=2000, batch_size=32, lr=1e-3, ema=0.995)
"""How the prior is fitted to maps."""


class FlowMatchingPrior(Prior):
    """A flow that is learned by flow matching; it can only be sampled.

    Arguments:
        latent_dim: D, the number of latents.
        context_dim: E, the size of the context.
        shape: The shape of an image (C, H, W). Not used.
        maps: The channels, height and width of spatial latents, whose velocity is then a U-Net; None for vectors.
        width: The number of features of each layer of the network; by default 256 for vectors and 64 for maps.
        num_blocks: The number of residual blocks, by default 3 for vectors; for maps the number at each resolution on each
            way, by default 2.
        num_steps: The number of steps of Heun's method, with two evaluations of the network each.
        guidance: The guidance weight w of conditional models.
        label_dropout: The share of samples whose context is left out in fitting.

    Raises:
        ConfigError: If ``maps`` has another number of latents than D.
    """

    has_density = False
    schedule = FitSchedule(steps=1500)
    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        latent_dim: int,
        context_dim: int = 0,
        shape: tuple[int, ...] | None = None,
        maps: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None,
        width: PositiveInt | None = None,
        num_blocks: PositiveInt | None = None,
        num_steps: PositiveInt = 16,
        guidance: Annotated[float, Field(ge=0)] = 1.0,
        label_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.context_dim = context_dim
        self.shape = shape
        self.maps = None if maps is None else (maps[0], maps[1], maps[2])
        self.width = width
        self.num_blocks = num_blocks
        self.num_steps = num_steps
        self.guidance = guidance
        self.label_dropout = label_dropout
        self.register_buffer("loc", torch.zeros(latent_dim))
        self.register_buffer("scale", torch.ones(latent_dim))
        if self.maps is None:
            self.velocity: nn.Module = VelocityMLP(latent_dim, context_dim, width or 256, num_blocks or 3)
            return
        if self.maps[0] * self.maps[1] * self.maps[2] != latent_dim:
            raise ConfigError(f"model.prior.maps: {list(self.maps)} are not {latent_dim} latents; leave it out")
        self.schedule = SPATIAL_SCHEDULE
        self.velocity = VelocityUNet(self.maps, context_dim, width or 64, num_blocks or 2)

    def start(self, latents: LatentSet, seed: int) -> None:
        """Sets shift and scale to the mean and the standard deviation of each latent."""
        self.loc.copy_(latents.mean)
        self.scale.copy_(latents.stddev)

    def fit_loss(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns the squared error of the velocity of each sample, its mean over latents, with shape (B)."""
        y = (z - self.loc) / self.scale
        noise, t = torch.randn(y.shape).to(y), torch.rand(len(y)).to(y)
        point = torch.lerp(noise, y, t.unsqueeze(1))
        if context is not None and self.training:
            context = context * (torch.rand(len(y), 1).to(y) >= self.label_dropout)
        errors: Tensor = self.velocity(point, t, context) - (y - noise)
        return errors.square().mean(1)

    def forward(self, batch_size: int, context: Tensor | None = None, encode: Encode | None = None) -> Sampler:
        """Returns the flow with batch shape (B) and event shape (D)."""
        context = None if context is None else context.float()
        return Sampler("flow-matching", batch_size, self.loc, self.scale, partial(self._solve, context))

    def _solve(self, context: Tensor | None, noise: Tensor, more: Tensor, positions: Tensor) -> Tensor:
        """Samples of shape (M, D) from noise of the same shape."""
        chunks = [
            self._solve_chunk(y, None if context is None else context[at])
            for y, at in zip(noise.split(CHUNK_SIZE), positions.split(CHUNK_SIZE), strict=True)
        ]
        return self.loc + self.scale * torch.cat(chunks)

    def _solve_chunk(self, y: Tensor, context: Tensor | None) -> Tensor:
        """The differential equation by Heun's method."""
        times = torch.linspace(0, 1, self.num_steps + 1).to(y)
        for before, after in pairwise(times):
            v = self._guided(y, before, context)
            ahead = self._guided(y + (after - before) * v, after, context)
            y = y + (after - before) * (v + ahead) / 2
        return y

    def _guided(self, y: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        """The velocity with classifier-free guidance."""
        t = t.expand(len(y))
        v: Tensor = self.velocity(y, t, context)
        return v if context is None or self.guidance == 1 else torch.lerp(self.velocity(y, t, None), v, self.guidance)
