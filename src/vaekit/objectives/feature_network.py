r"""The distance of two images by the features of a convolutional network, as LPIPS computes it.

.. math:: d(x, \hat x) = \frac1L \sum_{l=1}^{L} \frac{1}{h_l w_l} \sum_{i,j} \lVert u_l(x)_{ij} - u_l(\hat x)_{ij} \rVert^2,
    \qquad u_l(x)_{ij} = \frac{f_l(x)_{ij}}{\lVert f_l(x)_{ij} \rVert}

where :math:`f_l(x)_{ij}` are the channels of layer l at a point. It is 0 for equal images and at most 2. LPIPS has learned
weights of the channels, for networks that were trained on photographs; here all channels have the same weight. The network
is trained on the images at hand (:mod:`vaekit.objectives.feature_learning`), or VGG16 (:mod:`vaekit.objectives.vgg16`). So
values are not those of LPIPS, and those of learned networks differ from data set to data set.

References:
    | The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (Zhang et al., 2018),
      https://arxiv.org/abs/1801.03924
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STAGES = ((16,), (32, 32), (64, 64), (128, 128))
"""The channels of the layers of each stage. Each stage has half the resolution of the one before."""
CHANNELS_PER_GROUP = 16
EPSILON = 1e-6
"""Added to the squared length of features, whose direction is undefined where all are 0."""


class FeatureNetwork(nn.Module):
    """A small convolutional network for images of any size. Its weights are frozen when it is used in a loss.

    Arguments:
        channels: C, the number of channels of an image.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        stages = []
        for widths in STAGES:
            layers: list[nn.Module] = []
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.ReLU()]
                layers.insert(-1, nn.GroupNorm(width // CHANNELS_PER_GROUP, width))
                channels = width
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns the features of each stage, with shapes (B, F, h, w), of images on the unit interval, (B, C, H, W)."""
        maps, found = 2 * x - 1, []
        for number, stage in enumerate(self.stages):
            if number:
                maps = F.avg_pool2d(maps, 2, ceil_mode=True)
            maps = stage(maps)
            found.append(maps)
        return found


def feature_distance(network: Callable[[Tensor], list[Tensor]], y: Tensor, x: Tensor) -> Tensor:
    """Returns the distance of each reconstruction from its image, with shape (K, B). Its gradient reaches y alone.

    Arguments:
        network: The network, from images of shape (B, C, H, W) to the features of each layer, with shapes (B, F, h, w).
        y: Reconstructions on the unit interval, with shape (K, B, C, H, W).
        x: Images on the unit interval, with shape (B, C, H, W).
    """
    with torch.no_grad():
        expected = [_directions(maps) for maps in network(x)]
    found = [_directions(maps).unflatten(0, y.shape[:2]) for maps in network(y.flatten(0, 1))]
    distances = [(a - b).square().sum(-3).mean((-2, -1)) for a, b in zip(found, expected, strict=True)]
    return torch.stack(distances).mean(0)


def _directions(maps: Tensor) -> Tensor:
    """Features of length 1 at each point."""
    maps = maps.float()
    return maps * (maps.square().sum(-3, keepdim=True) + EPSILON).rsqrt()
