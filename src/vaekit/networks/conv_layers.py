r"""The layers of convolutional networks: residual blocks, self-attention, normalization and levels.

References:
    | Deep Residual Learning for Image Recognition (He et al., 2015), https://arxiv.org/abs/1512.03385
    | Group Normalization (Wu & He, 2018), https://arxiv.org/abs/1803.08494
    | Attention Is All You Need (Vaswani et al., 2017), https://arxiv.org/abs/1706.03762
    | Training Deep Nets with Sublinear Memory Cost (Chen et al., 2016) for gradient checkpointing,
      https://arxiv.org/abs/1604.06174
"""

from functools import partial, reduce
from itertools import accumulate, chain, pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as checkpointed

from vaekit.networks.base import ACTIVATIONS, Activation

Norm = Literal["group", "none"]
"""The name of a normalization. Batch normalization is excluded: with it an image would depend on the others of its batch."""

CHANNELS_PER_GROUP = 16
CHANNELS_PER_HEAD = 64


class Levels(nn.Sequential):
    """A sequence of layers that is divided into levels.

    Arguments:
        levels: The layers of each level.
        checkpoint: Whether to use gradient checkpointing: only the output of each level is kept for the backward pass.
    """

    def __init__(self, levels: list[list[nn.Module]], checkpoint: bool) -> None:
        super().__init__(*chain(*levels))
        self.ends = list(accumulate(map(len, levels)))
        self.checkpoint = checkpoint

    def forward(self, x: Tensor) -> Tensor:
        """Returns the output of the last level."""
        layers = list(self)
        for begin, end in pairwise([0, *self.ends]):
            level = partial(_apply, layers[begin:end])
            if self.checkpoint and torch.is_grad_enabled():
                x = checkpointed(level, x, use_reentrant=False, preserve_rng_state=False)
            else:
                x = level(x)
        return x


def _apply(layers: list[nn.Module], x: Tensor) -> Tensor:
    return reduce(lambda maps, layer: layer(maps), layers, x)


class ResidualBlock(nn.Module):
    r"""A residual block, :math:`x + W_2 \phi(W_1 \phi(\mathrm{norm}(x)))`, with :math:`W_2 = 0` at initialization.

    Arguments:
        channels: The number of channels.
        activation: The activation function.
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
        self.out = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of the same shape as the input, (B, C, H, W)."""
        y: Tensor = x + self.out(self.layers(x))
        return y


class Attention(nn.Module):
    """Multi-head self-attention over all points of feature maps, with a residual connection.

    The output projection is zero at initialization.

    Arguments:
        channels: The number of channels.
        norm: The normalization.
    """

    def __init__(self, channels: int, norm: Norm = "group") -> None:
        super().__init__()
        self.num_heads = max(1, channels // CHANNELS_PER_HEAD) if channels % CHANNELS_PER_HEAD == 0 else 1
        self.norm = normalization(norm, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of the same shape as the input, (B, C, H, W)."""
        qkv = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.num_heads, -1))
        q, k, v = qkv.transpose(-1, -2).unbind(1)  # (B, heads, H * W, C / heads)
        values = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(x.shape)
        y: Tensor = x + self.out(values)
        return y


class Resize(nn.Module):
    """Nearest-neighbor interpolation to a given size (H, W)."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of shape (B, C, *size)."""
        return F.interpolate(x, self.size, mode="nearest")


def normalization(norm: Norm, channels: int) -> nn.Module:
    """Returns group normalization with 16 channels per group, or with one group if 16 does not divide ``channels``."""
    if norm == "none":
        return nn.Identity()
    groups = channels // CHANNELS_PER_GROUP if channels % CHANNELS_PER_GROUP == 0 else 1
    return nn.GroupNorm(groups, channels)
