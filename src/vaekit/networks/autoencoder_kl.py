r"""The convolutional networks of latent diffusion, as ``AutoencoderKL`` of the library ``diffusers`` has them.

The latents are spatial, (c, h, w), and one vector of :math:`D = chw` numbers to the outside. Each level after the first has
half the resolution, so with L levels an image is :math:`2^{L-1}` times as wide as its latents. Sides that this factor does
not divide are padded by repeating the last row and column, and the decoder crops what it computes for them.

Both networks work on pixels in [-1, 1], since a convolution with zeros around an image cannot undo another scaling. The
encoder maps [0, 1] to it. The decoder computes an image :math:`y` there, and returns what a likelihood takes whose mean is
:math:`\mathrm{sigmoid}(a)`,

.. math:: a = \mathrm{logit}\left(\mathrm{clip}\left(\frac{y + 1}2, \epsilon, 1 - \epsilon\right)\right),
    \qquad \epsilon = 2^{-18},

so that the mean of p(x|z) is the image y, clipped to the unit interval as programs do before they show it. Where it is
clipped, the gradient passes only if it leads back to the unit interval: no pixel stays beyond it, and none is driven away.

With the posterior ``diagonal-gaussian``, whose two linear layers are the 1x1 convolution that ``diffusers`` calls
``quant_conv``, and one parameter map per channel, ``vae export`` writes a model that ``diffusers`` opens.

References:
    | High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2021), https://arxiv.org/abs/2112.10752
    | End-to-end Optimized Image Compression (Ballé et al., 2016) for the gradient of a clipped value,
      https://arxiv.org/abs/1611.01704
"""

from itertools import pairwise
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from vaekit.core.errors import ConfigError
from vaekit.networks.autoencoder_kl_layers import NORM_EPS, DownBlock, MidBlock, UpBlock
from vaekit.networks.base import Decoder, Encoder, Shape

EPSILON = 2.0**-18
"""The distance of a mean from 0 and 1 at least."""
Channels = Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)]
"""The number of channels of each level, from the highest resolution to the lowest."""


class AutoencoderKLEncoder(Encoder):
    """The encoder of ``AutoencoderKL``.

    Arguments:
        shape: The shape of an image (C, H, W).
        context_dim: E, the size of the context, which is appended to the input of the last layer.
        latent_channels: c, the channels of the latents; the features have twice as many.
        block_out_channels: The number of channels of each level, from the highest resolution to the lowest.
        layers_per_block: The number of residual blocks of each level.
        norm_num_groups: The number of groups of each normalization.
        mid_block_add_attention: Whether there is self-attention at the lowest resolution.

    Raises:
        ConfigError: If ``norm_num_groups`` does not divide all channels, or ``shape`` is not that of an image.
    """

    def __init__(
        self,
        shape: Shape,
        context_dim: int = 0,
        latent_channels: PositiveInt = 4,
        block_out_channels: Channels = [16, 32, 64, 64],
        layers_per_block: PositiveInt = 1,
        norm_num_groups: PositiveInt = 16,
        mid_block_add_attention: bool = True,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.context_dim = context_dim
        self.latent_channels = latent_channels
        self.block_out_channels = block_out_channels
        self.layers_per_block = layers_per_block
        self.norm_num_groups = norm_num_groups
        self.mid_block_add_attention = mid_block_add_attention
        _check(shape, block_out_channels, norm_num_groups)
        height, width = latent_size(shape, len(block_out_channels))
        self.num_features: tuple[int, int, int] = (2 * latent_channels, height, width)
        first, last = block_out_channels[0], block_out_channels[-1]
        self.conv_in = nn.Conv2d(shape[0], first, 3, padding=1)
        self.down_blocks = _levels(DownBlock, block_out_channels, layers_per_block, norm_num_groups)
        self.mid_block = MidBlock(last, norm_num_groups, mid_block_add_attention)
        self.conv_norm_out = nn.GroupNorm(norm_num_groups, last, NORM_EPS)
        self.conv_out = nn.Conv2d(last + context_dim, 2 * latent_channels, 3, padding=1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns features of shape (B, 2c, h, w), given images of shape (B, C, H, W) in [0, 1]."""
        maps = self.conv_in(padded(2 * x - 1, len(self.block_out_channels)))
        for block in self.down_blocks:
            maps = block(maps)
        maps = F.silu(self.conv_norm_out(self.mid_block(maps)))
        features: Tensor = self.conv_out(_with_context(maps, context))
        return features


class AutoencoderKLDecoder(Decoder):
    """The decoder of ``AutoencoderKL``.

    Arguments:
        latent_dim: D, the number of latents.
        shape: The shape of an image (C, H, W).
        num_maps: P, the number of parameter maps; by default one for each channel. With one or two for each channel, the
            first C are logits of the image (see the module); others are linear in the last layer.
        context_dim: E, the size of the context, which is appended to the latents.
        block_out_channels: The number of channels of each level, from the highest resolution to the lowest.
        layers_per_block: The number of residual blocks of each level of the encoder; the decoder has one more.
        norm_num_groups: The number of groups of each normalization.
        mid_block_add_attention: Whether there is self-attention at the lowest resolution.

    Raises:
        ConfigError: If ``norm_num_groups`` does not divide all channels, ``shape`` is not that of an image, or
            ``latent_dim`` is not a multiple of the number of points of the lowest resolution.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Shape,
        num_maps: int | None = None,
        context_dim: int = 0,
        block_out_channels: Channels = [16, 32, 64, 64],
        layers_per_block: PositiveInt = 1,
        norm_num_groups: PositiveInt = 16,
        mid_block_add_attention: bool = True,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = shape
        self.num_maps = shape[0] if num_maps is None else num_maps
        self.context_dim = context_dim
        self.block_out_channels = block_out_channels
        self.layers_per_block = layers_per_block
        self.norm_num_groups = norm_num_groups
        self.mid_block_add_attention = mid_block_add_attention
        _check(shape, block_out_channels, norm_num_groups)
        height, width = latent_size(shape, len(block_out_channels))
        self.latent_channels, remainder = divmod(latent_dim, height * width)
        if remainder:
            raise ConfigError(
                f"latent_dim {latent_dim}: the decoder autoencoder-kl starts from maps of {height}x{width}; "
                f"choose a multiple of {height * width}"
            )
        self.input_shape = (self.latent_channels, height, width)
        first, last = block_out_channels[0], block_out_channels[-1]
        self.post_quant_conv = nn.Conv2d(self.latent_channels + context_dim, self.latent_channels, 1)
        self.conv_in = nn.Conv2d(self.latent_channels, last, 3, padding=1)
        self.mid_block = MidBlock(last, norm_num_groups, mid_block_add_attention)
        self.up_blocks = _levels(UpBlock, block_out_channels[::-1], layers_per_block + 1, norm_num_groups)
        self.conv_norm_out = nn.GroupNorm(norm_num_groups, first, NORM_EPS)
        self.conv_out = nn.Conv2d(first, self.num_maps, 3, padding=1)

    @property
    def num_image_maps(self) -> int:
        """The number of parameter maps that are an image: C, or 0 for a likelihood that takes other maps."""
        channels = self.shape[0]
        return channels if self.num_maps in (channels, 2 * channels) else 0

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns parameters of shape (B, P, H, W), given latents of shape (B, D)."""
        maps = self.maps(z, context)
        num = self.num_image_maps
        image, others = maps[:, :num], maps[:, num:]
        return torch.cat([image_logits(image), others.to(_wide(others))], 1)

    def maps(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns what the last layer computes, the image in [-1, 1] first, with shape (B, P, H, W)."""
        maps = self.conv_in(self.post_quant_conv(_with_context(z.unflatten(-1, self.input_shape), context)))
        maps = self.mid_block(maps)
        for block in self.up_blocks:
            maps = block(maps)
        maps = self.conv_out(F.silu(self.conv_norm_out(maps)))
        cropped: Tensor = maps[..., : self.shape[1], : self.shape[2]]
        return cropped


class ClippedUnit(torch.autograd.Function):
    """Clips values to the unit interval, less a margin; a gradient passes unless it leads out of it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """Returns the clipped values, with the same shape."""
        ctx.save_for_backward(values)
        return values.clamp(EPSILON, 1 - EPSILON)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Returns the gradient; a step is against it, so that a value above 1 comes back by a positive one."""
        (values,), (gradient,) = ctx.saved_tensors, gradients
        leads_out = ((values > 1 - EPSILON) & (gradient < 0)) | ((values < EPSILON) & (gradient > 0))
        return gradient.masked_fill(leads_out, 0)


def image_logits(y: Tensor) -> Tensor:
    """Returns the logits of an image in [-1, 1], of the same shape and at least of float32."""
    unit: Tensor = ClippedUnit.apply((y.to(_wide(y)) + 1) / 2)  # type: ignore[no-untyped-call]
    return torch.log(unit) - torch.log1p(-unit)


def latent_size(shape: Shape, num_levels: int) -> tuple[int, int]:
    """Returns (h, w), the sides of the latents: those of the image divided by 2 to the power of levels - 1, rounded up."""
    factor = 2 ** (num_levels - 1)
    _, height, width = shape
    return -(-height // factor), -(-width // factor)


def padded(x: Tensor, num_levels: int) -> Tensor:
    """Returns images whose sides are multiples of the factor; the last row and column of (B, C, H, W) are repeated."""
    factor = 2 ** (num_levels - 1)
    height, width = x.shape[-2:]
    missing = (-width % factor, -height % factor)
    return F.pad(x, (0, missing[0], 0, missing[1]), mode="replicate") if any(missing) else x


def _wide(x: Tensor) -> torch.dtype:
    """The type of a tensor, but at least float32, which the logit of a pixel near white needs."""
    return torch.promote_types(x.dtype, torch.float32)


def _levels(block: type[DownBlock] | type[UpBlock], channels: list[int], layers: int, groups: int) -> nn.ModuleList:
    """A block for each level, in the order of the channels."""
    fans = pairwise([channels[0], *channels])
    last = len(channels) - 1
    return nn.ModuleList([block(*fan, layers, groups, index == last) for index, fan in enumerate(fans)])


def _with_context(maps: Tensor, context: Tensor | None) -> Tensor:
    """Appends the context, of shape (B, E), to maps of shape (B, C, h, w), at every point."""
    if context is None:
        return maps
    return torch.cat([maps, context[..., None, None].expand(-1, -1, *maps.shape[-2:])], 1)


def _check(shape: Shape, channels: list[int], groups: int) -> None:
    """Refuses data that are no images, and channels that cannot be normalized in groups.

    Raises:
        ConfigError: In both cases.
    """
    if len(shape) != 3:
        raise ConfigError(f"shape {tuple(shape)}: convolutions need images (C, H, W); choose the network mlp")
    if wrong := [number for number in channels if number % groups]:
        raise ConfigError(
            f"block_out_channels {channels}: norm_num_groups {groups} does not divide {wrong[0]}; choose multiples of it"
        )
