r"""Convolutional networks, for images of any C x H x W.

The networks have several levels of resolution. The first level has the size of the image, and each further level half the
size of the previous one, rounded up (28 -> 14 -> 7, 200 -> 100 -> 50, 5 -> 3 -> 2). The encoder goes to lower resolutions
by strided convolutions, and a fully connected layer maps the last level to features. The decoder has the same sizes in
reverse order. It goes to higher resolutions by nearest-neighbor interpolation followed by a convolution, which avoids the
checkerboard artifacts of transposed convolutions.

With ``hidden=None`` there is no fully connected layer and the latents are spatial: the encoder ends in feature maps, each
latent is a function of one point of them, and the decoder starts from maps of latents. The number of latents must then be a
multiple of the number of points of the smallest level.

References:
    | Deep Residual Learning for Image Recognition (He et al., 2015), https://arxiv.org/abs/1512.03385
    | Training Deep Nets with Sublinear Memory Cost (Chen et al., 2016) for gradient checkpointing,
      https://arxiv.org/abs/1604.06174
    | Deconvolution and Checkerboard Artifacts (Odena, Dumoulin & Olah, 2016), https://distill.pub/2016/deconv-checkerboard
"""

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from vaekit.core.errors import ConfigError
from vaekit.networks.base import ACTIVATIONS, Activation, Decoder, Encoder, Shape
from vaekit.networks.conv_layers import Attention, Levels, Norm, ResidualBlock, Resize, normalization

Channels = Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)]
"""The number of channels of each level, from the highest resolution to the lowest."""

Blocks = list[Annotated[int, Field(ge=0)]]
"""The number of residual blocks of each level."""


class ConvEncoder(Encoder):
    """A convolutional encoder.

    Arguments:
        shape: The shape of an image (C, H, W).
        context_dim: E, the size of the context, which is appended to the input of the last layer.
        channels: The number of channels of each level, from the highest resolution to the lowest.
        blocks: The number of residual blocks of each level.
        hidden: The width of the fully connected layer, which is the number of features; None for spatial latents.
        activation: The activation function.
        min_resolution: Repeat the last level until no side is longer than this, so that the depth depends on the size of the
            image; None for the given levels only.
        norm: ``group`` for group normalization, or ``none``.
        attention: The longest side of levels that end with self-attention; None for no attention.
        checkpoint: Whether to use gradient checkpointing: activations inside a level are computed again in the backward
            pass. It takes about a third more time and less memory.

    Raises:
        ConfigError: If ``channels`` and ``blocks`` have different lengths, or ``shape`` is not that of an image.
    """

    def __init__(
        self,
        shape: Shape,
        context_dim: int = 0,
        channels: Channels = [16, 32, 64],
        blocks: Blocks = [0, 1, 1],
        hidden: PositiveInt | None = 512,
        activation: Activation = "silu",
        min_resolution: PositiveInt | None = None,
        norm: Norm = "group",
        attention: PositiveInt | None = None,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.context_dim = context_dim
        self.channels = channels
        self.blocks = blocks
        self.hidden = hidden
        self.activation = activation
        self.min_resolution = min_resolution
        self.norm = norm
        self.attention = attention
        self.checkpoint = checkpoint
        channels, blocks = _all_levels(shape, channels, blocks, min_resolution)
        sizes = level_sizes(shape, len(channels))
        levels: list[list[nn.Module]] = [[nn.Conv2d(shape[0], channels[0], 3, padding=1)]]
        for fan_in, fan_out in pairwise(channels):
            levels.append([ACTIVATIONS[activation](), nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1)])
        for level, num_channels, num_blocks, size in zip(levels, channels, blocks, sizes, strict=True):
            level += [ResidualBlock(num_channels, activation, norm) for _ in range(num_blocks)]
            level += [Attention(num_channels, norm)] if attention and max(size) <= attention else []
        levels[-1] += [normalization(norm, channels[-1]), ACTIVATIONS[activation]()]
        self.levels = Levels(levels, checkpoint)
        num_channels, (height, width) = channels[-1], sizes[-1]
        self.num_features: int | tuple[int, int, int]
        self.output: nn.Module
        if hidden is None:
            self.num_features = (num_channels, height, width)
            self.output = nn.Conv2d(num_channels + context_dim, num_channels, 1)
        else:
            self.num_features = hidden
            self.output = nn.Linear(num_channels * height * width + context_dim, hidden)
        self.output_activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns features of shape (B, F), or (B, F, h, w), given images of shape (B, C, H, W) in [0, 1]."""
        maps = self.levels(2 * x - 1)
        last = maps if self.hidden is None else maps.flatten(1)
        features: Tensor = self.output_activation(self.output(_append_context(last, context)))
        return features


class ConvDecoder(Decoder):
    """A convolutional decoder.

    Arguments:
        latent_dim: D, the number of latents.
        shape: The shape of an image (C, H, W).
        num_maps: P, the number of parameter maps; by default one for each channel.
        context_dim: E, the size of the context, which is appended to the latents.
        channels: The number of channels of each level, from the highest resolution to the lowest, as for the encoder.
        blocks: The number of residual blocks of each level.
        hidden: The width of the fully connected layer; None for spatial latents.
        activation: The activation function.
        min_resolution: Repeat the last level until no side is longer than this, so that the depth depends on the size of the
            image; None for the given levels only.
        norm: ``group`` for group normalization, or ``none``.
        attention: The longest side of levels that start with self-attention; None for no attention.
        checkpoint: Whether to use gradient checkpointing: activations inside a level are computed again in the backward
            pass. It takes about a third more time and less memory.

    Raises:
        ConfigError: If ``channels`` and ``blocks`` have different lengths, ``shape`` is not that of an image, or the
            latents are spatial and ``latent_dim`` is not a multiple of the number of points of the smallest level.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Shape,
        num_maps: int | None = None,
        context_dim: int = 0,
        channels: Channels = [16, 32, 64],
        blocks: Blocks = [0, 1, 1],
        hidden: PositiveInt | None = 512,
        activation: Activation = "silu",
        min_resolution: PositiveInt | None = None,
        norm: Norm = "group",
        attention: PositiveInt | None = None,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = shape
        self.num_maps = shape[0] if num_maps is None else num_maps
        self.context_dim = context_dim
        self.channels = channels
        self.blocks = blocks
        self.hidden = hidden
        self.activation = activation
        self.min_resolution = min_resolution
        self.norm = norm
        self.attention = attention
        self.checkpoint = checkpoint
        channels, blocks = _all_levels(shape, channels, blocks, min_resolution)
        sizes = level_sizes(shape, len(channels))
        num_channels, (height, width) = channels[-1], sizes[-1]
        self.input: nn.Module
        if hidden is None:
            latents_per_point, remainder = divmod(latent_dim, height * width)
            if remainder:
                raise ConfigError(
                    f"latent_dim {latent_dim}: the decoder starts from maps of {height}x{width} (hidden: null); "
                    f"choose a multiple of {height * width}"
                )
            self.input_shape = (latents_per_point, height, width)
            self.input = nn.Conv2d(latents_per_point + context_dim, num_channels, 3, padding=1)
        else:
            self.input_shape = (num_channels, height, width)
            self.input = nn.Sequential(
                nn.Linear(latent_dim + context_dim, hidden),
                ACTIVATIONS[activation](),
                nn.Linear(hidden, num_channels * height * width),
            )
        levels: list[list[nn.Module]] = []
        for num_channels, num_blocks, size in reversed(list(zip(channels, blocks, sizes, strict=True))):
            levels.append([Attention(num_channels, norm)] if attention and max(size) <= attention else [])
            levels[-1] += [ResidualBlock(num_channels, activation, norm) for _ in range(num_blocks)]
            levels[-1] += [normalization(norm, num_channels), ACTIVATIONS[activation]()]
        for level, size, (fan_out, fan_in) in zip(
            levels[:-1], reversed(sizes[:-1]), reversed(list(pairwise(channels))), strict=True
        ):
            level += [Resize(size), nn.Conv2d(fan_in, fan_out, 3, padding=1)]
        self.levels = Levels(levels, checkpoint)
        self.output = nn.Conv2d(channels[0], self.num_maps, 3, padding=1)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns parameters of shape (B, P, H, W), given latents of shape (B, D)."""
        if self.hidden is None:
            maps = self.input(_append_context(z.unflatten(-1, self.input_shape), context))
        else:
            maps = self.input(_append_context(z, context)).unflatten(-1, self.input_shape)
        parameters: Tensor = self.output(self.levels(maps))
        return parameters


def level_sizes(shape: Shape, num_levels: int) -> list[tuple[int, int]]:
    """Returns the size (H, W) of each level: that of the image, then half of the previous level, rounded up."""
    _, height, width = shape
    sizes = [(height, width)]
    for _ in range(num_levels - 1):
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes


def _all_levels(
    shape: Shape, channels: list[int], blocks: list[int], min_resolution: int | None
) -> tuple[list[int], list[int]]:
    """The channels and blocks of all levels, the last one repeated until no side is longer than ``min_resolution``."""
    if len(shape) != 3:
        raise ConfigError(f"shape {tuple(shape)}: convolutions need images (C, H, W); choose the network mlp")
    if len(channels) != len(blocks):
        raise ConfigError(
            f"channels {channels} and blocks {blocks}: they have {len(channels)} and {len(blocks)} levels; "
            "give both the same length"
        )
    num_levels = len(channels)
    while min_resolution is not None and max(level_sizes(shape, num_levels)[-1]) > min_resolution:
        num_levels += 1
    num_repeats = num_levels - len(channels)
    return channels + channels[-1:] * num_repeats, blocks + blocks[-1:] * num_repeats


def _append_context(features: Tensor, context: Tensor | None) -> Tensor:
    """Appends the context, of shape (B, E), to the axis F of features of shape (B, F, ...), at every point."""
    if context is None:
        return features
    maps = context.reshape(*context.shape, *[1] * (features.dim() - 2)).expand(-1, -1, *features.shape[2:])
    return torch.cat([features, maps], 1)
