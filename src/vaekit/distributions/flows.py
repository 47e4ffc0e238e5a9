r"""Normalizing flows: a prior and a posterior with a flexible density that can be sampled.

An invertible function :math:`f^{-1}` transforms standard normal noise, and the result is shifted and scaled:

.. math::
    z = \mu + \sigma \odot f^{-1}(\epsilon; c), \qquad \epsilon \sim \mathcal{N}(0, I), \qquad
    \log p(z) = \log \mathcal{N}(f(t; c); 0, I) + \log |\det \nabla_t f(t; c)| - \sum_d \log \sigma_d, \qquad
    t = \frac{z - \mu}{\sigma}.

:math:`f` is a composition of coupling layers. Each leaves every other latent unchanged and transforms the rest by monotonic
rational-quadratic splines on :math:`[-5, 5]`. A network computes the parameters of the splines from the unchanged latents
and the context :math:`c`, so both directions have the same cost. All splines are initialized to the identity, so that a
flow is a Gaussian at initialization.

The mean and the standard deviation have no closed form. They are estimated from fixed noise, the same for every call and
every image. It consists of antithetic pairs :math:`\pm\epsilon` with unit variance, whose coordinates are evenly spaced in
quantiles (a Latin hypercube). While the flow is a Gaussian the estimates are exact.

References:
    | Variational Inference with Normalizing Flows (Rezende & Mohamed, 2015), https://arxiv.org/abs/1505.05770
    | Density Estimation using Real NVP (Dinh et al., 2016) for coupling layers, https://arxiv.org/abs/1605.08803
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
from zuko.nn import MLP, MaskedMLP
from zuko.transforms import MonotonicRQSTransform

from vaekit.core.rng import generator
from vaekit.distributions.bounded_scale import scale_of
from vaekit.distributions.latent_set import LatentSet
from vaekit.distributions.posteriors import DiagonalGaussian, Posterior
from vaekit.distributions.priors import Encode, Prior

Widths = Annotated[list[PositiveInt], Field(min_length=1)]
"""The widths of the hidden layers, from the input to the output."""

NumBins = Annotated[int, Field(ge=2)]
"""The number of bins of a spline."""

PRIOR_SAMPLES, POSTERIOR_SAMPLES = 1024, 64
"""The number of samples for the estimates of mean and standard deviation. A posterior needs them for each image."""

CHUNK_SIZE = 2**14
"""The number of samples transformed at a time for these estimates: 30 MB per coupling layer for 40 latents and 8 bins."""


class FlowDistribution(Distribution):
    r"""Noise that is transformed by a flow, then shifted and scaled. The module docstring has the equations.

    All computations are in float32, under autocast as well.

    Arguments:
        batch_size: B. The batch shape is (B).
        loc: The shift :math:`\mu`, with shape (B, D), or (D) for the whole batch.
        scale: The scale :math:`\sigma`, with the same shape.
        flow: The function from a context to the transform f, which maps ``(z - loc) / scale`` to noise.
        context: The context c, with shape (B, E), or None for a flow without a context: then all distributions of the batch
            are equal.
        num_samples: The number of fixed samples for the estimates of ``mean``, ``variance`` and ``stddev``. It must be even.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "loc": constraints.real_vector,
        "scale": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        batch_size: int,
        loc: Tensor,
        scale: Tensor,
        flow: LazyComposedTransform,
        context: Tensor | None,
        num_samples: int,
    ) -> None:
        self.loc = loc
        self.scale = scale
        self.flow = flow
        self.context = context
        self.num_samples = num_samples
        super().__init__(torch.Size([batch_size]), loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean, estimated from fixed noise, with shape (B, D)."""
        return (self.loc + self.scale * self._transformed_moments()[0]).expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        """The variance of each latent, estimated from fixed noise, with shape (B, D)."""
        first, second = self._transformed_moments()
        return (self.scale**2 * (second - first**2)).expand(self._extended_shape())

    def from_noise(self, noise: Tensor) -> Tensor:
        """Turns standard normal noise of shape (*, B, D) into samples of the same shape, with a pathwise gradient."""
        return self.loc + self.scale * self._transform(noise, self.context)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Samples latents of shape (*sample_shape, B, D), with a pathwise gradient."""
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.from_noise(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-density in nats of latents of shape (*, B, D), with shape (*, B)."""
        standardized = (value - self.loc) / self.scale
        with torch.autocast(value.device.type, enabled=False):
            noise, log_det = self.flow(self.context).call_and_ladj(standardized)
        log_normal = -0.5 * (noise**2 + math.log(2 * math.pi)).sum(-1)
        log_density: Tensor = log_normal + log_det - self.scale.log().sum(-1)
        return log_density

    def _transform(self, noise: Tensor, context: Tensor | None) -> Tensor:
        with torch.autocast(noise.device.type, enabled=False):  # in bfloat16 the two directions would not be inverses
            transformed: Tensor = self.flow(context).inv(noise)
        return transformed

    def _transformed_moments(self) -> tuple[Tensor, Tensor]:
        """The first two moments of transformed noise, before shift and scale; each has shape (B, D), or (1, D)."""
        context, inverse = self._distinct_contexts()
        num = 1 if context is None else len(context)
        noise = _fixed_noise(self.num_samples, self.event_shape[0]).to(self.loc.device).unsqueeze(1).expand(-1, num, -1)
        first = second = torch.zeros_like(noise[0])
        for chunk in noise.split(max(1, CHUNK_SIZE // num)):
            transformed = self._transform(chunk, context)
            first, second = first + transformed.sum(0), second + (transformed**2).sum(0)
        return first[inverse] / self.num_samples, second[inverse] / self.num_samples

    def _distinct_contexts(self) -> tuple[Tensor | None, Tensor]:
        """The distinct contexts, of which a class-conditional prior has few, and the number of each element's context."""
        if self.context is None:
            return None, self.loc.new_zeros(1, dtype=torch.int64)
        distinct, inverse = self.context.detach().unique(dim=0, return_inverse=True)
        if len(distinct) < len(self.context) and not self.context.requires_grad:
            return distinct, inverse
        return self.context, torch.arange(len(self.context), device=self.context.device)


class FlowPrior(Prior):
    """A learned flow, given the context if the model is conditional. At initialization it is the standard normal.

    Arguments:
        latent_dim: D, the number of latents.
        context_dim: E, the size of the context.
        shape: The shape of an image (C, H, W). Not used.
        num_transforms: The number of coupling layers. Two transform every latent once.
        hidden: The widths of the hidden layers of the network of each coupling layer.
        num_bins: The number of bins of a spline.
    """

    def __init__(
        self,
        latent_dim: int,
        context_dim: int = 0,
        shape: tuple[int, ...] | None = None,
        num_transforms: PositiveInt = 4,
        hidden: Widths = [64, 64],
        num_bins: NumBins = 8,
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

    def start(self, latents: LatentSet, seed: int) -> None:
        """Sets shift and scale to the mean and the standard deviation of each latent."""
        standardize(self.loc, self.log_scale, latents)

    def forward(self, batch_size: int, context: Tensor | None = None, encode: Encode | None = None) -> FlowDistribution:
        """Returns the flow with batch shape (B) and event shape (D)."""
        context = None if context is None else context.float()
        return FlowDistribution(batch_size, self.loc, scale_of(self.log_scale), self.flow, context, PRIOR_SAMPLES)


class FlowPosterior(Posterior):
    """A flow whose noise is shifted and scaled by the mean and standard deviation of a :class:`DiagonalGaussian`.

    The coupling layers depend on a linear function of the features. The density may be skewed, curved and multimodal. At
    initialization it is the Gaussian.

    Arguments:
        num_features: F, the number of features, or (F, h, w) for feature maps; see :class:`DiagonalGaussian`.
        latent_dim: D, the number of latents.
        flow_context_dim: The size of the context of the coupling layers, a linear function of all features.
        num_transforms: The number of coupling layers. Two transform every latent once.
        hidden: The widths of the hidden layers of the network of each coupling layer.
        num_bins: The number of bins of a spline.

    Raises:
        ConfigError: If the features are maps and ``latent_dim`` is not a multiple of :math:`hw`.
    """

    def __init__(
        self,
        num_features: int | tuple[int, int, int],
        latent_dim: int,
        flow_context_dim: PositiveInt = 64,
        num_transforms: PositiveInt = 4,
        hidden: Widths = [64, 64],
        num_bins: NumBins = 8,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.latent_dim = latent_dim
        self.flow_context_dim = flow_context_dim
        self.num_transforms = num_transforms
        self.hidden = hidden
        self.num_bins = num_bins
        self.gaussian = DiagonalGaussian(num_features, latent_dim)
        total = num_features if isinstance(num_features, int) else math.prod(num_features)
        self.flow_context = nn.Linear(total, flow_context_dim)
        self.flow = spline_flow(latent_dim, flow_context_dim, num_transforms, hidden, num_bins)

    def forward(self, features: Tensor) -> FlowDistribution:
        """Returns the flow with batch shape (B) and event shape (D)."""
        qz = self.gaussian(features)
        context = self.flow_context(features.flatten(1)).float()
        return FlowDistribution(len(features), qz.mean, qz.stddev, self.flow, context, POSTERIOR_SAMPLES)


def standardize(loc: Tensor, log_scale: Tensor, latents: LatentSet) -> None:
    """Sets a shift and the logarithm of a scale, each with shape (D), to the moments of the aggregate posterior."""
    with torch.no_grad():
        loc.copy_(latents.mean)
        log_scale.copy_(latents.stddev.log())


def spline_flow(
    latent_dim: int, context_dim: int, num_transforms: int, hidden: list[int], num_bins: int
) -> LazyComposedTransform:
    """Returns a composition of coupling layers, from latents to noise, that is initialized to the identity.

    With one latent the spline depends on the context alone.
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
    begin_as_identity(flow)
    return flow


def begin_as_identity(flow: nn.Module) -> None:
    """Sets the last layer of each network of a flow to zero, at which each of its transforms is the identity."""
    for module in flow.modules():
        last = module[-1] if isinstance(module, MLP | MaskedMLP) else module
        if isinstance(module, MLP | MaskedMLP | nn.ParameterList):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)


@cache
def _fixed_noise(num: int, latent_dim: int) -> Tensor:
    """The fixed noise of the module docstring, with shape (num, D); ``num`` is even."""
    source = generator(0)
    strata = torch.rand(num // 2, latent_dim, generator=source).argsort(0)
    signs = torch.randint(0, 2, strata.shape, generator=source) * 2 - 1
    half = signs * torch.erfinv((strata + 0.5) / len(strata))
    half = half / (half**2).mean(0).sqrt()
    return torch.stack([half, -half], 1).flatten(0, 1)
