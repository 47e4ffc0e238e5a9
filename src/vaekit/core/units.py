r"""Numbers and their units.

An image is stored as 8-bit gray levels :math:`g \in \{0, \dots, 255\}` and given to a model on the unit interval,
:math:`x = g / 255`. Log-likelihoods are nats per image. Bits per dimension,

.. math:: \mathrm{bpd} = -\frac{\log p(g)}{C H W \log 2},

exist only where :math:`p(g)` is a probability mass over gray levels.
"""

import math

from torch import Tensor

GRAY_LEVELS = 256
"""The number of values of an 8-bit pixel."""

BITS = "bits per dimension"
"""The unit of the negative log-likelihood where it is a probability mass over gray levels."""

NATS = "nats per image"
"""The unit of every ``elbo``, ``rate``, ``distortion`` and ``log_*``."""


def to_unit_interval(pixels: Tensor) -> Tensor:
    """Scales pixels to the unit interval.

    Arguments:
        pixels: Gray levels as uint8, or a floating point tensor that already lies in [0, 1], of any shape.

    Returns:
        A floating point tensor of the same shape, with values in [0, 1].
    """
    if pixels.is_floating_point():
        return pixels
    return pixels.float().div_(GRAY_LEVELS - 1)


def to_gray_levels(x: Tensor) -> Tensor:
    """Rounds the unit interval to 8-bit gray levels; values outside [0, 1] are clipped. Shape is kept."""
    return x.detach().clamp(0, 1).mul(GRAY_LEVELS - 1).round_().byte()


def bits_per_dim(log_px: float, num_dimensions: int) -> float:
    """Converts the log of a probability mass over gray levels, in nats per image, to bits per dimension."""
    return -log_px / (num_dimensions * math.log(2))
