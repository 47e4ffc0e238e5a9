"""The base classes of encoders and decoders.

The data x have shape (B, *event), where the event is an image (C, H, W) or has any other shape, such as a vector (D,). The
output of a decoder has shape (B, P, ...). Its first axis are P parameter maps, as many as the likelihood needs
(``likelihood.num_maps``), in place of the first axis of the event: (B, P, H, W) for images, (B, P) for vectors.
"""

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn

Shape = tuple[int, ...]
"""The shape of one element of the data: (C, H, W) for an image."""

Activation = Literal["relu", "silu", "elu", "gelu", "tanh"]
"""The name of an activation function."""

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


class Encoder(nn.Module, ABC):
    """The base class of encoders: a network from data to features.

    Attributes:
        shape: The shape of one element of the data: (C, H, W) for an image.
        context_dim: E, the size of the context; 0 without a context.
        num_features: F, the number of features, or (F, h, w) for feature maps.
    """

    shape: Shape
    context_dim: int
    num_features: int | tuple[int, int, int]

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns features of shape (B, F), or (B, F, h, w).

        Arguments:
            x: The output of ``likelihood.encoder_input``, with shape (B, *event): for images (B, C, H, W) in [0, 1].
            context: The context of a conditional model, with shape (B, E), or None.
        """


class Decoder(nn.Module, ABC):
    """The base class of decoders: a network from latents to the parameters of a likelihood.

    Attributes:
        latent_dim: D, the number of latents.
        shape: The shape of one element of the data: (C, H, W) for an image.
        num_maps: P, the number of parameter maps.
        context_dim: E, the size of the context; 0 without a context.
    """

    latent_dim: int
    shape: Shape
    num_maps: int
    context_dim: int

    @abstractmethod
    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Returns parameters of shape (B, P, ...): for images (B, P, H, W), for vectors (B, P).

        Arguments:
            z: Latents, with shape (B, D).
            context: The context of a conditional model, with shape (B, E), or None.
        """
