"""vaekit: one toolkit for variational autoencoders.

>>> import vaekit
>>> images = vaekit.load_images("mnist")
>>> run = vaekit.train("mnist-conv", epochs=5)
>>> vae = vaekit.load("runs/mnist-conv")
>>> vae.sample(64)

Public names are imported when they are first used (PEP 562), so that ``vae --help`` does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaekit.data import ImageSet, binarize, load_images
    from vaekit.errors import VaekitError
    from vaekit.evaluation.evaluate import Effort, evaluate
    from vaekit.experiment import train
    from vaekit.gallery import Gallery
    from vaekit.models import VAE
    from vaekit.objectives import ELBO, IWAE
    from vaekit.runs import Run, load

__version__ = "0.1.0"

_HOMES = {
    "ELBO": "vaekit.objectives",
    "Effort": "vaekit.evaluation.evaluate",
    "IWAE": "vaekit.objectives",
    "Gallery": "vaekit.gallery",
    "ImageSet": "vaekit.data",
    "Run": "vaekit.runs",
    "VAE": "vaekit.models",
    "VaekitError": "vaekit.errors",
    "binarize": "vaekit.data",
    "evaluate": "vaekit.evaluation.evaluate",
    "load": "vaekit.runs",
    "load_images": "vaekit.data",
    "train": "vaekit.experiment",
}

__all__ = [
    "ELBO",
    "IWAE",
    "VAE",
    "Effort",
    "Gallery",
    "ImageSet",
    "Run",
    "VaekitError",
    "binarize",
    "evaluate",
    "load",
    "load_images",
    "train",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vaekit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__, "__version__"]
