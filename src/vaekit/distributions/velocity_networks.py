r"""Networks for the velocity of flow matching, :math:`v(z_t, t, c)`: one for vectors, and one for maps of latents.

Both add the embeddings of the time and of the context, and shift and scale their normalized features by linear functions of
the sum. Their last layer is initialized to zero.

References:
    | FiLM: Visual Reasoning with a General Conditioning Layer (Perez et al., 2017), https://arxiv.org/abs/1709.07871
    | Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239
    | U-Net: Convolutional Networks for Biomedical Image Segmentation (Ronneberger et al., 2015),
      https://arxiv.org/abs/1505.04597
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NUM_FREQUENCIES, MAX_FREQUENCY = 32, 500.0
"""The number of frequencies of the embedding of the time, and the highest, in radians."""
GROUP_SIZE = 16
"""The least number of channels of a group of group normalization."""


class TimeEmbedding(nn.Module):
    """Turns times in [0, 1] and contexts to vectors; a missing context is zero.

    Arguments:
        width: W, the size of the vectors.
        context_dim: E, the size of the context; 0 without one.
    """

    frequencies: Tensor

    def __init__(self, width: int, context_dim: int) -> None:
        super().__init__()
        frequencies = torch.logspace(0, math.log10(MAX_FREQUENCY), NUM_FREQUENCIES)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.time = nn.Sequential(nn.Linear(2 * NUM_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.context = nn.Linear(context_dim, width, bias=False) if context_dim else None

    def forward(self, t: Tensor, context: Tensor | None) -> Tensor:
        """Returns vectors of shape (B, W) for times of shape (B) and contexts of shape (B, E), or None."""
        angles = t.unsqueeze(1) * self.frequencies
        embedding: Tensor = self.time(torch.cat([angles.sin(), angles.cos()], 1))
        return F.silu(embedding if self.context is None or context is None else embedding + self.context(context))


class VelocityMLP(nn.Module):
    """A residual multilayer perceptron for vectors of latents.

    Arguments:
        latent_dim: D, the number of latents.
        context_dim: E, the size of the context; 0 without one.
        width: W, the number of features of each layer.
        num_blocks: The number of residual blocks, of two layers each.
    """

    def __init__(self, latent_dim: int, context_dim: int, width: int, num_blocks: int) -> None:
        super().__init__()
        self.embedding = TimeEmbedding(width, context_dim)
        self.first = nn.Linear(latent_dim, width)
        self.blocks = nn.ModuleList(_LinearBlock(width) for _ in range(num_blocks))
        self.last = nn.Linear(width, latent_dim)
        _zero(self.last)

    def forward(self, z: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns velocities of shape (B, D) for latents of shape (B, D) and times of shape (B)."""
        h, embedding = self.first(z), self.embedding(t, context)
        for block in self.blocks:
            h = block(h, embedding)
        velocity: Tensor = self.last(F.silu(h))
        return velocity


class VelocityUNet(nn.Module):
    """A U-Net for maps of latents, of two resolutions, with attention at both.

    Arguments:
        maps: The channels, height and width of the maps, whose product is D.
        context_dim: E, the size of the context; 0 without one.
        width: W, the number of channels at the full resolution; at half of it there are twice as many.
        num_blocks: The number of residual blocks at each resolution, on the way down and on the way up.
    """

    def __init__(self, maps: tuple[int, int, int], context_dim: int, width: int, num_blocks: int) -> None:
        super().__init__()
        self.maps = maps
        self.embedding = TimeEmbedding(width, context_dim)
        self.first = nn.Conv2d(maps[0], width, 3, padding=1)
        self.down = nn.ModuleList(_ConvBlock(width, width, width) for _ in range(num_blocks))
        self.before_low = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.middle = nn.ModuleList(_ConvBlock(2 * width, 2 * width, width) for _ in range(num_blocks))
        self.attention = _Attention(2 * width)
        self.after_low = nn.Conv2d(2 * width, width, 3, padding=1)
        self.up = nn.ModuleList(_ConvBlock(width if index else 2 * width, width, width) for index in range(num_blocks))
        self.fine_attention = _Attention(width)
        self.norm = nn.GroupNorm(_num_groups(width), width)
        self.last = nn.Conv2d(width, maps[0], 3, padding=1)
        _zero(self.last)

    def forward(self, z: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns velocities of shape (B, D) for latents of shape (B, D) and times of shape (B)."""
        h, embedding = self.first(z.unflatten(1, self.maps)), self.embedding(t, context)
        for block in self.down:
            h = block(h, embedding)
        low = self.before_low(h)
        for block in self.middle:
            low = block(low, embedding)
        low = F.interpolate(self.attention(low), size=self.maps[1:], mode="nearest")
        h = torch.cat([h, self.after_low(low)], 1)
        for block in self.up:
            h = block(h, embedding)
        velocity: Tensor = self.last(F.silu(self.norm(self.fine_attention(h))))
        return velocity.flatten(1)


class _LinearBlock(nn.Module):
    """A residual block of two linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding).chunk(2, 1)
        update: Tensor = self.layers(self.norm(h) * (1 + scale) + shift)
        return h + update


class _ConvBlock(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, in_channels: int, out_channels: int, embedding_dim: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_num_groups(in_channels), in_channels)
        self.first = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.inner_norm = nn.GroupNorm(_num_groups(out_channels), out_channels, affine=False)
        self.modulation = nn.Linear(embedding_dim, 2 * out_channels)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        _zero(self.second)
        self.skip: nn.Module = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, 1)
        inner = self.first(F.silu(self.norm(h)))
        update = self.second(F.silu(self.inner_norm(inner) * (1 + scale) + shift))
        result: Tensor = self.skip(h) + update
        return result


class _Attention(nn.Module):
    """Self-attention of one head over the points of the maps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_num_groups(channels), channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        _zero(self.out)

    def forward(self, h: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(h)).flatten(2).transpose(1, 2).chunk(3, 2)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(h.shape)
        result: Tensor = h + self.out(mixed)
        return result


def _num_groups(channels: int) -> int:
    """The number of groups of group normalization."""
    return next(num for num in range(max(1, channels // GROUP_SIZE), 0, -1) if channels % num == 0)


def _zero(layer: Any) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
