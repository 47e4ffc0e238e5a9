r"""The discretized logistic mixture: a likelihood that is a probability mass over the gray levels of 8-bit images.

A pixel :math:`x \in [-1, 1]` has one of :math:`L` levels with spacing :math:`2h = 2 / (L - 1)`. A logistic variable with
mean :math:`\mu` and scale :math:`s` is rounded to the nearest level. The probability of a level is the mass of the bin
around it; the first and the last bin extend to infinity:

.. math::
    P(x | \mu, s) = \mathrm{sigmoid}(u) - \mathrm{sigmoid}(l), \qquad
    u = \begin{cases} \infty & x = 1 \\ (x + h - \mu) / s & \text{else} \end{cases} \qquad
    l = \begin{cases} -\infty & x = -1 \\ (x - h - \mu) / s & \text{else} \end{cases}

The masses of the :math:`L` levels sum to 1. For color images, with weights :math:`\pi` that the channels of a pixel share,

.. math::
    p(r, g, b) = \sum_{k=1}^K \pi_k \, P(r | \mu^r_k, s^r_k) \, P(g | \mu^g_k + \alpha_k r, s^g_k)
        \, P(b | \mu^b_k + \beta_k r + \gamma_k g, s^b_k)

For gray images only the first factor remains. Pixels are independent. In floating point the difference of two sigmoids
underflows, so the logarithm of a product is computed instead:

.. math::
    \mathrm{sigmoid}(u) - \mathrm{sigmoid}(l)
        = \frac{e^{-l} - e^{-u}}{(1 + e^{-u}) (1 + e^{-l})}
        = \mathrm{sigmoid}(u) \, \mathrm{sigmoid}(-l) \, (1 - e^{-(u - l)}), \qquad u - l = 2h / s.

This also holds for the first and the last level, where two factors are 1. No approximation by a density is needed, and
every term has a finite gradient.

References:
    | PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other Modifications
      (Salimans et al., 2017), https://arxiv.org/abs/1701.05517
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.distributions import Categorical, Distribution, constraints

from vaekit.core.errors import ConfigError
from vaekit.core.units import GRAY_LEVELS, to_gray_levels, to_unit_interval
from vaekit.distributions.bounded_scale import soft_clip
from vaekit.distributions.likelihoods import Likelihood
from vaekit.distributions.pixels import IMAGE_DIMS

INITIAL_SCALE = 0.35
"""The scale for zero maps: the logistic around mid-gray that is nearest to uniform, 8.28 bits for a uniform 8-bit pixel."""

MIN_SCALE = 0.1
"""The smallest scale, in half bins: a component centered on a level has mass tanh(1 / (2 * 0.1)) = 0.9999 there."""

TANH_BOUND = (7.0, 8.0)
"""The bound of the argument of tanh, as in :func:`vaekit.distributions.bounded_scale.soft_clip`. 1 - tanh(7) is 2e-6."""

COMPONENT_DIM = -IMAGE_DIMS - 1
"""The axis of the components in tensors of shape (*, K, C, H, W)."""


def _log_complement(size: Tensor) -> Tensor:
    """log(1 - exp(-size)) for positive ``size``, stable for every magnitude."""
    return torch.log(-torch.expm1(-size))


def _center(means: Tensor, coefficients: Tensor, previous: Sequence[Tensor]) -> Tensor:
    """The mean of the next channel, given the previous channels on [-1, 1].

    Arguments:
        means: The means without the previous channels, with shape (*, C, H, W).
        coefficients: The coefficients, with shape (*, C (C - 1) / 2, H, W): of red for green, of red for blue, of green for
            blue.
        previous: The previous channels, each with shape (*, H, W).
    """
    channel = len(previous)
    first = channel * (channel - 1) // 2
    center = means.select(-IMAGE_DIMS, channel)
    for index, x in enumerate(previous):
        center = center + coefficients.select(-IMAGE_DIMS, first + index) * x
    return center


def _clipped_mean(center: Tensor, log_scale: Tensor) -> Tensor:
    r"""The mean of a logistic variable that is clipped to [-1, 1], rescaled to the unit interval.

    .. math::
        \frac12 \int_{-1}^1 \mathrm{sigmoid}\Big(\frac{\mu - x}{s}\Big) dx
            = \frac s2 \left(\mathrm{softplus} \frac{\mu + 1}{s} - \mathrm{softplus} \frac{\mu - 1}{s}\right)
            = \frac s2 \log\left(1 + \mathrm{sigmoid}\Big(\frac{\mu - 1}{s}\Big) (e^{2 / s} - 1)\right)

    The last form has no difference of large numbers. Its logarithm is computed as a softplus.
    """
    inverse = torch.exp(-log_scale)
    odds = F.logsigmoid((center - 1) * inverse) + 2 * inverse + _log_complement(2 * inverse)
    return F.softplus(odds) / (2 * inverse)


class LogisticMixturePixels(Distribution):
    r"""Pixels with gray levels from a discretized mixture of logistics. The module docstring has the equations.

    Values are gray levels on the unit interval, :math:`g / (L - 1)`. ``log_prob`` rounds other values to the nearest level.
    The log-mass is exact to rounding: in float32 the masses sum to 1 within 1e-5. The log-mass and its gradient are finite
    for all parameters from :class:`LogisticMixture`, and for other means and log-scales if
    ``(L - 1) * mean * exp(-log_scale)`` does not overflow.

    Arguments:
        logits: The unnormalized log-weights of the components, with shape (*, K, H, W).
        means: The means without the previous channels, with shape (*, K, C, H, W). They may lie outside [-1, 1].
        log_scales: The log-scales, with shape (*, K, C, H, W).
        coefficients: The coefficients of previous channels, with shape (*, K, C (C - 1) / 2, H, W): none for gray images;
            of red for green, of red for blue and of green for blue for color images; likewise for any number of channels.
        levels: L, the number of levels.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "logits": constraints.independent(constraints.real, IMAGE_DIMS),
        "means": constraints.independent(constraints.real, IMAGE_DIMS + 1),
        "log_scales": constraints.independent(constraints.real, IMAGE_DIMS + 1),
        "coefficients": constraints.independent(constraints.real, IMAGE_DIMS + 1),
    }
    support = constraints.independent(constraints.unit_interval, IMAGE_DIMS)

    def __init__(
        self, logits: Tensor, means: Tensor, log_scales: Tensor, coefficients: Tensor, levels: int = GRAY_LEVELS
    ) -> None:
        self.logits = logits
        self.means = means
        self.log_scales = log_scales
        self.coefficients = coefficients
        self.levels = levels
        super().__init__(means.shape[:COMPONENT_DIM], means.shape[-IMAGE_DIMS:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean, on the unit interval, with shape (*, C, H, W).

        It is the weighted mean of the components' means, each the closed-form mean of a logistic variable clipped to [-1,
        1]. For gray images it differs from the mean of the mass only by rounding to levels: by less than half a level, and
        by less than 1/40 of a level if scales are at least half a bin. For color images the green and blue of a component
        use the mean of its previous channels. This is exact if no channel is clipped and an approximation otherwise.
        """
        images: list[Tensor] = []
        for log_scale in self.log_scales.unbind(-IMAGE_DIMS):
            center = _center(self.means, self.coefficients, [2 * image - 1 for image in images])
            images.append(_clipped_mean(center, log_scale))
        weights = self.logits.softmax(-IMAGE_DIMS).unsqueeze(-IMAGE_DIMS)
        return (weights * torch.stack(images, -IMAGE_DIMS)).sum(COMPONENT_DIM).clamp(0, 1)  # a sum may round to beyond 1

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples images of gray levels on the unit interval, with shape (*sample_shape, *, C, H, W).

        Each pixel samples a component and then its channels in order. Each channel is rounded and clipped before the next
        depends on it, so samples follow the mass of ``log_prob`` exactly. A pixel whose weights are NaN is NaN.
        """
        sample_shape = torch.Size(sample_shape)
        with torch.no_grad():
            undefined = self.logits.logsumexp(-IMAGE_DIMS, keepdim=True).isfinite().logical_not()  # (*, 1, H, W)
            logits = self.logits.masked_fill(undefined, 0).movedim(-IMAGE_DIMS, -1)
            component = Categorical(logits=logits, validate_args=False).sample(sample_shape)
            means, log_scales, coefficients = (
                _select(parameter.expand(sample_shape + parameter.shape), component)
                for parameter in (self.means, self.log_scales, self.coefficients)
            )
            channels: list[Tensor] = []
            for log_scale in log_scales.unbind(-IMAGE_DIMS):
                center = _center(means, coefficients, [2 * channel - 1 for channel in channels])
                x = center + log_scale.exp() * torch.logit(torch.rand_like(center))
                channels.append(self._nearest((x + 1) / 2) / (self.levels - 1))
            return torch.stack(channels, -IMAGE_DIMS).masked_fill(undefined, math.nan)

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-mass in nats of gray levels on the unit interval, with shape (*)."""
        last = self.levels - 1
        level = self._nearest(value).unsqueeze(COMPONENT_DIM)
        x = (2 * level / last - 1).unbind(-IMAGE_DIMS)
        centers = [_center(self.means, self.coefficients, x[:channel]) for channel in range(len(x))]
        center = last * torch.stack(torch.broadcast_tensors(*centers), -IMAGE_DIMS)
        # In units of half a bin the edges of bins are integers: adjacent bins share an edge exactly, and the width of a bin
        # is not a difference of rounded numbers. Therefore the masses sum to 1.
        inverse = torch.exp(-self.log_scales) / last
        upper = (2 * level - last + 1 - center) * inverse
        lower = (2 * level - last - 1 - center) * inverse
        has_upper, has_lower, one = level < last, level > 0, torch.zeros_like(level)
        log_mass = (
            torch.where(has_upper, F.logsigmoid(upper), one)
            + torch.where(has_lower, F.logsigmoid(-lower), one)
            + torch.where(has_upper & has_lower, _log_complement(2 * inverse), one)
        )
        log_joint = self.logits.log_softmax(-IMAGE_DIMS) + log_mass.sum(-IMAGE_DIMS)
        return log_joint.logsumexp(-IMAGE_DIMS).flatten(-2).sum(-1)

    def _nearest(self, x: Tensor) -> Tensor:
        """The index of the nearest level; values outside [0, 1] are clipped."""
        return (x * (self.levels - 1)).round().clamp(0, self.levels - 1)


def _select(parameter: Tensor, component: Tensor) -> Tensor:
    """Selects a component per pixel, (*, H, W), from a parameter of shape (*, K, C, H, W); returns shape (*, C, H, W)."""
    index = component.unsqueeze(-IMAGE_DIMS).unsqueeze(-IMAGE_DIMS)
    return torch.take_along_dim(parameter, index, COMPONENT_DIM).squeeze(COMPONENT_DIM)


class LogisticMixture(Likelihood):
    r"""A discretized mixture of logistics, the likelihood for images of gray levels.

    Each component has :math:`1 + 2C + C (C - 1) / 2` maps: its logit, a mean and a log-scale for each channel, and the
    coefficients of previous channels. Logits and means are used without a transform, coefficients are passed through
    :math:`\tanh`, and scales are

    .. math:: \log s = \log s_0 + R \tanh(a / R), \qquad s_0 = 0.35, \qquad R = \log\frac{s_0}{h / 10},

    which is approximately :math:`\log s_0 + a` for small :math:`a`. With zero maps the distribution of a pixel is the
    logistic that is nearest to uniform. The smallest scale is :math:`h / 10`, where a component centered on a level has a
    mass of 0.9999 there. Smaller scales gain nothing, while gradients and the log-mass of other levels grow with
    :math:`1 / s`. The largest scale is symmetric to it around :math:`\log s_0`; with 8 bits nearly all its mass is on black
    and white.

    Arguments:
        num_components: K, the number of logistics per pixel.
        bits: The number of bits per pixel; the highest bits are kept. With fewer than 8 bits the likelihood is that of
            coarser images and cannot be compared with one of 8 bits.

    References:
        | PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood and Other Modifications
          (Salimans et al., 2017), https://arxiv.org/abs/1701.05517
    """

    measure = "mass"
    support = "gray levels"

    def __init__(self, num_components: PositiveInt = 10, bits: Annotated[int, Field(ge=1, le=8)] = 8) -> None:
        super().__init__()
        self.num_components = num_components
        self.bits = bits

    @property
    def levels(self) -> int:
        """L, the number of levels of a pixel."""
        return 1 << self.bits

    def num_maps(self, channels: int) -> int:
        """Returns P, the number of parameter maps for images with C channels: 3 K for gray images, 10 K for color images."""
        return self.num_components * (1 + 2 * channels + channels * (channels - 1) // 2)

    def target(self, x: Tensor) -> Tensor:
        """Returns the highest bits of the pixels on the unit interval, with the same shape (B, C, H, W)."""
        coarse = torch.div(to_gray_levels(to_unit_interval(x)), GRAY_LEVELS // self.levels, rounding_mode="floor")
        return coarse.float() / (self.levels - 1)

    def forward(self, parameters: Tensor) -> Distribution:
        """Returns p(x|z), given parameter maps of shape (*, P, H, W), component by component.

        Raises:
            ConfigError: If P does not match a number of channels.
        """
        num = parameters.shape[-IMAGE_DIMS]
        channels = next((channels for channels in range(1, num) if self.num_maps(channels) >= num), 1)
        if self.num_maps(channels) != num:
            raise ConfigError(
                f"logistic mixture: {self.num_components} components need {self.num_maps(1)} maps for gray images and "
                f"{self.num_maps(3)} for color images, got {num}; "
                "set the decoder's num_maps to likelihood.num_maps(channels)"
            )
        maps = parameters.unflatten(-IMAGE_DIMS, (self.num_components, -1))
        logits, means, raw_scales, raw_coefficients = maps.split(
            [1, channels, channels, channels * (channels - 1) // 2], dim=-IMAGE_DIMS
        )
        log_range = math.log(INITIAL_SCALE * (self.levels - 1) / MIN_SCALE)
        # The slope of tanh rounds to 0 beyond 9; the bound keeps it at 4e-7, so that a component is never stuck.
        bounded = soft_clip(raw_scales / log_range, *TANH_BOUND)
        log_scales = math.log(INITIAL_SCALE) + log_range * torch.tanh(bounded)
        return LogisticMixturePixels(logits.squeeze(-IMAGE_DIMS), means, log_scales, raw_coefficients.tanh(), self.levels)
