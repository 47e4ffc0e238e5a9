r"""Likelihoods p(x|z): modules that turn the output of a decoder into a distribution over images.

A decoder computes parameter maps :math:`a`, one or more for each channel. In nats, summed over pixels:

.. math::
    \text{Bernoulli} \quad & \log p(x|a) = x a - \log(1 + e^a)
        & x \in \{0, 1\} \\
    \text{continuous Bernoulli} \quad & \log p(x|a) = x a - A(a), \quad A(a) = \log \tfrac{e^a - 1}{a}
        & x \in [0, 1] \\
    \text{Gaussian} \quad & \log p(x|a) = -\tfrac12 \left(\tfrac{x - \mathrm{sigmoid}(a)}{\sigma}\right)^2
        - \log \sigma - \tfrac12 \log 2\pi
        & x \in \mathbb{R}

Every constant is included. The attributes ``measure`` (a probability mass or a density) and ``support`` (the values of a
pixel) define what the number means. Example: the Bernoulli log-probability of gray pixels is a cross-entropy and not a
likelihood.

To add a likelihood, write a subclass of :class:`Likelihood` and register it. The data may have any shape. A Laplace
likelihood for vectors of real numbers, with shape (D,):

>>> @LIKELIHOODS.register("laplace-vector")
... class LaplaceVector(Likelihood):
...     measure = "density"
...     support = "real line"
...     event_dim = 1
...
...     def num_maps(self, channels: int) -> int:  # a location and a log-scale for each of the D numbers
...         return 2 * channels
...
...     def target(self, x: Tensor) -> Tensor:
...         return x
...
...     def encoder_input(self, x: Tensor) -> Tensor:
...         return x
...
...     def forward(self, parameters: Tensor) -> Distribution:
...         loc, log_scale = parameters.chunk(2, -1)
...         return Independent(Laplace(loc, log_scale.exp(), validate_args=False), 1, validate_args=False)

References:
    | Auto-Encoding Variational Bayes (Kingma & Welling, 2013), https://arxiv.org/abs/1312.6114
    | The continuous Bernoulli (Loaiza-Ganem & Cunningham, 2019), https://arxiv.org/abs/1907.06845
"""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from vaekit.core.errors import ModelError
from vaekit.core.shares import batch_mean, batch_size
from vaekit.core.units import GRAY_LEVELS, to_unit_interval
from vaekit.distributions.bounded_scale import STDDEV_RANGE, bounded_logvar
from vaekit.distributions.pixels import IMAGE_DIMS, BernoulliPixels, ContinuousBernoulliPixels, NormalPixels

INITIAL_SCALE = 0.25
"""The learned scale before the first batch."""

NUM_AVERAGED = 2_000
"""The number of images over which a learned scale is averaged: it follows training and does not fluctuate at its end."""


class Likelihood(nn.Module, ABC):
    """The base class of likelihoods: a distribution over the data, given the output of a decoder.

    The built-in likelihoods are for images, with event shape (C, H, W). A likelihood for other data sets ``event_dim`` and
    overrides ``target`` and ``encoder_input``, which by default scale pixels to the unit interval.

    Attributes:
        measure: Whether ``log_prob`` is the log of a probability mass or of a density.
        support: The values of an element of x for which ``log_prob`` is a log-likelihood.
        event_dim: The number of dimensions of an event: 3 for images (C, H, W), 1 for vectors (D,).

    Raises:
        ModelError: If a subclass does not define ``measure`` and ``support``.
    """

    measure: ClassVar[Literal["mass", "density"]]
    support: ClassVar[Literal["binary", "gray levels", "unit interval", "real line"]]
    event_dim: ClassVar[int] = IMAGE_DIMS

    def __init__(self) -> None:
        super().__init__()
        for attribute in ("measure", "support"):
            if not hasattr(self, attribute):
                raise ModelError(f"likelihood {type(self).__name__}: no class attribute {attribute}; define it")

    @property
    def levels(self) -> int:
        """L, the number of gray levels if the support is gray levels."""
        return GRAY_LEVELS

    def num_maps(self, channels: int) -> int:
        """Returns P, the size of the first axis of the decoder's output, by default one parameter map for each channel.

        Arguments:
            channels: C, the size of the first axis of x: the number of channels of an image, D for a vector of shape (D,).
        """
        return channels

    def target(self, x: Tensor) -> Tensor:
        """Returns the values at which the density is evaluated, by default the pixels on the unit interval.

        Arguments:
            x: A batch of data, with shape (B, *event): for images (B, C, H, W), uint8 or floating point in [0, 1].

        Returns:
            A floating point tensor of the same shape.
        """
        return to_unit_interval(x)

    def encoder_input(self, x: Tensor) -> Tensor:
        """Returns the input of the encoder, by default the pixels on the unit interval.

        Arguments:
            x: A batch of data, with shape (B, *event): for images (B, C, H, W), uint8 or floating point in [0, 1].

        Returns:
            A floating point tensor of the same shape.
        """
        return to_unit_interval(x)

    def observe(self, parameters: Tensor, target: Tensor) -> None:
        """Updates parameters that have a closed-form estimate, from a batch of training. By default it does nothing.

        Arguments:
            parameters: The decoder's output, with shape (*, B, P, H, W), or (*, B, P) for vectors.
            target: The target, with shape (B, C, H, W), or (B, D) for vectors.
        """

    @abstractmethod
    def forward(self, parameters: Tensor) -> Distribution:
        """Returns p(x|z).

        Arguments:
            parameters: The decoder's output, with shape (*, P, H, W), or (*, P) for vectors.

        Returns:
            A distribution with batch shape (*) and event shape (C, H, W), or (D,) for vectors.
        """


class Bernoulli(Likelihood):
    """The Bernoulli likelihood for binary images. For gray images its log-probability is a cross-entropy."""

    measure = "mass"
    support = "binary"

    def forward(self, parameters: Tensor) -> Distribution:
        """Returns Bernoulli pixels whose logits are the parameters, with shape (*, C, H, W)."""
        return BernoulliPixels(parameters)


class ContinuousBernoulli(Likelihood):
    """The continuous Bernoulli likelihood for pixels in [0, 1]: the Bernoulli cross-entropy, normalized to a density.

    References:
        | The continuous Bernoulli (Loaiza-Ganem & Cunningham, 2019), https://arxiv.org/abs/1907.06845
    """

    measure = "density"
    support = "unit interval"

    def forward(self, parameters: Tensor) -> Distribution:
        """Returns continuous Bernoulli pixels whose natural parameters are the parameters, with shape (*, C, H, W)."""
        return ContinuousBernoulliPixels(parameters)


Scale = Annotated[float, Field(ge=1e-8, le=1e8)] | Literal["learned", "pixel"]


class Gaussian(Likelihood):
    r"""A Gaussian likelihood with independent pixels, whose means are in the unit interval.

    The likelihood with one :math:`\sigma` for all pixels is maximal if :math:`\sigma^2` is the mean squared error. A
    learned scale is set to this optimum, averaged over the last images of training, so no KL weight needs to be tuned. A
    gradient would need about a thousand steps more. With the fixed :math:`\sigma = \sqrt{1/2}` the negative log-density is
    the squared error plus a constant.

    Arguments:
        scale: ``"learned"`` for one optimal :math:`\sigma`; ``"pixel"`` for a :math:`\sigma` per pixel, computed by the
            decoder as a log-variance, :math:`\sigma^2 = \mathrm{floor}^2 + e^{\mathrm{logvar}}`, bounded by
            :mod:`vaekit.distributions.bounded_scale`; a number for a fixed :math:`\sigma`. The unit is that of pixels in
            [0, 1].
        floor: The lower bound of a learned or per-pixel :math:`\sigma`. Without it the density of a constant pixel is
            unbounded. The default is one gray level, the resolution of 8-bit images. With ``floor=0`` the per-pixel scale
            is that of Auto-Encoding Variational Bayes.

    References:
        | Simple and Effective VAE Training with Calibrated Decoders (Rybkin et al., 2021), https://arxiv.org/abs/2006.13202
    """

    measure = "density"
    support = "real line"
    mse: Tensor
    num_seen: Tensor

    def __init__(self, scale: Scale = "learned", floor: Annotated[float, Field(ge=0, le=1e8)] = 1 / 255) -> None:
        super().__init__()
        self.scale = scale
        self.floor = floor
        if scale == "learned":
            self.register_buffer("mse", torch.tensor(INITIAL_SCALE**2))
            self.register_buffer("num_seen", torch.tensor(0))

    def num_maps(self, channels: int) -> int:
        """Returns one map for each channel, or two if the scale is per pixel."""
        return 2 * channels if self.scale == "pixel" else channels

    def observe(self, parameters: Tensor, target: Tensor) -> None:
        """Updates the moving average of the mean squared error of a learned scale. The first batch sets it."""
        if self.scale == "learned":
            num = batch_size(len(target))
            self.num_seen += num
            mse = batch_mean((parameters.detach().sigmoid() - target).square())
            self.mse.lerp_(mse, (num / self.num_seen.clamp(max=NUM_AVERAGED)).clamp(max=1))

    def forward(self, parameters: Tensor) -> Distribution:
        """Returns normal pixels with mean ``sigmoid(a)``.

        Arguments:
            parameters: The maps a, with shape (*, C, H, W). For a per-pixel scale the log-variances follow: (*, 2C, H, W).
        """
        if self.scale == "pixel":
            mean, logvar = parameters.chunk(2, dim=-IMAGE_DIMS)
            stddev = (self.floor**2 + bounded_logvar(logvar).exp()).sqrt()
        else:
            mean = parameters
            stddev = self._shared_stddev(mean).expand_as(mean)
        return Independent(NormalPixels(mean.sigmoid(), stddev, validate_args=False), IMAGE_DIMS, validate_args=False)

    def _shared_stddev(self, like: Tensor) -> Tensor:
        if isinstance(self.scale, float | int):
            return like.new_tensor(float(self.scale))
        return self.mse.sqrt().clamp(min=max(self.floor, STDDEV_RANGE[0]))
