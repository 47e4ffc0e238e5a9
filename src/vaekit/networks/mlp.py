r"""Fully connected networks, for data of any shape.

.. math:: h_0 = [x, c], \qquad h_{i+1} = \phi(W_i h_i + b_i)

where the input :math:`x` is flattened and the context :math:`c`, such as a class label, is appended to it. The output of an
encoder is its last hidden layer; the output of a decoder is a linear layer that gives the parameters of the likelihood. With
``activation="gated"`` a layer is a gated linear unit:

.. math:: h_{i+1} = (W_i h_i + b_i) \odot \mathrm{sigmoid}(V_i h_i + c_i)

References:
    | Language Modeling with Gated Convolutional Networks (Dauphin et al., 2017) for gated linear units,
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
"""The widths of the hidden layers, from the input to the output."""

LayerActivation = Activation | Literal["gated"]
"""The name of the activation function of a fully connected layer."""


class MLPEncoder(Encoder):
    """A fully connected encoder.

    Arguments:
        shape: The shape of one element of the data: (C, H, W) for an image. Any shape is possible.
        context_dim: E, the size of the context.
        hidden: The widths of the hidden layers. The last width is the number of features.
        activation: The activation function of each layer, or ``gated`` for gated linear units.
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
        """Returns features of shape (B, F), given x of shape (B, *event)."""
        flat = x.flatten(1)
        features: Tensor = self.layers(flat if context is None else torch.cat([flat, context], -1))
        return features


class MLPDecoder(Decoder):
    """A fully connected decoder.

    Arguments:
        latent_dim: D, the number of latents.
        shape: The shape of one element of the data: (C, H, W) for an image. Any shape is possible.
        num_maps: P, the number of parameter maps; by default one for each channel, the size of the first axis of ``shape``.
        context_dim: E, the size of the context.
        hidden: The widths of the hidden layers.
        activation: The activation function of each hidden layer, or ``gated`` for gated linear units.
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
        """Returns parameters of shape (B, P, ...), given latents of shape (B, D): for images (B, P, H, W)."""
        hidden = self.layers(z if context is None else torch.cat([z, context], -1))
        parameters: Tensor = self.output(hidden).unflatten(-1, (self.num_maps, *self.shape[1:]))
        return parameters


def mlp(widths: list[int], activation: LayerActivation) -> nn.Sequential:
    """Returns linear layers with the given widths, the width of the input first. An activation follows each layer."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        if activation == "gated":
            layers += [nn.Linear(fan_in, 2 * fan_out), nn.GLU()]
        else:
            layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)
