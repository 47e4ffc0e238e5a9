"""What every encoder and decoder is: a shape, a context, features on one side and a likelihood's parameters on the other."""

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn

Shape = tuple[int, int, int]
"""An image's shape (C, H, W)."""

Activation = Literal["relu", "silu", "elu", "gelu", "tanh"]
"""A nonlinearity by name."""

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


class Encoder(nn.Module, ABC):
    """A network from images to features.

    Attributes:
        shape: The image's shape (C, H, W).
        context_dim: E, how many numbers the context has; 0 without one.
        num_features: F, how many features it gives, or (F, h, w) of features that keep their place in the image.
    """

    shape: Shape
    context_dim: int
    num_features: int | Shape

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns features of shape (B, F), or (B, F, h, w).

        Arguments:
            x: Images on the unit interval, with shape (B, C, H, W).
            context: What the model is conditioned on, with shape (B, E), or None.
        """


class Decoder(nn.Module, ABC):
    """A network from latents to the parameters of a likelihood.

    Attributes:
        latent_dim: D, how many latents.
        shape: The image's shape (C, H, W).
        num_maps: P, how many maps of parameters it draws, which are as many as the likelihood reads.
        context_dim: E, how many numbers the context has; 0 without one.
    """

    latent_dim: int
    shape: Shape
    num_maps: int
    context_dim: int

    @abstractmethod
    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns parameters of shape (B, P, H, W).

        Arguments:
            z: Latents, with shape (B, D).
            context: What the model is conditioned on, with shape (B, E), or None.
        """
