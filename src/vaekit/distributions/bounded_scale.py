r"""One bound for every scale that a network computes or training learns.

A standard deviation is computed from a log-variance :math:`a` as :math:`\sigma = e^{f(a) / 2}`. Without a bound the
exponential overflows float32 at :math:`a = 88`, and one such latent or pixel ends a run. The bound is

.. math::
    f(a) = \mathrm{clip}(a, -L, L) + c \arctan\frac{s(a)}{c}, \qquad
    s(a) = a - \mathrm{clip}(a, -L, L), \qquad c = \frac2\pi (M - L)

with :math:`L = 30` and :math:`M = 40`. Why this function:

- :math:`|a| \le 30` is unchanged to the last bit, gradient included. It contains every scale of a useful model: standard
  deviations of latents and pixels between 3e-7 and 3e6.
- :math:`|f(a)| < 40` for every :math:`a`, infinite ones included. So :math:`\sigma^2` and :math:`1 / \sigma^2` are below
  2.4e17, and the ratio of two variances, which the KL divergence takes, is below 6e34: float32 ends at 3.4e38.
- It is twice differentiable and monotonic, and its slope falls as :math:`1 / a^2` and not exponentially: 4e-7 at
  :math:`a = 10^4`. A value far outside is therefore not stuck there, as it is behind a clip, whose slope is 0, or a tanh,
  whose slope is 0 in float32.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LINEAR, LIMIT = 30.0, 40.0
"""L, up to which a log-variance is unchanged, and M, below which its magnitude stays."""

STDDEV_RANGE = (math.exp(-LIMIT / 2), math.exp(LIMIT / 2))
"""The standard deviations that a bounded log-variance can give, 2.1e-9 to 4.9e8."""


def soft_clip(values: Tensor, linear: float, limit: float) -> Tensor:
    """Bounds values smoothly by the function f of the module docstring.

    Arguments:
        values: Any tensor.
        linear: L. Values of this magnitude and below are returned unchanged.
        limit: M, the bound of the magnitude of the result.

    Returns:
        A tensor of the same shape and type.
    """
    scale = 2 / math.pi * (limit - linear)
    return values.clamp(-linear, linear) + scale * torch.atan(F.softshrink(values, linear) / scale)


def bounded_logvar(logvar: Tensor) -> Tensor:
    """Returns log-variances that are bounded smoothly to (-40, 40) and unchanged from -30 to 30, with the same shape."""
    return soft_clip(logvar, LINEAR, LIMIT)


def stddev_of(logvar: Tensor) -> Tensor:
    """Returns the standard deviations of log-variances, bounded smoothly to :data:`STDDEV_RANGE`, with the same shape."""
    return torch.exp(0.5 * bounded_logvar(logvar))


def scale_of(log_scale: Tensor) -> Tensor:
    """Returns the scales of log-scales, with the bound of :func:`stddev_of`; doubling and halving are exact."""
    return stddev_of(2 * log_scale)
