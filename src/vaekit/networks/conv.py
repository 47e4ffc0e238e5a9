r"""Convolutional networks, for pictures of any C x H x W.

A pyramid of levels: each halves the side, rounding up, so that every size has one (28 -> 14 -> 7, 200 -> 100 -> 50,
5 -> 3 -> 2 -> 1). The encoder goes down it and a hidden layer collects the whole picture; the decoder mirrors every size
on the way up, by repeating pixels to exactly the mirrored size and smoothing with a convolution, which leaves none of
the checkerboard of transposed convolutions.

References:
    | Deconvolution and Checkerboard Artifacts (Odena, Dumoulin & Olah, 2016), https://distill.pub/2016/deconv-checkerboard
    | Deep Residual Learning for Image Recognition (He et al., 2015), https://arxiv.org/abs/1512.03385
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from vaekit.networks.base import ACTIVATIONS, Activation, Decoder, Encoder, Shape

Channels = Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)]
"""The channels of each level, from the picture on."""


class ConvEncoder(Encoder):
    """A convolutional pyramid and a hidden layer, from a picture to features.

    Arguments:
        shape: The picture's shape (C, H, W).
        context_dim: E, how many numbers the context has; they join at the hidden layer.
        channels: The channels of each level; each level halves the side.
        blocks: How many residual blocks follow at each level.
        hidden: The width of the hidden layer, which is the number of features.
        activation: The nonlinearity.
    """

    def __init__(
        self,
        shape: Shape,
        context_dim: int = 0,
        channels: Channels = [32, 64, 128],
        blocks: NonNegativeInt = 1,
        hidden: PositiveInt = 256,
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        self.shape = shape
        self.context_dim = context_dim
        self.channels = channels
        self.blocks = blocks
        self.hidden = hidden
        self.activation = activation
        self.num_features = hidden
        levels: list[nn.Module] = []
        for fan_in, fan_out in zip([shape[0], *channels[:-1]], channels, strict=True):
            levels += [nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1), ACTIVATIONS[activation]()]
            levels += [ResidualBlock(fan_out, activation) for _ in range(blocks)]
        self.levels = nn.Sequential(*levels)
        height, width = pyramid(shape, len(channels))[-1]
        self.collect = nn.Linear(channels[-1] * height * width + context_dim, hidden)
        self.nonlinearity = ACTIVATIONS[activation]()

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns features of shape (B, F) of pictures of shape (B, C, H, W) on the unit interval."""
        flat = self.levels(x).flatten(1)
        collected = self.collect(flat if context is None else torch.cat([flat, context], -1))
        features: Tensor = self.nonlinearity(collected)
        return features


class ConvDecoder(Decoder):
    """A hidden layer and a convolutional pyramid, from a latent to the parameters of a likelihood.

    Arguments:
        latent_dim: D, how many latents.
        shape: The picture's shape (C, H, W).
        num_parameters: How many numbers the likelihood wants for each pixel of each channel.
        context_dim: E, how many numbers the context has; they join the latent.
        channels: The channels of each level, from the picture on as in the encoder.
        blocks: How many residual blocks each level has.
        hidden: The width of the hidden layer.
        activation: The nonlinearity.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Shape,
        num_parameters: int = 1,
        context_dim: int = 0,
        channels: Channels = [32, 64, 128],
        blocks: NonNegativeInt = 1,
        hidden: PositiveInt = 256,
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = shape
        self.num_parameters = num_parameters
        self.context_dim = context_dim
        self.channels = channels
        self.blocks = blocks
        self.hidden = hidden
        self.activation = activation
        *sizes, smallest = pyramid(shape, len(channels))
        self.smallest = (channels[-1], *smallest)
        self.spread = nn.Sequential(
            nn.Linear(latent_dim + context_dim, hidden),
            ACTIVATIONS[activation](),
            nn.Linear(hidden, channels[-1] * smallest[0] * smallest[1]),
            ACTIVATIONS[activation](),
        )
        levels: list[nn.Module] = []
        for fan_in, fan_out, size in zip(
            reversed(channels), reversed([channels[0], *channels[:-1]]), reversed(sizes), strict=True
        ):
            levels += [ResidualBlock(fan_in, activation) for _ in range(blocks)]
            levels += [nn.Conv2d(fan_in, fan_out, 3, padding=1), ACTIVATIONS[activation](), Resize(size)]
        self.levels = nn.Sequential(*levels)
        self.output = nn.Conv2d(channels[0], num_parameters * shape[0], 3, padding=1)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns parameters of shape (B, num_parameters * C, H, W) of latents of shape (B, D)."""
        spread = self.spread(z if context is None else torch.cat([z, context], -1))
        parameters: Tensor = self.output(self.levels(spread.unflatten(-1, self.smallest)))
        return parameters


class ResidualBlock(nn.Module):
    r"""Two convolutions beside the identity: :math:`x + W_2 \phi(W_1 \phi(x))`, on (B, C, H, W)."""

    def __init__(self, channels: int, activation: Activation) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ACTIVATIONS[activation](),
            nn.Conv2d(channels, channels, 3, padding=1),
            ACTIVATIONS[activation](),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns the sum of the input and its correction, with the same shape."""
        out: Tensor = x + self.layers(x)
        return out


class Resize(nn.Module):
    """Repeats pixels up to exactly the given size."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of shape (B, C, *size)."""
        return F.interpolate(x, self.size, mode="nearest")


def pyramid(shape: Shape, num_levels: int) -> list[tuple[int, int]]:
    """Returns the sizes (H, W) of a picture and of each level below it, each half of the one above, rounded up."""
    sizes = [shape[1:]]
    for _ in range(num_levels):
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes
