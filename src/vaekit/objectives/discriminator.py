r"""A patch discriminator: a convolutional network that judges each patch of an image, and its hinge losses.

With :math:`D` the logits of all patches, x images and :math:`\hat x` reconstructions,

.. math::
    \text{discriminator} \quad & \tfrac12 \, \mathrm{mean} \max(0, 1 - D(x))
        + \tfrac12 \, \mathrm{mean} \max(0, 1 + D(\hat x)) \\
    \text{decoder} \quad & -\mathrm{mean} \, D(\hat x)

The first is 1 for a discriminator that knows nothing, and 0 for one that is never wrong.

References:
    | Image-to-Image Translation with Conditional Adversarial Networks (Isola et al., 2016), https://arxiv.org/abs/1611.07004
    | Geometric GAN (Lim & Ye, 2017), https://arxiv.org/abs/1705.02894
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

MAX_HALVINGS, MIN_SIDE = 3, 4
"""How often the maps are halved at most, as long as their sides are not below this number of pixels."""
CHANNELS_PER_GROUP, SLOPE = 16, 0.2


class PatchDiscriminator(nn.Module):
    """A discriminator of patches, without batch normalization: an image's logits do not depend on the others of its batch.

    Arguments:
        shape: The shape of an image, (C, H, W).
        width: The number of channels of the first layer; each of the next has twice as many.
    """

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        num_halvings = sum(min(shape[1:]) >= MIN_SIDE * 2**k for k in range(1, MAX_HALVINGS + 1))
        channels = [width * 2**k for k in range(max(num_halvings, 1))]
        kernel = {"kernel_size": 4, "stride": 2, "padding": 1} if num_halvings else {"kernel_size": 3, "padding": 1}
        layers: list[nn.Module] = [nn.Conv2d(shape[0], width, **kernel), nn.LeakyReLU(SLOPE)]  # type: ignore[arg-type]
        for fan_in, fan_out in pairwise(channels):
            layers += _block(nn.Conv2d(fan_in, fan_out, 4, 2, 1, bias=False))
        layers += _block(nn.Conv2d(channels[-1], channels[-1], 3, padding=1, bias=False))
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits of patches, with shape (B, 1, h, w), of images on the unit interval of shape (B, C, H, W)."""
        logits: Tensor = self.layers(2 * x - 1).float()
        return logits


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Returns the hinge loss of a discriminator, a scalar, of its logits for images and for reconstructions."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def _block(convolution: nn.Conv2d) -> list[nn.Module]:
    channels = convolution.out_channels
    groups = channels // CHANNELS_PER_GROUP if channels % CHANNELS_PER_GROUP == 0 else 1
    return [convolution, nn.GroupNorm(groups, channels), nn.LeakyReLU(SLOPE)]
