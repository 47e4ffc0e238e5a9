"""The variational autoencoder: a composition of parts, and how it is kept on disk."""

from vaekit.models.conditions import ClassLabel, Condition
from vaekit.models.serialization import CONDITIONS, VAEConfig, build_vae, describe_vae, load_vae, save_vae
from vaekit.models.vae import VAE

__all__ = [
    "CONDITIONS",
    "VAE",
    "ClassLabel",
    "Condition",
    "VAEConfig",
    "build_vae",
    "describe_vae",
    "load_vae",
    "save_vae",
]
