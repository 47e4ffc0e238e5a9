"""The stochastic layer of a ladder's top-down path; :mod:`vaekit.networks.ladder_networks` has the equations."""

import math

import torch
from torch import Tensor, nn

from vaekit.networks.base import ACTIVATIONS, Activation
from vaekit.networks.conv_layers import ResidualBlock


class LadderLayer(nn.Module):
    """A stochastic layer of the top-down path.

    Arguments:
        channels: C, the number of channels of the state and of the encoder's maps.
        width: The number of latents of each point.
        size: The size (h, w) of its maps.
        blocks: The number of residual blocks after the latents.
        activation: The activation function.
        is_top: Whether it is the top layer, whose prior is a part of the model and not of the path.
    """

    def __init__(
        self, channels: int, width: int, size: tuple[int, int], blocks: int, activation: Activation, is_top: bool
    ) -> None:
        super().__init__()
        self.width = width
        self.size = size
        self.activation = ACTIVATIONS[activation]()
        if not is_top:
            self.prior = nn.Conv2d(channels, channels, 3, padding=1)
            self.prior_out = _zero(nn.Conv2d(channels, 2 * width, 1))
        self.is_top = is_top
        self.posterior = nn.Conv2d(channels, channels, 3, padding=1)
        self.features = nn.Conv2d(channels, channels, 1, bias=False)
        self.posterior_out = _zero(nn.Conv2d(channels, 2 * width, 1))
        self.latents = nn.Conv2d(width, channels, 1)
        self.blocks = nn.Sequential(*(ResidualBlock(channels, activation, "none") for _ in range(blocks)))

    @property
    def num_latents(self) -> int:
        """D_l, the number of latents of the layer."""
        return self.width * math.prod(self.size)

    def prior_parameters(self, h: Tensor) -> Tensor:
        """Returns the means and log-variances of the prior, with shape (N, 2, D_l).

        Those of the top layer are zeros.

        Arguments:
            h: The state after the activation function, with shape (N, C, h, w).
        """
        if self.is_top:
            return torch.zeros(len(h), 2, self.num_latents, device=h.device)
        return self._as_parameters(self.prior_out(self.activation(self.prior(h))))

    def posterior_parameters(self, h: Tensor, features: Tensor) -> Tensor:
        """Returns what the posterior adds to means and log-variances of the prior, with shape (N, 2, D_l).

        Arguments:
            h: The state after the activation function, with shape (N, C, h, w).
            features: The output of :meth:`project`, with shape (B, C, h, w).
        """
        hidden = _add(self.posterior(h), features)
        return self._as_parameters(self.posterior_out(self.activation(hidden)))

    def project(self, features: Tensor) -> Tensor:
        """Returns the encoder's maps as the posterior reads them, with shape (B, C, h, w), once for all samples of z."""
        projected: Tensor = self.features(self.activation(features))
        return projected

    def add(self, h: Tensor, z: Tensor) -> Tensor:
        """Returns the state after latents z of shape (K * N, D_l), given a state of shape (N, C, h, w)."""
        state: Tensor = self.blocks(_add(self.latents(self.as_maps(z)), h))
        return state

    def as_maps(self, z: Tensor) -> Tensor:
        """Returns latents of shape (N, D_l) as maps of shape (N, width, h, w)."""
        maps: Tensor = z.unflatten(-1, (self.width, *self.size))
        return maps

    def _as_parameters(self, maps: Tensor) -> Tensor:
        """Maps of shape (N, 2 * width, h, w) as parameters of shape (N, 2, D_l), in float32."""
        parameters: Tensor = maps.float().flatten(1).unflatten(1, (2, -1))
        return parameters


def _add(many: Tensor, few: Tensor) -> Tensor:
    """Adds maps of shape (B, ...) to those of shape (K * B, ...)."""
    if len(many) == len(few):
        return many + few
    added: Tensor = (many.unflatten(0, (-1, len(few))) + few).flatten(0, 1)
    return added


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer whose weights and biases are zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
