"""Run folders and model folders, read back.

A run is a folder::

    runs/NAME/
      recipe.yaml                      the resolved recipe: running it again gives the same run
      config.json, model.safetensors   the model of the best validation ELBO, loadable alone
      metrics.jsonl                    a line an epoch
      metrics.json                     the final numbers, on the test split
      environment.json                 versions, device, seed, data fingerprints, command
      images/                        reconstructions, samples, curves; epochs/ holds how they came to be
      checkpoints/last/                everything that an exact resume needs
      report.html                      the same for a reader
"""

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaekit.core.errors import ConfigError, ModelError, RunError
from vaekit.data import Fitting, ImageSet, binarize, load_images
from vaekit.data.sources.hub import describe_error, download
from vaekit.models import VAE, load_vae
from vaekit.models.serialization import CONFIG, WEIGHTS
from vaekit.runs.recipe import Recipe, read_recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vaekit.presentation.gallery import Gallery

RECIPE, HISTORY, METRICS, ENVIRONMENT = "recipe.yaml", "metrics.jsonl", "metrics.json", "environment.json"
REPORT = "report.html"
SPLITS = {"train": "training", "valid": "validation"}
STATE = Path("checkpoints") / "last" / "state.safetensors"
TEST_SEED = 0
"""The seed with which test images are binarized once, the same for every run so that numbers can be compared."""


class Run:
    """A run folder, read.

    Arguments:
        folder: The folder that ``vae train`` wrote.

    Raises:
        RunError: If it is none.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / RECIPE).is_file():
            raise RunError(f"{self.folder}: no {RECIPE} there, so it is no run folder")

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        path = self.folder / RECIPE
        try:
            return read_recipe(path.read_text(), str(path), {}, {})
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read ({error})") from None

    @property
    def model(self) -> VAE:
        """The model of the best validation ELBO, on the CPU."""
        return load_vae(self.folder)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The epochs so far."""
        path = self.folder / HISTORY
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def metrics(self) -> dict[str, Any]:
        """The final numbers.

        Raises:
            RunError: If the run has not come to its end.
        """
        path = self.folder / METRICS
        if not path.exists():
            raise RunError(f"{path}: not there yet; go on with vae train --resume {self.folder}")
        metrics: dict[str, Any] = json.loads(path.read_text())
        return metrics

    @property
    def environment(self) -> dict[str, Any]:
        """What the run ran on and with."""
        path = self.folder / ENVIRONMENT
        try:
            environment: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: cannot be read ({error})") from None
        return environment

    @cached_property
    def gallery(self) -> "Gallery":
        """Everything that can be seen of the run's model and test images."""
        from vaekit.presentation.gallery import Gallery

        return Gallery(self.model, self.images(), fitting_of(self.folder))

    def curves(self) -> "Figure":
        """Draws the learning curves.

        Raises:
            RunError: If no epoch has been finished.
        """
        from vaekit.plots import learning_curves

        if not self.history:
            raise RunError(f"{self.folder}: no epoch has been finished; go on with vae train --resume {self.folder}")
        counts = self.environment.get("images", {})
        means = " and ".join(f"{counts[key]:,} {word}" for key, word in SPLITS.items() if key in counts)
        title = f"{self.recipe.name}, means over {means} images" if means else self.recipe.name
        return learning_curves(self.history, title)

    def images(self, source: str | None = None, split: str = "test", *, binarized: bool = True) -> ImageSet:
        """Loads images as the model saw them: fitted to its shape, and binarized if it was trained so.

        Arguments:
            source: Where they come from; by default where the run's own came from.
            split: Which of them.
            binarized: Whether they are binarized if the model was trained so; else they stay gray.
        """
        data = self.recipe.data
        images = load_for(load_vae(self.folder), source or data.name, split, Fitting(data.fit, data.background))
        return binarize(images, seed=TEST_SEED) if binarized and data.binarize != "none" else images


def load(path: str | Path, revision: str | None = None) -> VAE:
    """Loads a model from a run folder, a model folder, or the Hugging Face Hub; nothing is executed or unpickled.

    Raises:
        ModelError: If there is none, or it is damaged.
    """
    return load_vae(model_folder(path, revision))


def model_folder(path: str | Path, revision: str | None = None) -> Path:
    """Returns the folder that a run folder, a model folder or a hub id means, downloading the latter.

    Raises:
        ModelError: If there is none.
    """
    folder = Path(path)
    if folder.is_dir():
        return folder
    if str(path).count("/") != 1 or str(path).startswith((".", "/", "~")):
        raise ModelError(f"{path}: no such run or model folder")
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return download(str(path), "model", revision, [CONFIG, WEIGHTS, RECIPE])
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ModelError(
            f"{path}: no such folder, and no model on the Hugging Face Hub that can be had ({describe_error(error)})"
        ) from None


def load_for(model: VAE, source: str | Path, split: str = "all", fitting: Fitting | None = None) -> ImageSet:
    """Loads images fitted to a model's shape, the middle of each on white where nobody says how."""
    channels, height, width = model.shape
    fitting = fitting or Fitting()
    options: dict[str, Any] = {"fit": fitting.fit, "background": fitting.background}
    return load_images(source, split, size=(height, width), channels=channels, **options)


def fitting_of(path: str | Path) -> Fitting:
    """Returns how the images of a run were fitted; of a model folder without a recipe the usual way."""
    folder = model_folder(path)
    if not (folder / RECIPE).is_file():
        return Fitting()
    data = Run(folder).recipe.data
    return Fitting(data.fit, data.background)
