"""vaekit: one toolkit for variational autoencoders.

>>> import vaekit
>>> images = vaekit.load_images("mnist")
>>> run = vaekit.train("mnist-conv", epochs=5)
>>> vae = vaekit.load("runs/mnist-conv")
>>> vae.sample(64)

This is the one place of the public names. They are imported when they are first used (PEP 562), so that ``vae --help`` does
not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaekit.core.errors import VaekitError
    from vaekit.core.terms import Loss, StepContext, Terms
    from vaekit.data import Dataset, ImageSet, TensorSet, binarize, hold_out, load_images
    from vaekit.evaluation.evaluation_config import EvaluationConfig
    from vaekit.evaluation.model_evaluation import evaluate_model
    from vaekit.experiment.embed import embed
    from vaekit.experiment.evaluate import evaluate
    from vaekit.experiment.export_model import export_model
    from vaekit.experiment.fit_prior import fit_prior
    from vaekit.experiment.score import score
    from vaekit.experiment.train import train
    from vaekit.models import VAE, Model
    from vaekit.objectives import ELBO, IWAE, Objective
    from vaekit.presentation.gallery import Gallery
    from vaekit.runs.run_folder import RunFolder, load
    from vaekit.training import Callback

__version__ = "0.1.0"

_HOME_OF = {
    # Data
    "load_images": "vaekit.data",  # images by name, folder, file or array, as an ImageSet
    "ImageSet": "vaekit.data",  # images of one shape, with labels
    "TensorSet": "vaekit.data",  # other data of one shape
    "Dataset": "vaekit.data",  # the base class of both
    "binarize": "vaekit.data",  # a set with pixels that are 0 or 255
    "hold_out": "vaekit.data",  # a set in two parts
    # Training
    "train": "vaekit.experiment.train",  # trains a recipe, a model, or from the weights of a run
    "fit_prior": "vaekit.experiment.fit_prior",  # a better prior for a trained run
    "RunFolder": "vaekit.runs.run_folder",  # a run, read
    "Callback": "vaekit.training",  # code that is called while training
    # Models
    "load": "vaekit.runs.run_folder",  # the model of a run, of a folder or of the Hub
    "VAE": "vaekit.models",  # a composition of parts
    "Model": "vaekit.models",  # the base class of models
    # Measuring
    "evaluate": "vaekit.experiment.evaluate",  # all metrics of a run
    "evaluate_model": "vaekit.evaluation.model_evaluation",  # all metrics of a model on data
    "EvaluationConfig": "vaekit.evaluation.evaluation_config",  # the counts of an evaluation
    "score": "vaekit.experiment.score",  # scores of single images
    "embed": "vaekit.experiment.embed",  # the posteriors of images
    # Sharing
    "export_model": "vaekit.experiment.export_model",  # a model in the format of another library
    # Plots
    "Gallery": "vaekit.presentation.gallery",  # everything that can be shown of a model
    # Objectives
    "ELBO": "vaekit.objectives",  # the evidence lower bound and its weighted forms
    "IWAE": "vaekit.objectives",  # the importance-weighted bound
    "Objective": "vaekit.objectives",  # the base class of objectives
    "Terms": "vaekit.core.terms",  # what a model computes of a batch
    "StepContext": "vaekit.core.terms",  # the epoch, the step and the number of images
    "Loss": "vaekit.core.terms",  # what an objective returns
    # Errors
    "VaekitError": "vaekit.core.errors",  # what a user can mend, in one line
}
"""The public names, by what they are for, with the module of each; docs/python.md has the same list."""

__all__ = [
    "ELBO",
    "IWAE",
    "VAE",
    "Callback",
    "Dataset",
    "EvaluationConfig",
    "Gallery",
    "ImageSet",
    "Loss",
    "Model",
    "Objective",
    "RunFolder",
    "StepContext",
    "TensorSet",
    "Terms",
    "VaekitError",
    "binarize",
    "embed",
    "evaluate",
    "evaluate_model",
    "export_model",
    "fit_prior",
    "hold_out",
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
