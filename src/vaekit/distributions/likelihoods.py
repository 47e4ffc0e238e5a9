r"""Likelihoods p(x|z): modules that turn a decoder's output into a distribution over images.

A decoder draws maps of parameters, :math:`a`, and a likelihood reads them, one or more for each channel:

.. math::
    \text{Bernoulli} \quad & \log p(x|a) = x a - \log(1 + e^a)
        & x \in \{0, 1\} \\
    \text{continuous Bernoulli} \quad & \log p(x|a) = x a - A(a), \quad A(a) = \log \tfrac{e^a - 1}{a}
        & x \in [0, 1] \\
    \text{Gaussian} \quad & \log p(x|a) = -\tfrac12 \left(\tfrac{x - \mathrm{sigmoid}(a)}{\sigma}\right)^2
        - \log \sigma - \tfrac12 \log 2\pi
        & x \in \mathbb{R}

summed over pixels, every constant included. Each knows its **measure** (a probability mass or a density) and its **support**
(what a pixel may be), so that a report can say what its number means: a Bernoulli fed gray pixels gives a cross-entropy
and not a likelihood.

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114
    | The continuous Bernoulli (Loaiza-Ganem & Cunningham, 2019), https://arxiv.org/abs/1907.06845
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, constraints

from vaekit.core.units import GRAY_LEVELS, to_unit_interval

SERIES_BELOW = 0.2
"""Below this size of its parameter the continuous Bernoulli's formulas lose digits, and their series are as good."""

PIXELS = 3
"""How many axes an image has: channels, height and width."""

LOGVARS = (-40.0, 20.0)
"""Between which a pixel's log-variance is taken at its word; beyond, float32 would lose its square or its density."""
FIRST_SCALE = 0.25
"""The learned scale before there is anything to learn it from."""
MEMORY = 2_000
"""Over how many images a learned scale is averaged: few enough to follow training, enough to stand still at its end."""


class Likelihood(nn.Module, ABC):
    """A distribution over images, given a decoder's output.

    Attributes:
        measure: Whether ``log_prob`` is the log of a probability mass or of a density.
        support: What a pixel may be for that log to be a likelihood.
    """

    measure: ClassVar[Literal["mass", "density"]]
    support: ClassVar[Literal["binary", "gray levels", "unit interval", "real line"]]

    @property
    def levels(self) -> int:
        """L, how many gray levels are told apart where the support is gray levels."""
        return GRAY_LEVELS

    def num_maps(self, channels: int) -> int:
        """Returns P, how many maps of parameters are read for images of so many channels: one for each by default."""
        return channels

    def target(self, pixels: Tensor) -> Tensor:
        """Returns what the density is evaluated at: the pixels on the unit interval, with the same shape (B, C, H, W)."""
        return to_unit_interval(pixels)

    def observe(self, parameters: Tensor, target: Tensor) -> None:
        """Estimates what has a closed form, from a batch of training; nothing by default.

        Arguments:
            parameters: A decoder's output, with shape (*, B, P, H, W).
            target: What it should have been, with shape (B, C, H, W).
        """

    @abstractmethod
    def forward(self, parameters: Tensor) -> Distribution:
        """Returns p(x|z).

        Arguments:
            parameters: A decoder's output, with shape (*, P, H, W).

        Returns:
            A distribution with batch shape (*) and event shape (C, H, W).
        """


class BernoulliPixels(Distribution):
    r"""Independent Bernoulli pixels, written for speed: a step of training spends a tenth of its time here.

    Its ``log_prob`` accepts the whole unit interval, where it is the negative cross-entropy.

    Arguments:
        logits: :math:`a`, with shape (*, C, H, W); the last three axes are the event.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "logits": constraints.independent(constraints.real, PIXELS)
    }
    support = constraints.independent(constraints.unit_interval, PIXELS)

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-PIXELS], logits.shape[-PIXELS:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The probability that a pixel is 1, with shape (*, C, H, W)."""
        return self.logits.sigmoid()

    @property
    def variance(self) -> Tensor:
        """The variance of each pixel, with shape (*, C, H, W)."""
        mean = self.mean
        return mean * (1 - mean)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws images of zeros and ones, with shape (*sample_shape, *, C, H, W)."""
        with torch.no_grad():
            return self.mean.expand(self._extended_shape(torch.Size(sample_shape))).bernoulli()

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-probability in nats, with the shape of the batch."""
        linear = (value * self.logits).flatten(-PIXELS).sum(-1)
        return linear - F.softplus(self.logits).flatten(-PIXELS).sum(-1)


class ContinuousBernoulliPixels(Distribution):
    r"""Independent continuous Bernoulli pixels, by their natural parameter :math:`a`.

    It is an exponential family with log-partition :math:`A(a) = \log((e^a - 1) / a)`; mean and variance are its derivatives.
    Every formula is exact to rounding for any :math:`a`; torch's own class clamps probabilities and stops integrating to 1
    beyond :math:`|a| \approx 16`.

    Arguments:
        logits: :math:`a`, with shape (*, C, H, W); the last three axes are the event.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "logits": constraints.independent(constraints.real, PIXELS)
    }
    support = constraints.independent(constraints.unit_interval, PIXELS)

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-PIXELS], logits.shape[-PIXELS:], validate_args=False)

    def _by_size(self, small: Callable[[Tensor], Tensor], large: Callable[[Tensor], Tensor]) -> Tensor:
        """A formula with a removable singularity at 0: its series near there and itself elsewhere, finite gradients too."""
        near = self.logits.abs() < SERIES_BELOW
        zero, one = torch.zeros_like(self.logits), torch.ones_like(self.logits)
        return torch.where(near, small(torch.where(near, self.logits, zero)), large(torch.where(near, one, self.logits)))

    @property
    def log_partition(self) -> Tensor:
        """:math:`A(a)` of each pixel, with shape (*, C, H, W)."""
        return self._by_size(
            lambda a: a / 2 + a**2 / 24 - a**4 / 2880,
            lambda a: a.relu() + torch.log(-torch.expm1(-a.abs())) - a.abs().log(),
        )

    @property
    def mean(self) -> Tensor:
        """:math:`A'(a) = 1 / (1 - e^{-a}) - 1 / a` of each pixel, with shape (*, C, H, W)."""
        return self._by_size(lambda a: 0.5 + a / 12 - a**3 / 720, lambda a: -1 / torch.expm1(-a) - 1 / a)

    @property
    def variance(self) -> Tensor:
        r""":math:`A''(a) = 1 / a^2 - 1 / (4 \sinh^2(a / 2))` of each pixel, with shape (*, C, H, W)."""
        return self._by_size(
            lambda a: 1 / 12 - a**2 / 240 + a**4 / 6048,
            lambda a: 1 / a**2 - torch.exp(-a.abs()) / torch.expm1(-a.abs()) ** 2,
        )

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws images in the unit interval by the inverse of their cumulative distribution."""
        with torch.no_grad():
            a = self.logits.expand(self._extended_shape(torch.Size(sample_shape)))
            size, u = a.abs().clamp(min=1e-6), torch.rand_like(a)
            below = -torch.log1p(u * torch.expm1(-size)) / size  # for a negative parameter; a positive one mirrors it
            return torch.where(a > 0, 1 - below, below)

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-density in nats, with the shape of the batch."""
        return (value * self.logits - self.log_partition).flatten(-PIXELS).sum(-1)


class Bernoulli(Likelihood):
    """Binary pixels: the likelihood of binarized images, a cross-entropy for gray ones."""

    measure = "mass"
    support = "binary"

    def forward(self, parameters: Tensor) -> Distribution:
        """Returns Bernoulli pixels with the parameters, of shape (*, C, H, W), as logits."""
        return BernoulliPixels(parameters)


class ContinuousBernoulli(Likelihood):
    """Pixels in the unit interval: the Bernoulli cross-entropy with the normalizing constant that it lacks there.

    References:
        | The continuous Bernoulli (Loaiza-Ganem & Cunningham, 2019), https://arxiv.org/abs/1907.06845
    """

    measure = "density"
    support = "unit interval"

    def forward(self, parameters: Tensor) -> Distribution:
        """Returns continuous Bernoulli pixels with the parameters, of shape (*, C, H, W), as logits."""
        return ContinuousBernoulliPixels(parameters)


Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["learned", "pixel"]


class Gaussian(Likelihood):
    r"""Normal pixels with their mean in the unit interval: squared error as what it is.

    With a shared :math:`\sigma` the likelihood is highest where :math:`\sigma^2` is the mean squared error. A learned scale
    is set to that, averaged over the last images of training, so that no KL weight needs to be tuned; a gradient would
    get there a thousand steps too late. A fixed :math:`\sigma = \sqrt{1/2}` is the plain squared error, but for a constant.

    Arguments:
        scale: ``"learned"`` for one optimal :math:`\sigma`, ``"pixel"`` for one that the decoder gives for each pixel as its
            log-variance, :math:`\sigma^2 = \mathrm{floor}^2 + e^{\mathrm{logvar}}`, or a number for a fixed one. Units are
            those of the unit interval.
        floor: The smallest :math:`\sigma` that is learned. Without one the density of a pixel that never changes is
            unbounded; the default is one gray level, below which an 8-bit image holds nothing. With 0 the scale of a
            pixel is that of Auto-Encoding Variational Bayes.

    References:
        | Simple and Effective VAE Training with Calibrated Decoders (Rybkin et al., 2021), https://arxiv.org/abs/2006.13202
    """

    measure = "density"
    support = "real line"
    mse: Tensor
    num_seen: Tensor

    def __init__(self, scale: Scale = "learned", floor: Annotated[float, Field(ge=0)] = 1 / 255) -> None:
        super().__init__()
        self.scale = scale
        self.floor = floor
        if scale == "learned":
            self.register_buffer("mse", torch.tensor(FIRST_SCALE**2))
            self.register_buffer("num_seen", torch.tensor(0))

    def num_maps(self, channels: int) -> int:
        """Returns one map for each channel, and another where the scale is a pixel's own."""
        return 2 * channels if self.scale == "pixel" else channels

    def observe(self, parameters: Tensor, target: Tensor) -> None:
        """Moves a learned scale toward the batch's; the first batch sets it."""
        if self.scale == "learned":
            self.num_seen += len(target)
            mse = (parameters.detach().sigmoid() - target).square().mean()
            self.mse.lerp_(mse, (len(target) / self.num_seen.clamp(max=MEMORY)).clamp(max=1))

    def forward(self, parameters: Tensor) -> Distribution:
        """Returns normal pixels with mean ``sigmoid(a)``; of (*, 2C, H, W) maps the second half is the scale's."""
        if self.scale == "pixel":
            mean, logvar = parameters.chunk(2, dim=-PIXELS)
            stddev = (self.floor**2 + logvar.clamp(*LOGVARS).exp()).sqrt()
        else:
            mean = parameters
            stddev = self._shared_stddev(mean).expand_as(mean)
        return Independent(Normal(mean.sigmoid(), stddev, validate_args=False), PIXELS, validate_args=False)

    def _shared_stddev(self, like: Tensor) -> Tensor:
        if isinstance(self.scale, float | int):
            return like.new_tensor(float(self.scale))
        return self.mse.sqrt().clamp(min=self.floor)
