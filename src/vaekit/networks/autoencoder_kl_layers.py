r"""The layers of the networks ``autoencoder-kl``: residual blocks, self-attention, and levels of resolution.

Modules and weights have the names and shapes that ``AutoencoderKL`` of the library ``diffusers`` gives them, so that a
model is exported without a change of its weights (:mod:`vaekit.export.diffusers_format`). Every residual block computes

.. math:: y = s(x) + W_2 \, \mathrm{silu}(\mathrm{norm}_2(W_1 \, \mathrm{silu}(\mathrm{norm}_1(x))))

where :math:`s` is the identity, or a 1x1 convolution if the number of channels changes. Initialization: :math:`W_2` and the
output projection of attention are zero, so that each block begins as :math:`s`; everything else has the default of torch.

References:
    | High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2021), https://arxiv.org/abs/2112.10752
    | Taming Transformers for High-Resolution Image Synthesis (Esser et al., 2020), https://arxiv.org/abs/2012.09841
"""

import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-6
"""What group normalization adds to variances."""


class Residual(nn.Module):
    """A residual block.

    Arguments:
        fan_in: The number of channels of the input.
        fan_out: The number of channels of the output.
        groups: The number of groups of each normalization.
    """

    def __init__(self, fan_in: int, fan_out: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, fan_in, NORM_EPS)
        self.conv1 = nn.Conv2d(fan_in, fan_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, fan_out, NORM_EPS)
        self.conv2 = nn.Conv2d(fan_out, fan_out, 3, padding=1)
        self.conv_shortcut = None if fan_in == fan_out else nn.Conv2d(fan_in, fan_out, 1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of shape (B, fan_out, H, W), given maps of shape (B, fan_in, H, W)."""
        residual = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        y: Tensor = residual + (x if self.conv_shortcut is None else self.conv_shortcut(x))
        return y


class SelfAttention(nn.Module):
    """Self-attention of one head over all points of feature maps, with a residual connection.

    Arguments:
        channels: The number of channels.
        groups: The number of groups of the normalization.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, NORM_EPS)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])
        nn.init.zeros_(self.to_out[0].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of the same shape as the input, (B, C, H, W)."""
        points = self.group_norm(x).flatten(2).transpose(1, 2).unsqueeze(1)  # (B, 1, H * W, C)
        values = F.scaled_dot_product_attention(self.to_q(points), self.to_k(points), self.to_v(points))
        y: Tensor = x + self.to_out[0](values).squeeze(1).transpose(1, 2).reshape(x.shape)
        return y


class MidBlock(nn.Module):
    """The layers at the lowest resolution: two residual blocks, and self-attention between them if it is wanted.

    Arguments:
        channels: The number of channels.
        groups: The number of groups of each normalization.
        attention: Whether there is self-attention.
    """

    def __init__(self, channels: int, groups: int, attention: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([Residual(channels, channels, groups) for _ in range(2)])
        self.attentions = nn.ModuleList([SelfAttention(channels, groups)] if attention else [])

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of the same shape as the input, (B, C, H, W)."""
        first, second = self.resnets
        x = first(x)
        for attention in self.attentions:
            x = attention(x)
        y: Tensor = second(x)
        return y


class Downsample(nn.Module):
    """A convolution of stride 2 that halves even sides; a row and a column of zeros are appended, and none in front."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of shape (B, C, H / 2, W / 2), given maps of shape (B, C, H, W)."""
        y: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return y


class Upsample(nn.Module):
    """Nearest-neighbor interpolation to twice the size, and a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of shape (B, C, 2H, 2W), given maps of shape (B, C, H, W)."""
        y: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return y


class DownBlock(nn.Module):
    """A level of the encoder: residual blocks, and :class:`Downsample` unless it is the last level.

    Arguments:
        fan_in: The number of channels of the level before.
        fan_out: The number of channels of this level.
        layers: The number of residual blocks.
        groups: The number of groups of each normalization.
        last: Whether this is the lowest resolution.
    """

    def __init__(self, fan_in: int, fan_out: int, layers: int, groups: int, last: bool) -> None:
        super().__init__()
        self.resnets = _residuals(fan_in, fan_out, layers, groups)
        self.downsamplers = nn.ModuleList([] if last else [Downsample(fan_out)])

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of half the size, or of the same size at the last level."""
        for layer in [*self.resnets, *self.downsamplers]:
            x = layer(x)
        return x


class UpBlock(nn.Module):
    """A level of the decoder: residual blocks, and :class:`Upsample` unless it is the last level.

    Arguments:
        fan_in: The number of channels of the level before.
        fan_out: The number of channels of this level.
        layers: The number of residual blocks.
        groups: The number of groups of each normalization.
        last: Whether this is the highest resolution.
    """

    def __init__(self, fan_in: int, fan_out: int, layers: int, groups: int, last: bool) -> None:
        super().__init__()
        self.resnets = _residuals(fan_in, fan_out, layers, groups)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(fan_out)])

    def forward(self, x: Tensor) -> Tensor:
        """Returns maps of twice the size, or of the same size at the last level."""
        for layer in [*self.resnets, *self.upsamplers]:
            x = layer(x)
        return x


def _residuals(fan_in: int, fan_out: int, layers: int, groups: int) -> nn.ModuleList:
    return nn.ModuleList([Residual(fan_in if index == 0 else fan_out, fan_out, groups) for index in range(layers)])
