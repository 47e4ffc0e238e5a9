r"""A likelihood of gray levels as they are: the discretized logistic mixture, a probability mass over 8-bit images.

A pixel :math:`x` lies on :math:`[-1, 1]`, on one of :math:`L` levels, :math:`2h = 2 / (L - 1)` apart. A logistic variable of
mean :math:`\mu` and scale :math:`s`, rounded to the nearest level, takes it with the probability of the bin around it, and
the two bins at the ends take all that lies beyond them:

.. math::
    P(x | \mu, s) = \mathrm{sigmoid}(u) - \mathrm{sigmoid}(l), \qquad
    u = \begin{cases} \infty & x = 1 \\ (x + h - \mu) / s & \text{else} \end{cases} \qquad
    l = \begin{cases} -\infty & x = -1 \\ (x - h - \mu) / s & \text{else} \end{cases}

so that the masses of the :math:`L` levels sum to 1. With weights :math:`\pi`, which all channels of a pixel share,

.. math::
    p(r, g, b) = \sum_{k=1}^K \pi_k \, P(r | \mu^r_k, s^r_k) \, P(g | \mu^g_k + \alpha_k r, s^g_k)
        \, P(b | \mu^b_k + \beta_k r + \gamma_k g, s^b_k)

for color, and the first factor alone for gray; pixels are independent. The difference of two sigmoids vanishes in floating
point long before its logarithm is large, so that the logarithm is taken of a product instead:

.. math::
    \mathrm{sigmoid}(u) - \mathrm{sigmoid}(l)
        = \frac{e^{-l} - e^{-u}}{(1 + e^{-u}) (1 + e^{-l})}
        = \mathrm{sigmoid}(u) \, \mathrm{sigmoid}(-l) \, (1 - e^{-(u - l)}), \qquad u - l = 2h / s.

It holds at the ends too, where two factors are 1. No approximation by a density is needed, and every term has a finite
gradient.

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
from vaekit.distributions.likelihoods import PIXELS, Likelihood

BROAD = 0.35
"""The scale of a logistic around mid-gray that is nearest to uniform: of 8 bits, it takes 8.28 for a uniform pixel."""

NARROW = 0.1
"""The smallest scale, in halves of a level's width: a component on a level has mass tanh(1 / (2 * 0.1)) = 0.9999 there."""

COMPONENTS = -PIXELS - 1
"""The axis of components, in tensors of shape (*, K, C, H, W)."""


def _log_complement(size: Tensor) -> Tensor:
    """log(1 - exp(-size)) for a positive size of any magnitude."""
    return torch.log(-torch.expm1(-size))


def _center(means: Tensor, coefficients: Tensor, previous: Sequence[Tensor]) -> Tensor:
    """The mean of a channel, given the channels before it on [-1, 1]: with two of them, of the third.

    Arguments:
        means: With shape (*, C, H, W).
        coefficients: With shape (*, C (C - 1) / 2, H, W): green's for red, then blue's for red and for green.
        previous: The channels before, each with shape (*, H, W).
    """
    channel = len(previous)
    first = channel * (channel - 1) // 2
    center = means.select(-PIXELS, channel)
    for index, x in enumerate(previous):
        center = center + coefficients.select(-PIXELS, first + index) * x
    return center


def _clipped_mean(center: Tensor, log_scale: Tensor) -> Tensor:
    r"""The mean, on the unit interval, of a logistic variable that is clipped to [-1, 1] on the other scale.

    .. math::
        \frac12 \int_{-1}^1 \mathrm{sigmoid}\Big(\frac{\mu - x}{s}\Big) dx
            = \frac s2 \left(\mathrm{softplus} \frac{\mu + 1}{s} - \mathrm{softplus} \frac{\mu - 1}{s}\right)
            = \frac s2 \log\left(1 + \mathrm{sigmoid}\Big(\frac{\mu - 1}{s}\Big) (e^{2 / s} - 1)\right)

    The last form subtracts no large numbers, and its logarithm is the softplus of another.
    """
    inverse = torch.exp(-log_scale)
    odds = F.logsigmoid((center - 1) * inverse) + 2 * inverse + _log_complement(2 * inverse)
    return F.softplus(odds) / (2 * inverse)


class LogisticMixturePixels(Distribution):
    r"""Pixels of gray levels, each from a discretized mixture of logistics; the mathematics is at the top of the module.

    Its values are gray levels on the unit interval, :math:`g / (L - 1)`; ``log_prob`` takes others for the nearest level.
    The log-mass is exact to rounding: in float32 the masses sum to 1 within 1e-5. It and its gradient are finite for every
    parameter that :class:`LogisticMixture` gives, and for means and log-scales of your own as long as
    ``(L - 1) * mean * exp(-log_scale)`` does not overflow.

    Arguments:
        logits: Of the components, with shape (*, K, H, W); unnormalized logarithms of their weights.
        means: On [-1, 1], though they may lie beyond it, with shape (*, K, C, H, W); before what earlier channels add.
        log_scales: With shape (*, K, C, H, W), for the same range.
        coefficients: Of earlier channels in the mean of a later one, with shape (*, K, C (C - 1) / 2, H, W): none for gray,
            and green's for red, blue's for red and blue's for green for color.
        levels: L, how many levels there are.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "logits": constraints.independent(constraints.real, PIXELS),
        "means": constraints.independent(constraints.real, PIXELS + 1),
        "log_scales": constraints.independent(constraints.real, PIXELS + 1),
        "coefficients": constraints.independent(constraints.real, PIXELS + 1),
    }
    support = constraints.independent(constraints.unit_interval, PIXELS)

    def __init__(
        self, logits: Tensor, means: Tensor, log_scales: Tensor, coefficients: Tensor, levels: int = GRAY_LEVELS
    ) -> None:
        self.logits = logits
        self.means = means
        self.log_scales = log_scales
        self.coefficients = coefficients
        self.levels = levels
        super().__init__(means.shape[:COMPONENTS], means.shape[-PIXELS:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The expected image, on the unit interval, with shape (*, C, H, W).

        It is the weighted mean of the components', each that of a logistic variable clipped to the range, which has a closed
        form. For gray pixels that is the mean of the mass but for rounding to levels, which moves it by less than half a
        level, and by less than a fortieth of one where scales are at least half a level's width. Green and blue of a
        component are centered on the expected red and green of that component. This is exact for what is not clipped; where
        a component's green or blue reaches beyond the range, the mean is an approximation, because clipping depends on how
        red and green spread and not on their means alone.
        """
        images: list[Tensor] = []
        for log_scale in self.log_scales.unbind(-PIXELS):
            center = _center(self.means, self.coefficients, [2 * image - 1 for image in images])
            images.append(_clipped_mean(center, log_scale))
        weights = self.logits.softmax(-PIXELS).unsqueeze(-PIXELS)
        return (weights * torch.stack(images, -PIXELS)).sum(COMPONENTS).clamp(0, 1)  # a sum may round to beyond 1

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws images of gray levels on the unit interval, with shape (*sample_shape, *, C, H, W).

        A component for each pixel, then channel after channel, each rounded and clipped before the next depends on it:
        samples follow the mass of ``log_prob`` exactly.
        """
        sample_shape = torch.Size(sample_shape)
        with torch.no_grad():
            component = Categorical(logits=self.logits.movedim(-PIXELS, -1), validate_args=False).sample(sample_shape)
            means, log_scales, coefficients = (
                _chosen(parameter.expand(sample_shape + parameter.shape), component)
                for parameter in (self.means, self.log_scales, self.coefficients)
            )
            channels: list[Tensor] = []
            for log_scale in log_scales.unbind(-PIXELS):
                center = _center(means, coefficients, [2 * channel - 1 for channel in channels])
                x = center + log_scale.exp() * torch.logit(torch.rand_like(center))
                channels.append(self._nearest((x + 1) / 2) / (self.levels - 1))
            return torch.stack(channels, -PIXELS)

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-mass in nats, with the shape of the batch, for gray levels on the unit interval."""
        last = self.levels - 1
        level = self._nearest(value).unsqueeze(COMPONENTS)
        x = (2 * level / last - 1).unbind(-PIXELS)
        centers = [_center(self.means, self.coefficients, x[:channel]) for channel in range(len(x))]
        center = last * torch.stack(torch.broadcast_tensors(*centers), -PIXELS)
        # In halves of a level's width the edges of bins are whole numbers, so that one bin ends exactly where the next
        # begins, and a bin's width is not the difference of two rounded numbers: masses then sum to 1 as they should.
        inverse = torch.exp(-self.log_scales) / last
        upper = (2 * level - last + 1 - center) * inverse
        lower = (2 * level - last - 1 - center) * inverse
        has_upper, has_lower, one = level < last, level > 0, torch.zeros_like(level)
        log_mass = (
            torch.where(has_upper, F.logsigmoid(upper), one)
            + torch.where(has_lower, F.logsigmoid(-lower), one)
            + torch.where(has_upper & has_lower, _log_complement(2 * inverse), one)
        )
        log_joint = self.logits.log_softmax(-PIXELS) + log_mass.sum(-PIXELS)
        return log_joint.logsumexp(-PIXELS).flatten(-2).sum(-1)

    def _nearest(self, x: Tensor) -> Tensor:
        """The level nearest to a point of the unit interval, a whole number; what lies beyond belongs to the ends."""
        return (x * (self.levels - 1)).round().clamp(0, self.levels - 1)


def _chosen(parameter: Tensor, component: Tensor) -> Tensor:
    """One component's parameter for each pixel, (*, C, H, W) of (*, K, C, H, W); components have shape (*, H, W)."""
    index = component.unsqueeze(-PIXELS).unsqueeze(-PIXELS)
    return torch.take_along_dim(parameter, index, COMPONENTS).squeeze(COMPONENTS)


class LogisticMixture(Likelihood):
    r"""Gray levels by a discretized mixture of logistics: the likelihood of images as they are stored.

    A component has :math:`1 + 2C + C (C - 1) / 2` maps: its logit, a mean and a log-scale for each channel, and the
    coefficients of earlier channels. Logits and means are read as they are, coefficients through :math:`\tanh`, and
    scales as

    .. math:: \log s = \log s_0 + R \tanh(a / R), \qquad s_0 = 0.35, \qquad R = \log\frac{s_0}{h / 10},

    which is :math:`\log s_0 + a` for small :math:`a`. At zero maps every pixel is thus spread over the range, at 8
    bits as near to uniform as one logistic can be. The floor, :math:`h / 10`, is where a component that is centered on a
    level has 0.9999 of its mass there: below it nothing is gained, while gradients and the log-mass of other levels
    grow with :math:`1 / s` without bound. The ceiling is as far above :math:`s_0`: a component that wide, of 8 bits, has
    nearly all its mass on black and white.

    Arguments:
        num_components: K, how many logistics a pixel mixes.
        bits: How many bits a pixel keeps, the highest ones; with fewer than 8 the likelihood is that of coarser images
            and not to be compared with one of 8 bits.

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
        """L, how many levels a pixel may take."""
        return 1 << self.bits

    def num_maps(self, channels: int) -> int:
        """Returns how many maps are read for images of C channels: 3 K for gray ones, 10 K for color."""
        return self.num_components * (1 + 2 * channels + channels * (channels - 1) // 2)

    def target(self, pixels: Tensor) -> Tensor:
        """Returns the pixels' highest bits on the unit interval, with the same shape (B, C, H, W)."""
        coarse = torch.div(to_gray_levels(to_unit_interval(pixels)), GRAY_LEVELS // self.levels, rounding_mode="floor")
        return coarse.float() / (self.levels - 1)

    def forward(self, parameters: Tensor) -> Distribution:
        """Returns p(x|z) of the maps, with shape (*, num_maps(C), H, W), which lie component after component.

        Raises:
            ConfigError: If no number of channels has so many maps.
        """
        num = parameters.shape[-PIXELS]
        channels = next((known for known in range(1, num) if self.num_maps(known) >= num), 1)
        if self.num_maps(channels) != num:
            raise ConfigError(
                f"a logistic mixture of {self.num_components} components reads {self.num_maps(1)} maps for gray images "
                f"and {self.num_maps(3)} for color, got {num}; "
                "set the decoder's num_maps to likelihood.num_maps(channels)"
            )
        maps = parameters.unflatten(-PIXELS, (self.num_components, -1))
        logits, means, raw_scales, raw_coefficients = maps.split(
            [1, channels, channels, channels * (channels - 1) // 2], dim=-PIXELS
        )
        reach = math.log(BROAD * (self.levels - 1) / NARROW)
        log_scales = math.log(BROAD) + reach * torch.tanh(raw_scales / reach)
        return LogisticMixturePixels(logits.squeeze(-PIXELS), means, log_scales, raw_coefficients.tanh(), self.levels)
