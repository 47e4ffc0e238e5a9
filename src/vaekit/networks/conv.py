r"""Convolutional networks, for pictures of any C x H x W.

A pyramid of levels: the first has the picture's size and each further one half of it, rounded up, so that every size has
one (28 -> 14 -> 7, 200 -> 100 -> 50, 5 -> 3 -> 2). The encoder goes down it by strided convolutions, and a hidden layer
collects the whole picture; the decoder mirrors every size on the way up, by repeating pixels to exactly the mirrored size
and smoothing them with a convolution, which leaves none of the checkerboard of transposed convolutions.

References:
    | Deep Residual Learning for Image Recognition (He et al., 2015), https://arxiv.org/abs/1512.03385
    | Group Normalization (Wu & He, 2018), https://arxiv.org/abs/1803.08494
    | Deconvolution and Checkerboard Artifacts (Odena, Dumoulin & Olah, 2016), https://distill.pub/2016/deconv-checkerboard
"""

from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from vaekit.errors import ConfigError
from vaekit.networks.base import ACTIVATIONS, Activation, Decoder, Encoder, Shape

Channels = Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)]
"""The channels of each level, from the picture's size on."""

Blocks = list[Annotated[int, Field(ge=0)]]
"""How many residual blocks each level has."""

CHANNELS_PER_GROUP = 16


class ConvEncoder(Encoder):
    """A convolutional pyramid and a hidden layer, from a picture to features.

    Arguments:
        shape: The picture's shape (C, H, W).
        context_dim: E, how many numbers the context has; they join at the hidden layer.
        channels: The channels of each level; the first has the picture's size, each further one half of it.
        blocks: How many residual blocks each level has.
        hidden: The width of the hidden layer, which is the number of features.
        activation: The nonlinearity.
        until: Go on with levels like the last until no side is longer than this, so that the depth follows the picture's
            size; None takes the levels as they are.

    Raises:
        ConfigError: If there are not as many blocks as channels.
    """

    def __init__(
        self,
        shape: Shape,
        context_dim: int = 0,
        channels: Channels = [16, 32, 64],
        blocks: Blocks = [0, 1, 1],
        hidden: PositiveInt = 512,
        activation: Activation = "silu",
        until: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.context_dim = context_dim
        self.channels = channels
        self.blocks = blocks
        self.hidden = hidden
        self.activation = activation
        self.until = until
        self.num_features = hidden
        channels, blocks = _levels(shape, channels, blocks, until)
        layers: list[nn.Module] = [nn.Conv2d(shape[0], channels[0], 3, padding=1)]
        layers += [ResidualBlock(channels[0], activation) for _ in range(blocks[0])]
        for (fan_in, fan_out), num in zip(pairwise(channels), blocks[1:], strict=True):
            layers += [ACTIVATIONS[activation](), nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1)]
            layers += [ResidualBlock(fan_out, activation) for _ in range(num)]
        self.levels = nn.Sequential(*layers, group_norm(channels[-1]), ACTIVATIONS[activation]())
        height, width = pyramid(shape, len(channels))[-1]
        self.collect = nn.Linear(channels[-1] * height * width + context_dim, hidden)
        self.nonlinearity = ACTIVATIONS[activation]()

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns features of shape (B, F) of pictures of shape (B, C, H, W) on the unit interval, which it centres."""
        flat = self.levels(2 * x - 1).flatten(1)
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
        channels: The channels of each level, from the picture's size on as in the encoder.
        blocks: How many residual blocks each level has.
        hidden: The width of the hidden layer.
        activation: The nonlinearity.
        until: Go on with levels like the last until no side is longer than this, so that the depth follows the picture's
            size; None takes the levels as they are.

    Raises:
        ConfigError: If there are not as many blocks as channels.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Shape,
        num_parameters: int = 1,
        context_dim: int = 0,
        channels: Channels = [16, 32, 64],
        blocks: Blocks = [0, 1, 1],
        hidden: PositiveInt = 512,
        activation: Activation = "silu",
        until: PositiveInt | None = None,
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
        self.until = until
        channels, blocks = _levels(shape, channels, blocks, until)
        *sizes, smallest = pyramid(shape, len(channels))
        self.smallest = (channels[-1], *smallest)
        self.spread = nn.Sequential(
            nn.Linear(latent_dim + context_dim, hidden),
            ACTIVATIONS[activation](),
            nn.Linear(hidden, channels[-1] * smallest[0] * smallest[1]),
        )
        layers: list[nn.Module] = []
        for (fan_out, fan_in), num, size in reversed(list(zip(pairwise(channels), blocks[1:], sizes, strict=True))):
            layers += [ResidualBlock(fan_in, activation) for _ in range(num)]
            layers += [group_norm(fan_in), ACTIVATIONS[activation](), Resize(size), nn.Conv2d(fan_in, fan_out, 3, padding=1)]
        layers += [ResidualBlock(channels[0], activation) for _ in range(blocks[0])]
        layers += [group_norm(channels[0]), ACTIVATIONS[activation]()]
        self.levels = nn.Sequential(*layers)
        self.output = nn.Conv2d(channels[0], num_parameters * shape[0], 3, padding=1)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns parameters of shape (B, num_parameters * C, H, W) of latents of shape (B, D)."""
        spread = self.spread(z if context is None else torch.cat([z, context], -1))
        parameters: Tensor = self.output(self.levels(spread.unflatten(-1, self.smallest)))
        return parameters


class ResidualBlock(nn.Module):
    r"""Two convolutions beside the identity, :math:`x + W_2 \phi(W_1 \phi(\mathrm{norm}(x)))`, which begin as nothing.

    Arguments:
        channels: The channels of the maps.
        activation: The nonlinearity.
    """

    def __init__(self, channels: int, activation: Activation) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            group_norm(channels),
            ACTIVATIONS[activation](),
            nn.Conv2d(channels, channels, 3, padding=1),
            ACTIVATIONS[activation](),
        )
        self.correction = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.correction.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the sum of the input, of shape (B, C, H, W), and its correction."""
        out: Tensor = x + self.correction(self.layers(x))
        return out


class Resize(nn.Module):
    """Repeats pixels up to exactly the given size."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of shape (B, C, *size)."""
        return F.interpolate(x, self.size, mode="nearest")


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation, which unlike batch normalisation makes no picture depend on the others of its batch."""
    groups = channels // CHANNELS_PER_GROUP if channels % CHANNELS_PER_GROUP == 0 else 1
    return nn.GroupNorm(groups, channels)


def pyramid(shape: Shape, num_levels: int) -> list[tuple[int, int]]:
    """Returns the size (H, W) of each level: the picture's, and each further one half of the one above, rounded up."""
    sizes = [shape[1:]]
    for _ in range(num_levels - 1):
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes


def _levels(shape: Shape, channels: list[int], blocks: list[int], until: int | None) -> tuple[list[int], list[int]]:
    """The channels and blocks of each level, the last repeated until the picture has become small enough."""
    if len(channels) != len(blocks):
        raise ConfigError(f"channels {channels} and blocks {blocks} speak of {len(channels)} and {len(blocks)} levels")
    num = len(channels)
    while until is not None and max(pyramid(shape, num)[-1]) > until:
        num += 1
    more = num - len(channels)
    return channels + channels[-1:] * more, blocks + blocks[-1:] * more
