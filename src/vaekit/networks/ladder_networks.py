r"""The two networks of a ladder VAE: a bottom-up encoder and a top-down path with stochastic layers.

The encoder computes one feature map :math:`e_r` for each resolution of the image. The path goes from the lowest resolution
to the highest and carries a state :math:`h`, which starts at learned values. Layer :math:`l` reads the state, from which
the parameters of its prior follow, and with :math:`e_r` those of its posterior; its latents :math:`z_l` are added to it:

.. math::
    (\mu_l, \log \sigma_l^2) = P_l(h), \qquad (\delta\mu_l, \delta\log \sigma_l^2) = Q_l(h, e_r), \qquad
    h \gets B_l(h + W_l z_l)

Prior and posterior share the path, so one pass computes both, and the decoder's output is its end. The latents of all layers
also go to the last layers directly, :math:`\sum_l U_l z_l / \sqrt L`, so that no layer can be ignored for being far away.

The last layers of :math:`P_l`, :math:`Q_l` and of all residual branches are zero at initialization: then every prior is a
standard normal and equal to its posterior. There is no normalization over a batch, or any other.

References:
    | Ladder Variational Autoencoders (Sønderby et al., 2016), https://arxiv.org/abs/1602.02282
    | NVAE (Vahdat & Kautz, 2020) for residual posteriors, https://arxiv.org/abs/2007.03898
    | Very Deep VAEs (Child, 2020) for the path, https://arxiv.org/abs/2011.10650
    | Hierarchical VAE with a Diffusion-based VampPrior (Kuzina & Tomczak, 2024) for the aggregated latents,
      https://arxiv.org/abs/2412.01373
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from vaekit.core.errors import ConfigError
from vaekit.networks.base import ACTIVATIONS, Activation, Decoder, Encoder, Shape
from vaekit.networks.conv import Blocks, Channels, level_sizes
from vaekit.networks.conv_layers import ResidualBlock, Resize
from vaekit.networks.ladder_layers import LadderLayer

NumLayers = Annotated[list[Annotated[int, Field(ge=0, le=1000)]], Field(min_length=1)]
"""The number of stochastic layers of each level."""

Choose = Callable[[int, Tensor, Tensor | None], Tensor]
"""Chooses the latents of a layer. It is given the number of the layer, the parameters of its prior and, where there are
features, those that the posterior adds, each with shape (N, 2, D_l), and returns latents of shape (K * N, D_l)."""


class LadderEncoder(Encoder):
    """A convolutional encoder that computes feature maps at every resolution.

    As an encoder of other models it returns all maps, flattened and concatenated.

    Arguments:
        shape: The shape of an image (C, H, W).
        context_dim: E, the size of the context, which is added to the maps of the first level.
        channels: The number of channels of each level, from the highest resolution to the lowest. The first level has the
            size of the image, each further one half the size of the previous one, rounded up.
        blocks: The number of residual blocks of each level.
        activation: The activation function.

    Raises:
        ConfigError: If ``channels`` and ``blocks`` have different lengths, or ``shape`` is not that of an image.
    """

    def __init__(
        self,
        shape: Shape,
        context_dim: int = 0,
        channels: Channels = [8, 24, 24],
        blocks: Blocks = [0, 2, 2],
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        self.shape = shape
        self.context_dim = context_dim
        self.channels = channels
        self.blocks = blocks
        self.activation = activation
        _check_levels(shape, channels, blocks, "blocks")
        self.sizes = level_sizes(shape, len(channels))
        self.num_features = sum(num * h * w for num, (h, w) in zip(channels, self.sizes, strict=True))
        self.input = nn.Conv2d(shape[0], channels[0], 3, padding=1)
        self.context = nn.Linear(context_dim, channels[0]) if context_dim else None
        self.levels = nn.ModuleList(
            nn.Sequential(
                *([] if fan_in is None else [ACTIVATIONS[activation](), nn.Conv2d(fan_in, num, 3, stride=2, padding=1)]),
                *(ResidualBlock(num, activation, "none") for _ in range(num_blocks)),
            )
            for fan_in, num, num_blocks in zip([None, *channels[:-1]], channels, blocks, strict=True)
        )

    def maps(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        """Returns the maps of each level, from the highest resolution down, given images of shape (B, C, H, W) in [0, 1]."""
        h = self.input(2 * x - 1)
        if self.context is not None and context is not None:
            h = h + self.context(context)[..., None, None]
        maps = []
        for level in self.levels:
            h = level(h)
            maps.append(h)
        return tuple(maps)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns the maps of all levels as features of shape (B, F)."""
        return torch.cat([maps.flatten(1) for maps in self.maps(x, context)], 1)


class LadderDecoder(Decoder):
    """The top-down path of a ladder VAE, with all stochastic layers.

    Arguments:
        latent_dim: D, the number of latents of all layers; it follows from the other arguments.
        shape: The shape of an image (C, H, W).
        num_maps: P, the number of parameter maps; by default one for each channel.
        context_dim: E, the size of the context, which is added to the first state.
        channels: The number of channels of each level, from the highest resolution to the lowest, as for the encoder.
        layers: The number of stochastic layers of each level, in the same order.
        width: The number of latents of each point of a layer.
        blocks: The number of residual blocks after the latents of each layer.
        activation: The activation function.

    Raises:
        ConfigError: If ``channels`` and ``layers`` have different lengths, there is no layer, or ``shape`` is not that of an
            image.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Shape,
        num_maps: int | None = None,
        context_dim: int = 0,
        channels: Channels = [8, 24, 24],
        layers: NumLayers = [0, 3, 3],
        width: PositiveInt = 4,
        blocks: PositiveInt = 1,
        activation: Activation = "silu",
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = shape
        self.num_maps = shape[0] if num_maps is None else num_maps
        self.context_dim = context_dim
        self.channels = channels
        self.layers = layers
        self.width = width
        self.blocks = blocks
        self.activation = activation
        self.sizes = ladder_sizes(shape, channels, layers, width)
        if latent_dim != sum(self.sizes):
            raise ConfigError(
                f"latent_dim {latent_dim}: the layers {layers} of {width} latents per point have {sum(self.sizes)}; "
                "leave it out"
            )
        sizes = level_sizes(shape, len(channels))
        self.levels = [level for level in reversed(range(len(channels))) for _ in range(layers[level])]
        top = self.levels[0]
        self.start = nn.Parameter(torch.zeros(channels[top], *sizes[top]))
        self.context = nn.Linear(context_dim, channels[top]) if context_dim else None
        self.path = nn.ModuleList(
            LadderLayer(channels[level], width, sizes[level], blocks, activation, index == 0)
            for index, level in enumerate(self.levels)
        )
        self.entries = nn.ModuleList(
            nn.Identity() if below == above else _upward(channels, sizes, above, below)
            for above, below in pairwise([self.levels[0], *self.levels])
        )
        last = self.levels[-1]
        self.aggregated = nn.ModuleDict(
            {str(level): nn.Conv2d(width * layers[level], channels[last], 1) for level in sorted(set(self.levels))}
        )
        self.resize = Resize(sizes[last])
        self.output = nn.Sequential(
            ACTIVATIONS[activation](),
            *(() if last == 0 else (nn.Conv2d(channels[last], channels[0], 3, padding=1), Resize(sizes[0]))),
            *(() if last == 0 else (ACTIVATIONS[activation](),)),
            nn.Conv2d(channels[0], self.num_maps, 3, padding=1),
        )
        _scale_latents(self.path)

    @property
    def layers_of_path(self) -> list[LadderLayer]:
        """The stochastic layers, from the top down."""
        return [layer for layer in self.path if isinstance(layer, LadderLayer)]

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns parameters of shape (B, P, H, W), given latents of all layers with shape (B, D)."""
        h = self.first_state(len(z), context)
        latents = z.split(self.sizes, -1)
        for entry, layer, z_l in zip(self.entries, self.layers_of_path, latents, strict=True):
            h = layer.add(entry(h), z_l)
        return self.last(h, latents)

    def project(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Returns the encoder's maps of each level as the posterior of each layer reads them."""
        return tuple(layer.project(maps[level]) for layer, level in zip(self.layers_of_path, self.levels, strict=True))

    def top_parameters(self, num: int, features: Sequence[Tensor], context: Tensor | None) -> Tensor:
        """Returns what the posterior of the top layer adds to its prior, with shape (B, 2, D_1)."""
        layer = self.layers_of_path[0]
        parameters: Tensor = layer.posterior_parameters(layer.activation(self.first_state(num, context)), features[0])
        return parameters

    def descend(
        self, choose: Choose, num: int, features: Sequence[Tensor] | None = None, context: Tensor | None = None
    ) -> Tensor:
        """Goes down the path once, and lets a function choose the latents of each layer from the parameters there.

        Arguments:
            choose: The function.
            num: B, the number of images.
            features: The output of :meth:`project`, for the parameters of the posterior; None for those of the prior alone.
            context: The context of a conditional model, with shape (B, E), or None.

        Returns:
            Parameters of the likelihood, with shape (K * B, P, H, W).
        """
        h, latents = self.first_state(num, context), []
        for index, (entry, layer) in enumerate(zip(self.entries, self.layers_of_path, strict=True)):
            h = entry(h)
            read = layer.activation(h)
            added = None if features is None else layer.posterior_parameters(read, features[index])
            latents.append(choose(index, layer.prior_parameters(read), added))
            h = layer.add(h, latents[-1])
        return self.last(h, latents)

    def first_state(self, num: int, context: Tensor | None) -> Tensor:
        """Returns the state before the top layer, with shape (B, C, h, w)."""
        h = self.start.expand(num, -1, -1, -1)
        return h if self.context is None or context is None else h + self.context(context)[..., None, None]

    def last(self, h: Tensor, latents: Sequence[Tensor]) -> Tensor:
        """Returns parameters of the likelihood from the last state and the latents of all layers."""
        parts = list(zip(self.levels, self.layers_of_path, latents, strict=True))
        for level, aggregated in self.aggregated.items():
            maps = [layer.as_maps(z) for at, layer, z in parts if str(at) == level]
            h = h + self.resize(aggregated(torch.cat(maps, 1) / math.sqrt(len(self.path))))
        parameters: Tensor = self.output(h)
        return parameters


def ladder_sizes(shape: Shape, channels: Sequence[int], layers: Sequence[int], width: int) -> list[int]:
    """Returns the number of latents of each stochastic layer, from the top down.

    Raises:
        ConfigError: If the arguments do not fit together; see :class:`LadderDecoder`.
    """
    _check_levels(shape, channels, layers, "layers")
    if not layers[-1]:
        raise ConfigError(f"layers {list(layers)}: the last level, which is the top, has at least one layer")
    sizes = level_sizes(shape, len(channels))
    return [width * h * w for (h, w), num in reversed(list(zip(sizes, layers, strict=True))) for _ in range(num)]


def _check_levels(shape: Shape, channels: Sequence[int], others: Sequence[int], name: str) -> None:
    if len(shape) != 3:
        raise ConfigError(f"shape {tuple(shape)}: a ladder needs images (C, H, W); choose the network mlp")
    if len(channels) != len(others):
        raise ConfigError(
            f"channels {list(channels)} and {name} {list(others)}: they have {len(channels)} and {len(others)} levels; "
            "give both one length"
        )


def _upward(channels: Sequence[int], sizes: list[tuple[int, int]], above: int, below: int) -> nn.Module:
    """The layers from one level to one of higher resolution."""
    convolution = nn.Conv2d(channels[above], channels[below], 1)
    return nn.Sequential(convolution, Resize(sizes[below]))


def _scale_latents(path: nn.ModuleList) -> None:
    """Divides the weights from latents to the state by the root of their number, so that their sum keeps its scale."""
    for layer in path:
        assert isinstance(layer, LadderLayer)
        with torch.no_grad():
            layer.latents.weight /= math.sqrt(len(path))
