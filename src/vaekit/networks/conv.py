r"""Convolutional networks, for images of any C x H x W.

A pyramid of levels: the first has the image's size and each further one half of it, rounded up, so that every size has
one (28 -> 14 -> 7, 200 -> 100 -> 50, 5 -> 3 -> 2). The encoder goes down it by strided convolutions, and a hidden layer
collects the whole image; the decoder mirrors every size on the way up, by repeating pixels to exactly the mirrored size
and smoothing them with a convolution, which leaves none of the checkerboard of transposed convolutions.

Without a hidden layer latents keep their place: the encoder ends in maps, each latent is read off one point of them, and the
decoder begins with maps of latents. There are then a whole number of latents for each point of the smallest level.

References:
    | Deep Residual Learning for Image Recognition (He et al., 2015), https://arxiv.org/abs/1512.03385
    | Group Normalization (Wu & He, 2018), https://arxiv.org/abs/1803.08494
    | Attention Is All You Need (Vaswani et al., 2017), https://arxiv.org/abs/1706.03762
    | Training Deep Nets with Sublinear Memory Cost (Chen et al., 2016), https://arxiv.org/abs/1604.06174
    | Deconvolution and Checkerboard Artifacts (Odena, Dumoulin & Olah, 2016), https://distill.pub/2016/deconv-checkerboard
"""

from functools import partial, reduce
from itertools import accumulate, chain, pairwise
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as compute_again

from vaekit.core.errors import ConfigError
from vaekit.networks.base import ACTIVATIONS, Activation, Decoder, Encoder, Shape

Channels = Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)]
"""The channels of each level, from the image's size on."""

Blocks = list[Annotated[int, Field(ge=0)]]
"""How many residual blocks each level has."""

Norm = Literal["group", "none"]
"""What keeps maps in bounds; never batch normalization, with which images depend on the others of their batch."""

CHANNELS_PER_GROUP = 16
CHANNELS_PER_HEAD = 64


class ConvEncoder(Encoder):
    """A convolutional pyramid and a hidden layer, from an image to features.

    Arguments:
        shape: The image's shape (C, H, W).
        context_dim: E, how many numbers the context has; they join at the hidden layer.
        channels: The channels of each level; the first has the image's size, each further one half of it.
        blocks: How many residual blocks each level has.
        hidden: The width of the hidden layer, which is the number of features; None for features that keep their place.
        activation: The nonlinearity.
        min_resolution: Add levels like the last until no side is longer than this, so that the depth follows the image's
            size; None takes the levels as they are.
        norm: ``group`` normalization, or ``none``.
        attention: Levels with no side longer than this end in self-attention; None for no attention.
        checkpoint: Whether maps inside a level are computed again for the gradient instead of being kept: about a third
            more time for a fraction of the memory.

    Raises:
        ConfigError: If there are not as many blocks as channels.
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
        channels, blocks = _levels(shape, channels, blocks, min_resolution)
        sizes = pyramid(shape, len(channels))
        levels: list[list[nn.Module]] = [[nn.Conv2d(shape[0], channels[0], 3, padding=1)]]
        for fan_in, fan_out in pairwise(channels):
            levels.append([ACTIVATIONS[activation](), nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1)])
        for level, width, num, size in zip(levels, channels, blocks, sizes, strict=True):
            level += [ResidualBlock(width, activation, norm) for _ in range(num)]
            level += [Attention(width, norm)] if attention and max(size) <= attention else []
        levels[-1] += [normalization(norm, channels[-1]), ACTIVATIONS[activation]()]
        self.levels = Levels(levels, checkpoint)
        width, height, breadth = channels[-1], *sizes[-1]
        self.num_features: int | Shape
        self.collect: nn.Module
        if hidden is None:
            self.num_features = (width, height, breadth)
            self.collect = nn.Conv2d(width + context_dim, width, 1)
        else:
            self.num_features = hidden
            self.collect = nn.Linear(width * height * breadth + context_dim, hidden)
        self.nonlinearity = ACTIVATIONS[activation]()

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns features of shape (B, F), or (B, F, h, w), of images of shape (B, C, H, W) on the unit interval."""
        maps = self.levels(2 * x - 1)  # centered
        features: Tensor = self.nonlinearity(self.collect(_join(maps if self.hidden is None else maps.flatten(1), context)))
        return features


class ConvDecoder(Decoder):
    """A hidden layer and a convolutional pyramid, from a latent to the parameters of a likelihood.

    Arguments:
        latent_dim: D, how many latents.
        shape: The image's shape (C, H, W).
        num_maps: P, how many maps of parameters the likelihood reads; one for each channel by default.
        context_dim: E, how many numbers the context has; they join the latent.
        channels: The channels of each level, from the image's size on as in the encoder.
        blocks: How many residual blocks each level has.
        hidden: The width of the hidden layer; None for latents that keep their place.
        activation: The nonlinearity.
        min_resolution: Add levels like the last until no side is longer than this, so that the depth follows the image's
            size; None takes the levels as they are.
        norm: ``group`` normalization, or ``none``.
        attention: Levels with no side longer than this begin with self-attention; None for no attention.
        checkpoint: Whether maps inside a level are computed again for the gradient instead of being kept: about a third
            more time for a fraction of the memory.

    Raises:
        ConfigError: If there are not as many blocks as channels, or latents cannot be laid out as maps.
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
        channels, blocks = _levels(shape, channels, blocks, min_resolution)
        sizes = pyramid(shape, len(channels))
        width, height, breadth = channels[-1], *sizes[-1]
        self.spread: nn.Module
        if hidden is None:
            depth, left = divmod(latent_dim, height * breadth)
            if left:
                raise ConfigError(
                    f"latent_dim {latent_dim}: latents that keep their place (hidden: null) lie on maps of "
                    f"{height}x{breadth}, so it must be a multiple of {height * breadth}"
                )
            self.first = (depth, height, breadth)
            self.spread = nn.Conv2d(depth + context_dim, width, 3, padding=1)
        else:
            self.first = (width, height, breadth)
            self.spread = nn.Sequential(
                nn.Linear(latent_dim + context_dim, hidden),
                ACTIVATIONS[activation](),
                nn.Linear(hidden, width * height * breadth),
            )
        levels: list[list[nn.Module]] = []
        for wide, num, size in reversed(list(zip(channels, blocks, sizes, strict=True))):
            levels.append([Attention(wide, norm)] if attention and max(size) <= attention else [])
            levels[-1] += [ResidualBlock(wide, activation, norm) for _ in range(num)]
            levels[-1] += [normalization(norm, wide), ACTIVATIONS[activation]()]
        for level, size, (fan_out, fan_in) in zip(
            levels[:-1], reversed(sizes[:-1]), reversed(list(pairwise(channels))), strict=True
        ):
            level += [Resize(size), nn.Conv2d(fan_in, fan_out, 3, padding=1)]
        self.levels = Levels(levels, checkpoint)
        self.output = nn.Conv2d(channels[0], self.num_maps, 3, padding=1)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns parameters of shape (B, P, H, W) of latents of shape (B, D)."""
        if self.hidden is None:
            maps = self.spread(_join(z.unflatten(-1, self.first), context))
        else:
            maps = self.spread(_join(z, context)).unflatten(-1, self.first)
        parameters: Tensor = self.output(self.levels(maps))
        return parameters


class Levels(nn.Sequential):
    """Layers one after the other, level by level.

    Arguments:
        levels: The layers of each level.
        checkpoint: Whether only what leaves a level is kept for the gradient.
    """

    def __init__(self, levels: list[list[nn.Module]], checkpoint: bool) -> None:
        super().__init__(*chain(*levels))
        self.ends = list(accumulate(map(len, levels)))
        self.checkpoint = checkpoint

    def forward(self, x: Tensor) -> Tensor:
        """Returns the last level's maps."""
        layers = list(self)
        for begin, end in pairwise([0, *self.ends]):
            level = partial(_in_turn, layers[begin:end])
            if self.checkpoint and torch.is_grad_enabled():
                x = compute_again(level, x, use_reentrant=False, preserve_rng_state=False)
            else:
                x = level(x)
        return x


def _in_turn(layers: list[nn.Module], x: Tensor) -> Tensor:
    return reduce(lambda maps, layer: layer(maps), layers, x)


class ResidualBlock(nn.Module):
    r"""Two convolutions beside the identity, :math:`x + W_2 \phi(W_1 \phi(\mathrm{norm}(x)))`, which begin as nothing.

    Arguments:
        channels: The channels of the maps.
        activation: The nonlinearity.
        norm: The normalization.
    """

    def __init__(self, channels: int, activation: Activation, norm: Norm = "group") -> None:
        super().__init__()
        self.layers = nn.Sequential(
            normalization(norm, channels),
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


class Attention(nn.Module):
    """Self-attention between all points of the maps, beside the identity, which begins as nothing.

    Arguments:
        channels: The channels of the maps.
        norm: The normalization.
    """

    def __init__(self, channels: int, norm: Norm = "group") -> None:
        super().__init__()
        self.num_heads = max(1, channels // CHANNELS_PER_HEAD) if channels % CHANNELS_PER_HEAD == 0 else 1
        self.normalized = normalization(norm, channels)
        self.ask = nn.Conv2d(channels, 3 * channels, 1)
        self.correction = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.correction.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the sum of the input, of shape (B, C, H, W), and what its points learn of each other."""
        asked = self.ask(self.normalized(x)).flatten(2).unflatten(1, (3, self.num_heads, -1))
        query, key, value = asked.transpose(-1, -2).unbind(1)  # (B, heads, H * W, C / heads)
        answer = F.scaled_dot_product_attention(query, key, value).transpose(-1, -2).reshape(x.shape)
        out: Tensor = x + self.correction(answer)
        return out


class Resize(nn.Module):
    """Repeats pixels up to exactly the given size."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of shape (B, C, *size)."""
        return F.interpolate(x, self.size, mode="nearest")


def normalization(norm: Norm, channels: int) -> nn.Module:
    """Group normalization over groups of 16 channels, or over all where that does not divide them; or none."""
    if norm == "none":
        return nn.Identity()
    groups = channels // CHANNELS_PER_GROUP if channels % CHANNELS_PER_GROUP == 0 else 1
    return nn.GroupNorm(groups, channels)


def pyramid(shape: Shape, num_levels: int) -> list[tuple[int, int]]:
    """Returns the size (H, W) of each level: the image's, and each further one half of the one above, rounded up."""
    sizes = [shape[1:]]
    for _ in range(num_levels - 1):
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes


def _join(features: Tensor, context: Tensor | None) -> Tensor:
    """Features of shape (B, F, ...) and the context of shape (B, E) beside them, at every point."""
    if context is None:
        return features
    everywhere = context.reshape(*context.shape, *[1] * (features.dim() - 2)).expand(-1, -1, *features.shape[2:])
    return torch.cat([features, everywhere], 1)


def _levels(shape: Shape, channels: list[int], blocks: list[int], min_resolution: int | None) -> tuple[list[int], list[int]]:
    """The channels and blocks of each level, the last repeated until the image has become small enough."""
    if len(channels) != len(blocks):
        raise ConfigError(f"channels {channels} and blocks {blocks} speak of {len(channels)} and {len(blocks)} levels")
    num = len(channels)
    while min_resolution is not None and max(pyramid(shape, num)[-1]) > min_resolution:
        num += 1
    more = num - len(channels)
    return channels + channels[-1:] * more, blocks + blocks[-1:] * more
