r"""Fully connected networks, for images of any C x H x W.

.. math:: h_0 = [x, c], \qquad h_{i+1} = \phi(W_i h_i + b_i)

with a context :math:`c` (a class label, say) appended to what goes in. An encoder ends at its last hidden layer, where a
posterior takes over; a decoder ends with the parameters of a likelihood. A layer may be gated instead:

.. math:: h_{i+1} = (W_i h_i + b_i) \odot \mathrm{sigmoid}(V_i h_i + c_i)

References:
    | Language Modeling with Gated Convolutional Networks (Dauphin et al., 2017) for gates,
      https://arxiv.org/abs/1612.08083
"""

import math
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from vaekit.networks.base import ACTIVATIONS, Activation, Decoder, Encoder, Shape

Widths = Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)]
"""The widths of hidden layers, from the input on."""

LayerActivation = Activation | Literal["gated"]
"""What makes a fully connected layer nonlinear, by name."""


class MLPEncoder(Encoder):
    """Hidden layers from an image to features.

    Arguments:
        shape: The image's shape (C, H, W).
        context_dim: E, how many numbers the context has.
        hidden: The widths of the hidden layers; the last one is the number of features.
        activation: The nonlinearity after each layer, or ``gated`` for gated layers.
    """

    def __init__(
        self, shape: Shape, context_dim: int = 0, hidden: Widths = [512], activation: LayerActivation = "relu"
    ) -> None:
        super().__init__()
        self.shape = shape
        self.context_dim = context_dim
        self.hidden = hidden
        self.activation = activation
        self.num_features = hidden[-1]
        self.layers = mlp([math.prod(shape) + context_dim, *hidden], activation)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns features of shape (B, F) of images of shape (B, C, H, W) on the unit interval."""
        flat = x.flatten(1)
        features: Tensor = self.layers(flat if context is None else torch.cat([flat, context], -1))
        return features


class MLPDecoder(Decoder):
    """Hidden layers from a latent to the parameters of a likelihood.

    Arguments:
        latent_dim: D, how many latents.
        shape: The image's shape (C, H, W).
        num_maps: P, how many maps of parameters the likelihood reads; one for each channel by default.
        context_dim: E, how many numbers the context has.
        hidden: The widths of the hidden layers, from the latent on.
        activation: The nonlinearity after each hidden layer, or ``gated`` for gated layers.
    """

    def __init__(
        self,
        latent_dim: int,
        shape: Shape,
        num_maps: int | None = None,
        context_dim: int = 0,
        hidden: Widths = [512],
        activation: LayerActivation = "relu",
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = shape
        self.num_maps = shape[0] if num_maps is None else num_maps
        self.context_dim = context_dim
        self.hidden = hidden
        self.activation = activation
        self.layers = mlp([latent_dim + context_dim, *hidden], activation)
        self.output = nn.Linear(hidden[-1], self.num_maps * math.prod(shape[1:]))

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns parameters of shape (B, P, H, W) of latents of shape (B, D)."""
        hidden = self.layers(z if context is None else torch.cat([z, context], -1))
        parameters: Tensor = self.output(hidden).unflatten(-1, (self.num_maps, *self.shape[1:]))
        return parameters


def mlp(widths: list[int], activation: LayerActivation) -> nn.Sequential:
    """Linear layers of the given widths, the input's first, each followed by an activation."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        if activation == "gated":
            layers += [nn.Linear(fan_in, 2 * fan_out), nn.GLU()]
        else:
            layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)
