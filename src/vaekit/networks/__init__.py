"""Neural networks for images of any C x H x W: encoders to features, decoders to a likelihood's parameters.

The tables list every choice by the name that a recipe gives it; a class of your own goes into its table.
"""

from collections.abc import Callable

from vaekit.networks.base import Decoder, Encoder, Shape
from vaekit.networks.conv import ConvDecoder, ConvEncoder
from vaekit.networks.mlp import MLPDecoder, MLPEncoder

ENCODERS: dict[str, Callable[..., Encoder]] = {"mlp": MLPEncoder, "conv": ConvEncoder}
DECODERS: dict[str, Callable[..., Decoder]] = {"mlp": MLPDecoder, "conv": ConvDecoder}

__all__ = [
    "DECODERS",
    "ENCODERS",
    "ConvDecoder",
    "ConvEncoder",
    "Decoder",
    "Encoder",
    "MLPDecoder",
    "MLPEncoder",
    "Shape",
]
