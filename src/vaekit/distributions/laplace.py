r"""A Laplace likelihood, whose negative log-density is an absolute error instead of a squared one.

.. math:: \log p(x|a) = -\frac{|x - \mu|}{b} - \log 2b, \qquad \mu = \mathrm{sigmoid}(a)

It is the absolute error of the autoencoders of latent diffusion as a likelihood, and does not blur an edge as a square does.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions import Laplace as LaplaceDistribution

from vaekit.core.shares import batch_mean, batch_size
from vaekit.distributions.bounded_scale import STDDEV_RANGE
from vaekit.distributions.likelihoods import INITIAL_SCALE, NUM_AVERAGED, Likelihood
from vaekit.distributions.pixels import IMAGE_DIMS

LaplaceScale = Annotated[float, Field(ge=1e-8, le=1e8)] | Literal["learned"]


class Laplace(Likelihood):
    r"""A Laplace likelihood with independent pixels of one scale.

    The likelihood is maximal if b is the mean absolute error. A learned scale is set to this optimum, averaged over the last
    images of training, as that of :class:`vaekit.distributions.Gaussian`.

    Arguments:
        scale: ``"learned"`` for one optimal b; a number for a fixed one. The unit is that of pixels in [0, 1].
        floor: The lower bound of a learned b, by default one gray level, the resolution of 8-bit images.
    """

    measure = "density"
    support = "real line"
    mae: Tensor
    num_seen: Tensor

    def __init__(self, scale: LaplaceScale = "learned", floor: Annotated[float, Field(ge=0, le=1e8)] = 1 / 255) -> None:
        super().__init__()
        self.scale = scale
        self.floor = floor
        if scale == "learned":
            self.register_buffer("mae", torch.tensor(INITIAL_SCALE))
            self.register_buffer("num_seen", torch.tensor(0))

    def observe(self, parameters: Tensor, target: Tensor) -> None:
        """Updates the moving average of the mean absolute error of a learned scale. The first batch sets it."""
        if self.scale == "learned":
            num = batch_size(len(target))
            self.num_seen += num
            mae = batch_mean((parameters.detach().sigmoid() - target).abs())
            self.mae.lerp_(mae, (num / self.num_seen.clamp(max=NUM_AVERAGED)).clamp(max=1))

    def forward(self, parameters: Tensor) -> Distribution:
        """Returns Laplace pixels with mean ``sigmoid(a)``.

        Arguments:
            parameters: The maps a, with shape (*, C, H, W).
        """
        if isinstance(self.scale, float | int):
            scale = parameters.new_tensor(float(self.scale))
        else:
            scale = self.mae.clamp(min=max(self.floor, STDDEV_RANGE[0]))
        mean = parameters.sigmoid()
        pixels = LaplaceDistribution(mean, scale.expand_as(mean), validate_args=False)
        return Independent(pixels, IMAGE_DIMS, validate_args=False)
