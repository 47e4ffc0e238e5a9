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
    from vaekit.core.errors import VaekitError
    from vaekit.data import ImageSet, binarize, load_images
    from vaekit.evaluation.model_evaluation import EvaluationConfig, evaluate
    from vaekit.experiment.train import train
    from vaekit.models import VAE
    from vaekit.objectives import ELBO, IWAE
    from vaekit.presentation.gallery import Gallery
    from vaekit.runs.run_folder import RunFolder, load

__version__ = "0.1.0"

_HOMES = {
    "ELBO": "vaekit.objectives",
    "EvaluationConfig": "vaekit.evaluation.model_evaluation",
    "IWAE": "vaekit.objectives",
    "Gallery": "vaekit.presentation.gallery",
    "ImageSet": "vaekit.data",
    "RunFolder": "vaekit.runs.run_folder",
    "VAE": "vaekit.models",
    "VaekitError": "vaekit.core.errors",
    "binarize": "vaekit.data",
    "evaluate": "vaekit.evaluation.model_evaluation",
    "load": "vaekit.runs.run_folder",
    "load_images": "vaekit.data",
    "train": "vaekit.experiment.train",
}

__all__ = [
    "ELBO",
    "IWAE",
    "VAE",
    "EvaluationConfig",
    "Gallery",
    "ImageSet",
    "RunFolder",
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
