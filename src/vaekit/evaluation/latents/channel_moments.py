r"""The moments of spatial latents over a data set, by channel: what a diffusion model needs to scale its data.

The latents of image n have means :math:`\mu_{ncij}` and standard deviations :math:`\sigma_{ncij}` at channel c and point
(i, j). A sample of the posterior of a random image at a random point has in channel c

.. math::
    m_c = \frac1{Nhw} \sum_{nij} \mu_{ncij}, \qquad
    s_c^2 = \frac1{Nhw} \sum_{nij} (\mu_{ncij}^2 + \sigma_{ncij}^2) - m_c^2,

and over all channels :math:`m = \frac1c \sum_c m_c` and :math:`s^2 = \frac1c \sum_c (s_c^2 + m_c^2) - m^2`. Nothing is
sampled: these are the exact moments of samples. The sums are float64.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaekit.data import Dataset
from vaekit.evaluation.estimate import batches
from vaekit.evaluation.finiteness import require_finite
from vaekit.models import VAE


@dataclass(frozen=True)
class ChannelMoments:
    """The moments of samples of the posteriors of N images.

    Arguments:
        means: The mean of each channel, with shape (c), float64.
        stddevs: The standard deviation of each channel, with shape (c), float64.
        num_images: N.
        logvar_range: The smallest and the largest log-variance of a latent of an image.
    """

    means: Tensor
    stddevs: Tensor
    num_images: int
    logvar_range: tuple[float, float]

    @property
    def mean(self) -> float:
        """The mean over all channels."""
        return float(self.means.mean())

    @property
    def stddev(self) -> float:
        """The standard deviation over all channels, around their common mean."""
        return float((self.stddevs.square() + (self.means - self.means.mean()).square()).mean().sqrt())


def channel_moments(model: VAE, images: Dataset, num_channels: int) -> ChannelMoments:
    """Computes the moments of the latents of images.

    Arguments:
        model: A model of spatial latents with a Gaussian posterior.
        images: N images.
        num_channels: c, the number of channels of the latents, each with D / c points.

    Raises:
        ModelError: If the posterior of an image is not finite.
    """
    sums, num, low, high = torch.zeros(2, num_channels, dtype=torch.float64), 0, torch.inf, -torch.inf
    with model.inference():
        for x, labels in batches(model, images, f"encoding {len(images):,} images"):
            qz = model.qz(x, model.context(labels, len(x)))
            mean = require_finite(qz.mean, "the means of q(z|x)").double().cpu()
            stddev = require_finite(qz.stddev, "the standard deviations of q(z|x)").double().cpu()
            moments = torch.stack([mean, mean.square() + stddev.square()])
            sums += moments.unflatten(-1, (num_channels, -1)).sum((1, 3))
            num += mean.numel() // num_channels
            low, high = (min(low, float(stddev.min())), max(high, float(stddev.max())))
    first, second = sums / num
    logvars = 2 * torch.tensor([low, high]).log()
    return ChannelMoments(first, (second - first.square()).clamp(min=0).sqrt(), len(images), (*logvars.tolist(),))
