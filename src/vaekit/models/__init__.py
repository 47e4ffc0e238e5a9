"""Models: the contract of every model, the VAE as a composition of parts, and models on disk."""

from typing import TYPE_CHECKING

from vaekit.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from vaekit.models.conditions import ClassLabel, Condition
    from vaekit.models.ladder import LadderVAE
    from vaekit.models.model import Model
    from vaekit.models.saving import CONDITIONS, VAEConfig
    from vaekit.models.serialization import (
        build_vae,
        check_savable,
        describe_vae,
        load_vae,
        save_vae,
    )
    from vaekit.models.vae import VAE

__all__ = [
    "CONDITIONS",
    "VAE",
    "ClassLabel",
    "Condition",
    "LadderVAE",
    "Model",
    "VAEConfig",
    "build_vae",
    "check_savable",
    "describe_vae",
    "load_vae",
    "save_vae",
]

__getattr__ = lazy_names(
    __name__,
    {
        "CONDITIONS": "saving",
        "ClassLabel": "conditions",
        "Condition": "conditions",
        "LadderVAE": "ladder",
        "Model": "model",
        "VAE": "vae",
        "VAEConfig": "saving",
        "build_vae": "serialization",
        "check_savable": "serialization",
        "describe_vae": "serialization",
        "load_vae": "serialization",
        "save_vae": "serialization",
    },
)
