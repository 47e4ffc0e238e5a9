"""Encoders, from data to features, and decoders, from latents to the parameters of a likelihood.

The registries map the name in a recipe to a class. A new class is added to its registry, for example
``ENCODERS["mine"] = Mine``.
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
