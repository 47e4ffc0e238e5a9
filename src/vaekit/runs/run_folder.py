"""The run folder: what ``vae train`` writes, and :class:`RunFolder`, which reads it.

A run is a folder::

    runs/NAME/
      recipe.yaml                      the resolved recipe: running it again gives the same run
      config.json, model.safetensors   the model of the best validation ELBO, loadable alone
      metrics.jsonl                    one line per epoch
      metrics.json                     the final metrics, on the test split
      environment.json                 format version, package versions, device, seed, data fingerprints, command
      images/                          reconstructions, samples, curves; film/ keeps small images of some steps
      checkpoints/                     the two newest checkpoints: everything that an exact resume needs
      report.html                      all of it on one page

A model folder holds only ``config.json`` and ``model.safetensors``, perhaps with a recipe.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from vaekit.core.arguments import checked
from vaekit.core.errors import DataError, ModelError, RunError, VaekitError
from vaekit.core.files import user_path
from vaekit.data import Fitting, ImageSet, binarize, in_class_order, is_image_shape, load_images
from vaekit.data.preprocessing import Preprocessing
from vaekit.data.sources.hub import describe_error, download
from vaekit.evaluation.likelihood.conditional import NUM_CLASSES, describe_classes, is_conditional, num_classes_of
from vaekit.models import VAE, load_vae
from vaekit.models.folder_format import CONFIG, WEIGHTS
from vaekit.plots.channels import Channels
from vaekit.plots.look import DEFAULT, Look, caption_of
from vaekit.presentation.gallery import Gallery
from vaekit.runs.location import find_sources
from vaekit.runs.run_records import (
    CHECKPOINTS,
    ENVIRONMENT,
    HISTORY,
    IMAGES,
    METRICS,
    RECIPE,
    REPORT,
    RUN_FILES,
    SPLITS,
    RunRecords,
)
from vaekit.runs.similar_runs import is_hub_id

__all__ = [
    "CHECKPOINTS",
    "ENVIRONMENT",
    "HISTORY",
    "IMAGES",
    "METRICS",
    "RECIPE",
    "REPORT",
    "RUN_FILES",
    "SPLITS",
    "TEST_SEED",
    "RunFolder",
    "load",
]

TEST_SEED = 0
"""The seed with which test images are binarized once, the same for every run so that metrics can be compared."""


class RunFolder(RunRecords):
    """A run folder or a model folder, read; its recipe, its model and each set of images are loaded once.

    Arguments:
        path: A run folder, a model folder, or the id of a model on the Hugging Face Hub.
        revision: The revision on the Hub.

    Raises:
        ModelError: If there is no such folder or model.
        RunError: If the folder was written by another version of the format.

    Example:
        >>> run = RunFolder("runs/mnist-conv")
        >>> run.model.sample(64)
    """

    @checked(ModelError)
    def __init__(self, path: str | Path, revision: str | None = None) -> None:
        super().__init__(_find_folder(path, revision))
        self._gray: dict[tuple[tuple[str, ...], str], ImageSet] = {}

    def __repr__(self) -> str:
        return f"RunFolder({str(self.folder)!r})"

    @cached_property
    def model(self) -> VAE:
        """The model of the best validation ELBO, on the CPU."""
        run = self.environment.get("run") if (self.folder / ENVIRONMENT).is_file() else None
        return load_vae(self.folder, run)

    @property
    def metrics(self) -> dict[str, Any]:
        """The final metrics; those of a class-conditional run of an earlier version are completed by its number of classes.

        Raises:
            RunError: If the run is not finished, or the file is damaged.
        """
        metrics = super().metrics
        if is_conditional(metrics) or not (self.has_recipe and self.recipe.model.conditional):
            return metrics
        with suppress(VaekitError):  # without its model, the run is described by its records alone
            num = num_classes_of(self.model) or 0
            return metrics | {NUM_CLASSES: num, "meaning": f"{metrics.get('meaning')}; {describe_classes(num)}"}
        return metrics

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are prepared for the model: as its recipe says, else its configuration; by default if neither does.

        A model folder of format 3 or earlier does not say it.
        """
        if not self.has_recipe:
            return self.model.preprocessing or Preprocessing()
        data = self.recipe.data
        return Preprocessing(fit=data.fit, background=data.background, levels=data.levels, binarize=data.binarize)

    @property
    def fitting(self) -> Fitting:
        """How images are fitted to the model's shape: as in training, or by the default where nothing says how."""
        return self.preprocessing.fitting

    @property
    def shown_channels(self) -> Channels | None:
        """The channels that plots show, as the recipe says; None for all."""
        return self.recipe.data.shown_channels if self.has_recipe else None

    @property
    def look(self) -> Look:
        """How images of the run's model are drawn: with a caption below them."""
        return self.look_at(self._best_epoch)

    @checked(RunError)
    def look_at(self, epoch: int | None) -> Look:
        """Returns how images of an epoch are drawn: with the names of recipe and images and the epoch below them."""
        if not self.has_recipe:
            return DEFAULT
        return Look(caption=caption_of(self.recipe.name, PurePath(self.recipe.data.name).name, epoch))

    @property
    def _best_epoch(self) -> int | None:
        """The epoch of the model; None if none is finished, or the history is damaged, which no image depends on."""
        try:
            return max((record["epoch"] for record in self.history if record.get("best")), default=None)
        except RunError:
            return None

    @cached_property
    def gallery(self) -> Gallery:
        """The plots and animations of the run's model and test images."""
        return Gallery(self.model, self.images(), self.fitting, self.shown_channels, self.look)

    @property
    def source(self) -> str:
        """Where the run's images are, the first of :attr:`sources`."""
        return self.sources[0]

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the run's images are: its recipe's sources, and for relative paths what they meant when the run began.

        Raises:
            DataError: If they are not there any more.
        """
        environment = self.environment if (self.folder / ENVIRONMENT).is_file() else {}
        return find_sources(self.recipe.data.sources, environment)

    def is_own(self, source: str | Path | None) -> bool:
        """Whether a source is the one that the run was trained on; None stands for it.

        Raises:
            DataError: If it is neither a name nor a path.
        """
        if source is not None:
            user_path(source)
        return self.has_recipe and (source is None or (str(source),) == self.recipe.data.sources)

    @checked(DataError)
    def images(self, source: str | Path | None = None, split: str = "test", *, binarized: bool = True) -> ImageSet:
        """Returns images as the model saw them: fitted to its shape, and binarized if it was trained so.

        Arguments:
            source: Where they come from; by default the run's own source.
            split: ``train``, ``test``, ``all``, or ``any`` (see :func:`vaekit.data.load_images`).
            binarized: Whether to binarize them if the model was trained on binarized images; else they stay gray.

        Raises:
            DataError: If there are no such images, or a model folder does not say which images it was trained on.
        """
        if source is None and not self.has_recipe:
            raise DataError(
                f"{self.folder}: a model folder does not say which images it was trained on; name them (vae COMMAND --help)"
            )
        if not is_image_shape(self.model.shape):
            raise DataError(
                f"{self.folder}: the model is of data of shape {tuple(self.model.shape)}, and images are read; "
                "in Python: vaekit.evaluate_model(model, data)"
            )
        images = self._load(self.sources if source is None else (str(source),), split)
        wanted = binarized and self.preprocessing.binarize != "none"
        return binarize(images, seed=TEST_SEED) if wanted else images

    @property
    def _classes(self) -> Sequence[str]:
        """The names of the classes by the label that the model knows; empty if labels stay as those of the images."""
        if self.model.condition is not None:
            return self.model.condition.classes
        return () if self.has_recipe else self.preprocessing.classes

    def _load(self, sources: tuple[str, ...], split: str) -> ImageSet:
        """Images fitted to the model's shape, each set read once."""
        if (sources, split) not in self._gray:
            channels, height, width = self.model.shape
            options = {key: getattr(self.preprocessing, key) for key in ("fit", "background", "levels")}
            source = sources[0] if len(sources) == 1 else sources
            images = load_images(source, split, size=(height, width), channels=channels, **options)
            self._gray[sources, split] = in_class_order(images, self._classes)
        return self._gray[sources, split]


@checked(ModelError)
def load(path: str | Path, revision: str | None = None) -> VAE:
    """Loads a model from a run folder, a model folder, or the Hugging Face Hub; nothing is executed or unpickled.

    Raises:
        ModelError: If there is none, or it is damaged.
    """
    return RunFolder(path, revision).model


def _find_folder(path: str | Path, revision: str | None) -> Path:
    """The folder that a path or a Hub id means; a model on the Hub is downloaded."""
    folder = user_path(path)
    if folder.is_dir():
        return folder
    if not is_hub_id(str(path)):
        raise ModelError(f"{path}: no such run or model folder")
    from huggingface_hub.errors import HfHubHTTPError  # heavy, and only needed for a download

    try:
        return download(str(path), "model", revision, [CONFIG, WEIGHTS, RECIPE])
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ModelError(
            f"{path}: no such folder in {Path.cwd()}, and no model from the Hugging Face Hub ({describe_error(error)}); "
            "name a run by its path from this folder; a model of the Hub needs a network"
        ) from None
