"""Encoders, from data to features, and decoders, from latents to the parameters of a likelihood.

The registries map the name in a recipe to a class. A class of your own is registered by a decorator:
``@ENCODERS.register("mine")``.
"""

from typing import TYPE_CHECKING

from vaekit.core.lazy_names import lazy_names
from vaekit.core.registry import Registry

if TYPE_CHECKING:
    from vaekit.networks.autoencoder_kl import AutoencoderKLDecoder, AutoencoderKLEncoder
    from vaekit.networks.base import Decoder, Encoder, Shape
    from vaekit.networks.conv import ConvDecoder, ConvEncoder
    from vaekit.networks.ladder_networks import LadderDecoder, LadderEncoder
    from vaekit.networks.mlp import MLPDecoder, MLPEncoder

ENCODERS: "Registry[Encoder]" = Registry(
    "ENCODERS",
    {
        "mlp": "vaekit.networks.mlp.MLPEncoder",
        "conv": "vaekit.networks.conv.ConvEncoder",
        "ladder": "vaekit.networks.ladder_networks.LadderEncoder",
        "autoencoder-kl": "vaekit.networks.autoencoder_kl.AutoencoderKLEncoder",
    },
)
DECODERS: "Registry[Decoder]" = Registry(
    "DECODERS",
    {
        "mlp": "vaekit.networks.mlp.MLPDecoder",
        "conv": "vaekit.networks.conv.ConvDecoder",
        "ladder": "vaekit.networks.ladder_networks.LadderDecoder",
        "autoencoder-kl": "vaekit.networks.autoencoder_kl.AutoencoderKLDecoder",
    },
)

__all__ = [
    "DECODERS",
    "ENCODERS",
    "AutoencoderKLDecoder",
    "AutoencoderKLEncoder",
    "ConvDecoder",
    "ConvEncoder",
    "Decoder",
    "Encoder",
    "LadderDecoder",
    "LadderEncoder",
    "MLPDecoder",
    "MLPEncoder",
    "Shape",
]

__getattr__ = lazy_names(
    __name__,
    {
        "AutoencoderKLDecoder": "autoencoder_kl",
        "AutoencoderKLEncoder": "autoencoder_kl",
        "ConvDecoder": "conv",
        "ConvEncoder": "conv",
        "Decoder": "base",
        "Encoder": "base",
        "LadderDecoder": "ladder_networks",
        "LadderEncoder": "ladder_networks",
        "MLPDecoder": "mlp",
        "MLPEncoder": "mlp",
        "Shape": "base",
    },
)
