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
    from vaekit.data import Dataset, ImageSet, TensorSet, binarize, load_images
    from vaekit.evaluation.evaluation_config import EvaluationConfig
    from vaekit.evaluation.model_evaluation import evaluate_model
    from vaekit.experiment.embed import embed
    from vaekit.experiment.evaluate import evaluate
    from vaekit.experiment.score import score
    from vaekit.experiment.train import train
    from vaekit.models import VAE, Model
    from vaekit.objectives import ELBO, IWAE
    from vaekit.presentation.gallery import Gallery
    from vaekit.runs.run_folder import RunFolder, load
    from vaekit.training import Callback

__version__ = "0.1.0"

_HOME_OF = {
    "Callback": "vaekit.training",
    "Dataset": "vaekit.data",
    "ELBO": "vaekit.objectives",
    "EvaluationConfig": "vaekit.evaluation.evaluation_config",
    "IWAE": "vaekit.objectives",
    "Gallery": "vaekit.presentation.gallery",
    "ImageSet": "vaekit.data",
    "Model": "vaekit.models",
    "RunFolder": "vaekit.runs.run_folder",
    "TensorSet": "vaekit.data",
    "VAE": "vaekit.models",
    "VaekitError": "vaekit.core.errors",
    "binarize": "vaekit.data",
    "embed": "vaekit.experiment.embed",
    "evaluate": "vaekit.experiment.evaluate",
    "evaluate_model": "vaekit.evaluation.model_evaluation",
    "load": "vaekit.runs.run_folder",
    "load_images": "vaekit.data",
    "score": "vaekit.experiment.score",
    "train": "vaekit.experiment.train",
}

__all__ = [
    "ELBO",
    "IWAE",
    "VAE",
    "Callback",
    "Dataset",
    "EvaluationConfig",
    "Gallery",
    "ImageSet",
    "Model",
    "RunFolder",
    "TensorSet",
    "VaekitError",
    "binarize",
    "embed",
    "evaluate",
    "evaluate_model",
    "load",
    "load_images",
    "score",
    "train",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'vaekit' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__, "__version__"]
