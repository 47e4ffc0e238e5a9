"""Models: the contract of every model, the VAE as a composition of parts, and models on disk."""

from vaekit.models.conditions import ClassLabel, Condition
from vaekit.models.model import Model
from vaekit.models.serialization import CONDITIONS, VAEConfig, build_vae, check_savable, describe_vae, load_vae, save_vae
from vaekit.models.vae import VAE

__all__ = [
    "CONDITIONS",
    "VAE",
    "ClassLabel",
    "Condition",
    "Model",
    "VAEConfig",
    "build_vae",
    "check_savable",
    "describe_vae",
    "load_vae",
    "save_vae",
]
