"""Distributions over images with independent pixels: Bernoulli, continuous Bernoulli and normal.

The equations are in :mod:`vaekit.distributions.likelihoods`, which makes them of the output of a decoder.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, Normal, constraints

SERIES_BELOW = 0.2
"""The continuous Bernoulli uses a series for parameters below this magnitude, where its formulas lose digits."""

IMAGE_DIMS = 3
"""The number of dimensions of an image: channels, height and width."""


class LogitPixels(Distribution):
    r"""Independent pixels in [0, 1], each with one parameter :math:`a`.

    Arguments:
        logits: :math:`a`, with shape (*, C, H, W). The last three axes are the event.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "logits": constraints.independent(constraints.real, IMAGE_DIMS)
    }
    support = constraints.independent(constraints.unit_interval, IMAGE_DIMS)

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-IMAGE_DIMS], logits.shape[-IMAGE_DIMS:], validate_args=False)


class BernoulliPixels(LogitPixels):
    r"""Independent Bernoulli pixels. The implementation is optimized for speed: training spends a tenth of its time here.

    ``log_prob`` accepts values in [0, 1], for which it is the negative cross-entropy.

    Arguments:
        logits: :math:`a`, with shape (*, C, H, W). The last three axes are the event.
    """

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
        """Samples images of zeros and ones, with shape (*sample_shape, *, C, H, W); NaN where the logit is NaN."""
        with torch.no_grad():
            mean = self.mean.expand(self._extended_shape(torch.Size(sample_shape)))
            return torch.where(mean.isnan(), mean, mean.nan_to_num().bernoulli())

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-probability in nats of images of shape (*, C, H, W), with shape (*)."""
        linear = (value * self.logits).flatten(-IMAGE_DIMS).sum(-1)
        return linear - F.softplus(self.logits).flatten(-IMAGE_DIMS).sum(-1)


class ContinuousBernoulliPixels(LogitPixels):
    r"""Independent continuous Bernoulli pixels, parameterized by the natural parameter :math:`a`.

    It is an exponential family with log-partition function :math:`A(a) = \log((e^a - 1) / a)`, whose derivatives are mean
    and variance. Every formula is exact to rounding for every :math:`a`. ``torch.distributions.ContinuousBernoulli`` clamps
    probabilities and does not integrate to 1 for :math:`|a| > 16`.

    Arguments:
        logits: :math:`a`, with shape (*, C, H, W). The last three axes are the event.
    """

    def _by_size(self, small: Callable[[Tensor], Tensor], large: Callable[[Tensor], Tensor]) -> Tensor:
        """Evaluates a formula with a removable singularity at 0, by its series ``small`` near 0; gradients are finite."""
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
        # Beyond 80 the exponential overflows, its gradient would be 0 * inf, and the term is 0 in any case.
        return self._by_size(lambda a: 0.5 + a / 12 - a**3 / 720, lambda a: -1 / torch.expm1((-a).clamp(max=80)) - 1 / a)

    @property
    def variance(self) -> Tensor:
        r""":math:`A''(a) = 1 / a^2 - 1 / (4 \sinh^2(a / 2))` of each pixel, with shape (*, C, H, W)."""
        return self._by_size(
            lambda a: 1 / 12 - a**2 / 240 + a**4 / 6048,
            lambda a: 1 / a**2 - torch.exp(-a.abs()) / torch.expm1(-a.abs()) ** 2,
        )

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples images in [0, 1], with shape (*sample_shape, *, C, H, W), by the inverse distribution function."""
        with torch.no_grad():
            a = self.logits.expand(self._extended_shape(torch.Size(sample_shape)))
            size, u = a.abs().clamp(min=1e-6), torch.rand_like(a)
            x = -torch.log1p(u * torch.expm1(-size)) / size  # for negative a; the distribution for -a is its mirror image
            return torch.where(a > 0, 1 - x, x)

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-density in nats of images of shape (*, C, H, W), with shape (*)."""
        return (value * self.logits - self.log_partition).flatten(-IMAGE_DIMS).sum(-1)


class NormalPixels(Normal):
    """Normal pixels. Samples equal those of torch, except that they are NaN, and no error, where the scale is NaN."""

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples pixels, with shape (*sample_shape, *), without a gradient."""
        with torch.no_grad():
            return self.rsample(sample_shape)
