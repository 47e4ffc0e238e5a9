"""Encoders, from data to features, and decoders, from latents to the parameters of a likelihood.

The registries map the name in a recipe to a class. A class of your own is registered by a decorator:
``@ENCODERS.register("mine")``.
"""

from vaekit.core.config import Registry
from vaekit.networks.base import Decoder, Encoder, Shape
from vaekit.networks.conv import ConvDecoder, ConvEncoder
from vaekit.networks.mlp import MLPDecoder, MLPEncoder

ENCODERS: Registry[Encoder] = Registry("ENCODERS", {"mlp": MLPEncoder, "conv": ConvEncoder})
DECODERS: Registry[Decoder] = Registry("DECODERS", {"mlp": MLPDecoder, "conv": ConvDecoder})

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
