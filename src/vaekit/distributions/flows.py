r"""Normalizing flows: a prior and a posterior of any form that can be sampled and has a density.

Standard normal noise is bent by an invertible function :math:`f^{-1}`, and then shifted and scaled:

.. math::
    z = \mu + \sigma \odot f^{-1}(\epsilon; c), \qquad \epsilon \sim \mathcal{N}(0, I), \qquad
    \log p(z) = \log \mathcal{N}(f(t; c); 0, I) + \log |\det \nabla_t f(t; c)| - \sum_d \log \sigma_d, \qquad
    t = \frac{z - \mu}{\sigma}.

:math:`f` is a chain of couplings. Each leaves every other latent as it is and moves the rest by monotonic rational-quadratic
splines on :math:`[-5, 5]`, whose knots a network reads off the latents left alone and the context :math:`c`; so both
directions cost the same. All splines begin as straight lines, so that a flow begins as a Gaussian.

There are no formulas for the mean and the standard deviation. They are estimated from fixed draws, the same at every call
and for every image: in pairs :math:`\pm\epsilon`, with unit variance, and spread evenly over the quantiles of each
coordinate (a Latin hypercube). For a flow that is still a Gaussian they are exact.

References:
    | Variational Inference with Normalizing Flows (Rezende & Mohamed, 2015), https://arxiv.org/abs/1505.05770
    | Density Estimation using Real NVP (Dinh et al., 2016) for couplings, https://arxiv.org/abs/1605.08803
    | Neural Spline Flows (Durkan et al., 2019), https://arxiv.org/abs/1906.04032
    | Variational Lossy Autoencoder (Chen et al., 2016) for flows as priors, https://arxiv.org/abs/1611.02731
"""

import math
from functools import cache
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from zuko.flows import GeneralCouplingTransform
from zuko.lazy import LazyComposedTransform
from zuko.nn import MLP
from zuko.transforms import MonotonicRQSTransform

from vaekit.core.rng import generator
from vaekit.distributions.latents import DiagonalGaussian, Encode, Posterior, Prior

Widths = Annotated[list[PositiveInt], Field(min_length=1)]
"""The widths of hidden layers, from the input on."""

Bins = Annotated[int, Field(ge=2)]
"""How many pieces a spline has."""

PRIOR_DRAWS, POSTERIOR_DRAWS = 1024, 64
"""From how many draws mean and standard deviation are estimated; a posterior's are asked for each image of a set."""

CHUNK = 2**14
"""How many draws are bent at a time for these estimates: with 40 latents and 8 bins, 30 MB for each coupling."""


class FlowDistribution(Distribution):
    """Noise bent by a flow, shifted and scaled; the mathematics is at the top of the module.

    Everything is float32, under autocast as well.

    Arguments:
        num: The batch shape, (num).
        loc: Where it is centered, with shape (num, D), or (D) for all alike.
        scale: How far it spreads, with the same shape.
        flow: Makes the transform f, from ``(z - loc) / scale`` to noise, of a context.
        context: With shape (num, E), or None where the flow has none; then it is one distribution for all of the batch.
        num_draws: How many draws ``mean``, ``variance`` and ``stddev`` are estimated from; an even number.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": constraints.real_vector,
        "scale": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, num: int, loc: Tensor, scale: Tensor, flow: LazyComposedTransform, context: Tensor | None, num_draws: int
    ) -> None:
        self.loc = loc
        self.scale = scale
        self.flow = flow
        self.context = context
        self.num_draws = num_draws
        super().__init__(torch.Size([num]), loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean, estimated from fixed draws, with shape (num, D)."""
        return (self.loc + self.scale * self._bent_moments()[0]).expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """The variance of each latent, estimated from fixed draws, with shape (num, D)."""
        first, second = self._bent_moments()
        return (self.scale**2 * (second - first**2)).expand(self._extended_shape())

    def from_noise(self, noise: Tensor) -> Tensor:
        """Turns standard normal noise of shape (*, num, D) into samples of the same shape, through which gradients flow."""
        return self.loc + self.scale * self._bend(noise)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draws latents of shape (*sample_shape, num, D), through which gradients flow."""
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.from_noise(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-density in nats of latents of shape (*, num, D), with shape (*, num)."""
        standardized = (value - self.loc) / self.scale
        with torch.autocast(value.device.type, enabled=False):
            noise, log_det = self.flow(self.context).call_and_ladj(standardized)
        log_normal = -0.5 * (noise**2 + math.log(2 * math.pi)).sum(-1)
        log_density: Tensor = log_normal + log_det - self.scale.log().sum(-1)
        return log_density

    def _bend(self, noise: Tensor) -> Tensor:
        with torch.autocast(noise.device.type, enabled=False):  # bfloat16 would bend otherwise there and back
            bent: Tensor = self.flow(self.context).inv(noise)
        return bent

    def _bent_moments(self) -> tuple[Tensor, Tensor]:
        """The first two moments of bent noise, before it is shifted and scaled: each with shape (num, D), or (1, D)."""
        num = 1 if self.context is None else self.batch_shape[0]
        noise = _fixed_noise(self.num_draws, self.event_shape[0]).to(self.loc.device).unsqueeze(1).expand(-1, num, -1)
        first = second = torch.zeros_like(noise[0])
        for part in noise.split(max(1, CHUNK // num)):
            bent = self._bend(part)
            first, second = first + bent.sum(0), second + (bent**2).sum(0)
        return first / self.num_draws, second / self.num_draws


class FlowPrior(Prior):
    """A learned flow, of the context where the model has one; it begins as the standard normal.

    Arguments:
        latent_dim: D, how many latents.
        context_dim: E, how many numbers the context has.
        shape: An image's shape (C, H, W); it ignores that.
        num_transforms: How many couplings; two move every latent once.
        hidden: The widths of the hidden layers of each coupling's network.
        num_bins: How many pieces a spline has.
    """

    def __init__(
        self,
        latent_dim: int,
        context_dim: int = 0,
        shape: tuple[int, int, int] | None = None,
        num_transforms: PositiveInt = 4,
        hidden: Widths = [64, 64],
        num_bins: Bins = 8,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.context_dim = context_dim
        self.shape = shape
        self.num_transforms = num_transforms
        self.hidden = hidden
        self.num_bins = num_bins
        self.loc = nn.Parameter(torch.zeros(latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(latent_dim))
        self.flow = spline_flow(latent_dim, context_dim, num_transforms, hidden, num_bins)

    def forward(self, num: int, context: Tensor | None = None, encode: Encode | None = None) -> FlowDistribution:
        """Returns the flow with batch shape (num) and event shape (D)."""
        context = None if context is None else context.float()
        return FlowDistribution(num, self.loc, self.log_scale.exp(), self.flow, context, PRIOR_DRAWS)


class FlowPosterior(Posterior):
    """A Gaussian with the heads of :class:`DiagonalGaussian`, whose noise is bent by a flow of the features.

    It can be skewed, curved and of several modes, and begins as the Gaussian.

    Arguments:
        num_features: F, how many features the encoder gives, or (F, h, w) of maps of them, as of :class:`DiagonalGaussian`.
        latent_dim: D, how many latents.
        summary: How many numbers of the features, each linear in all of them, the couplings are told.
        num_transforms: How many couplings; two move every latent once.
        hidden: The widths of the hidden layers of each coupling's network.
        num_bins: How many pieces a spline has.

    Raises:
        ConfigError: If there is not a whole number of latents for each point of the maps.
    """

    def __init__(
        self,
        num_features: int | tuple[int, int, int],
        latent_dim: int,
        summary: PositiveInt = 64,
        num_transforms: PositiveInt = 4,
        hidden: Widths = [64, 64],
        num_bins: Bins = 8,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.latent_dim = latent_dim
        self.summary = summary
        self.num_transforms = num_transforms
        self.hidden = hidden
        self.num_bins = num_bins
        self.gaussian = DiagonalGaussian(num_features, latent_dim)
        total = num_features if isinstance(num_features, int) else math.prod(num_features)
        self.summarize = nn.Linear(total, summary)
        self.flow = spline_flow(latent_dim, summary, num_transforms, hidden, num_bins)

    def forward(self, features: Tensor) -> FlowDistribution:
        """Returns the flow, with batch shape (B) and event shape (D), in float32 under autocast as well."""
        qz = self.gaussian(features)
        context = self.summarize(features.flatten(1)).float()
        return FlowDistribution(len(features), qz.mean, qz.stddev, self.flow, context, POSTERIOR_DRAWS)


def spline_flow(
    latent_dim: int, context_dim: int, num_transforms: int, hidden: list[int], num_bins: int
) -> LazyComposedTransform:
    """Returns a chain of couplings, from latents to noise, that begins as the identity.

    With one latent there is nothing to couple: its spline depends on the context alone.
    """
    flow = LazyComposedTransform(
        *(
            GeneralCouplingTransform(
                features=latent_dim,
                context=context_dim,
                mask=torch.arange(latent_dim) % 2 == index % 2,
                univariate=MonotonicRQSTransform,
                shapes=[(num_bins,), (num_bins,), (num_bins - 1,)],
                hidden_features=hidden,
                activation=nn.SiLU,
            )
            for index in range(num_transforms)
        )
    )
    for module in flow.modules():
        last = module[-1] if isinstance(module, MLP) else module
        if isinstance(module, MLP | nn.ParameterList):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
    return flow


@cache
def _fixed_noise(num: int, latent_dim: int) -> Tensor:
    """An even number of draws of noise, with shape (num, D): see the top of the module."""
    source = generator(0)
    strata = torch.rand(num // 2, latent_dim, generator=source).argsort(0)
    signs = torch.randint(0, 2, strata.shape, generator=source) * 2 - 1
    half = signs * torch.erfinv((strata + 0.5) / len(strata))
    half = half / (half**2).mean(0).sqrt()
    return torch.stack([half, -half], 1).flatten(0, 1)
