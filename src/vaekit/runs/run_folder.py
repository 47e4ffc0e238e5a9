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

import json
from functools import cached_property
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

from matplotlib.figure import Figure

from vaekit.core.errors import ConfigError, DataError, ModelError, RunError
from vaekit.core.files import describe_os_error, read_object, require_regular, user_path
from vaekit.core.progress import notify
from vaekit.core.yaml_text import read_text
from vaekit.data import Fitting, ImageSet, binarize, in_class_order, is_image_shape, load_images
from vaekit.data.levels import AUTO, Levels
from vaekit.data.sources.hub import describe_error, download
from vaekit.models import VAE, load_vae
from vaekit.models.serialization import CONFIG, WEIGHTS, check_format
from vaekit.plots import learning_curves
from vaekit.plots.channels import Channels
from vaekit.plots.look import DEFAULT, Look, caption_of
from vaekit.presentation.gallery import Gallery
from vaekit.runs.location import SOURCE, find_source
from vaekit.runs.recipe import Recipe, read_recipe

RECIPE, HISTORY, METRICS, ENVIRONMENT = "recipe.yaml", "metrics.jsonl", "metrics.json", "environment.json"
REPORT = "report.html"
RUN_FILES = (RECIPE, HISTORY, METRICS, ENVIRONMENT, CONFIG, WEIGHTS)
"""The files that make a run, which no other output may overwrite."""
SPLITS = {"train": "training", "valid": "validation"}
CHECKPOINTS, IMAGES = "checkpoints", "images"
TEST_SEED = 0
"""The seed with which test images are binarized once, the same for every run so that metrics can be compared."""


class RunFolder:
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

    def __init__(self, path: str | Path, revision: str | None = None) -> None:
        self.folder = _find_folder(path, revision)
        self._gray: dict[tuple[str, str], ImageSet] = {}
        if (self.folder / ENVIRONMENT).is_file():
            check_format(self.environment, self.folder)

    @property
    def has_recipe(self) -> bool:
        """Whether the folder says what its model was trained on; a bare model folder does not."""
        return (self.folder / RECIPE).is_file()

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe.

        Raises:
            RunError: If there is none.
        """
        path = self.folder / RECIPE
        if not path.is_file():
            raise RunError(f"{self.folder}: no {RECIPE} there, so it is no run folder")
        try:
            return read_recipe(read_text(path), str(path), {}, {})
        except ConfigError as error:  # of a place in the file, which the user has not typed
            raise ConfigError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None

    @cached_property
    def model(self) -> VAE:
        """The model of the best validation ELBO, on the CPU."""
        run = self.environment.get("run") if (self.folder / ENVIRONMENT).is_file() else None
        return load_vae(self.folder, run)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The records of the epochs so far.

        Raises:
            RunError: If a line is damaged; a last line that is cut short is left out, with a line.
        """
        path = self.folder / HISTORY
        if not path.exists():
            return []
        try:
            require_regular(path)
            *lines, torn = path.read_text(encoding="utf-8").split("\n")
            records = [json.loads(line) for line in lines]
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{path}: damaged ({describe_os_error(error)}); {self._restored_by_resume}") from None
        if not all(map(_is_record, records)):
            raise RunError(f"{path}: damaged, a line is no record of an epoch; {self._restored_by_resume}")
        if torn:
            notify(f"{path}: the last line is cut short, so it is left out")
        return records

    @property
    def metrics(self) -> dict[str, Any]:
        """The final metrics.

        Raises:
            RunError: If the run is not finished, or the file is damaged.
        """
        path = self.folder / METRICS
        if not path.exists():
            raise RunError(f"{path}: not there yet; go on with vae train --resume {self.folder}")
        metrics = read_object(path, self._restored_by_resume)
        if not isinstance(metrics.get("elbo"), dict):
            raise RunError(f"{path}: damaged, it holds no ELBO; {self._restored_by_resume}")
        return metrics

    @property
    def environment(self) -> dict[str, Any]:
        """The machine, the versions and the data of the run.

        Raises:
            RunError: If the file is missing or damaged.
        """
        path = self.folder / ENVIRONMENT
        data = read_object(path, "copy it again, or train into another folder")
        counts = data.get("images", {})
        if not isinstance(counts, dict) or not all(isinstance(count, int) for count in counts.values()):
            raise RunError(f"{path}: damaged, it does not count the images; copy it again, or train into another folder")
        return data

    @property
    def _restored_by_resume(self) -> str:
        return f"vae train --resume {self.folder} restores it"

    @property
    def fitting(self) -> Fitting:
        """How images are fitted to the model's shape: as in training, or by the default where no recipe says how."""
        if not self.has_recipe:
            return Fitting()
        data = self.recipe.data
        return Fitting(data.fit, data.background, Levels.read(data.levels))

    @property
    def shown_channels(self) -> Channels | None:
        """The channels that plots show, as the recipe says; None for all."""
        return self.recipe.data.shown_channels if self.has_recipe else None

    @property
    def look(self) -> Look:
        """How images of the run's model are drawn: with a caption below them."""
        return self.look_at(self._best_epoch)

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

    def curves(self) -> Figure:
        """Plots the learning curves.

        Raises:
            RunError: If no epoch is finished.
        """
        name = self.recipe.name
        if not self.history:
            raise RunError(f"{self.folder}: no epoch has been finished; go on with vae train --resume {self.folder}")
        counts = self.environment.get("images", {})
        means = " and ".join(f"{counts[key]:,} {word}" for key, word in SPLITS.items() if key in counts)
        title = f"{name}, means over {means} images" if means else name
        return learning_curves(self.history, title)

    @property
    def source(self) -> str:
        """Where the run's images are: its recipe's source, and for a relative path what it meant when the run began.

        Raises:
            DataError: If they are not there any more.
        """
        recorded = self.environment.get(SOURCE) if (self.folder / ENVIRONMENT).is_file() else None
        return find_source(self.recipe.data.name, recorded)

    def is_own(self, source: str | None) -> bool:
        """Whether a source is the one that the run was trained on; None stands for it.

        Raises:
            DataError: If it is neither a name nor a path.
        """
        if source is not None:
            user_path(source)
        return self.has_recipe and (source is None or source == self.recipe.data.name)

    def images(self, source: str | None = None, split: str = "test", *, binarized: bool = True) -> ImageSet:
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
        images = self._load(self.source if source is None else source, split)
        wanted = binarized and self.has_recipe and self.recipe.data.binarize != "none"
        return binarize(images, seed=TEST_SEED) if wanted else images

    def _load(self, source: str, split: str) -> ImageSet:
        """Images fitted to the model's shape, each set read once."""
        if (source, split) not in self._gray:
            if not is_image_shape(self.model.shape):
                raise DataError(
                    f"{self.folder}: the model is of data of shape {tuple(self.model.shape)}, and images are read; "
                    "in Python: vaekit.evaluate_model(model, data)"
                )
            channels, height, width = self.model.shape
            fitting = self.fitting
            options: dict[str, Any] = {"fit": fitting.fit, "background": fitting.background}
            options["levels"] = self.recipe.data.levels if self.has_recipe else AUTO
            images = load_images(source, split, size=(height, width), channels=channels, **options)
            condition = self.model.condition
            self._gray[source, split] = images if condition is None else in_class_order(images, condition.classes)
        return self._gray[source, split]


def _is_record(record: Any) -> bool:
    """Whether a line of the history holds the numbers of an epoch."""
    if not isinstance(record, dict) or not all(_is_number(record.get(key)) for key in ("epoch", "images_seen", "lr")):
        return False
    train, valid = record.get("train"), record.get("valid")
    parts = (part.values() for part in (train, valid) if isinstance(part, dict))
    has_parts = isinstance(train, dict) and isinstance(valid, dict) and {"elbo", "rate", "distortion"} <= valid.keys()
    return has_parts and all(map(_is_number, chain(*parts)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
    if str(path).count("/") != 1 or str(path).startswith((".", "/", "~")):
        raise ModelError(f"{path}: no such run or model folder")
    from huggingface_hub.errors import HfHubHTTPError  # heavy, and only needed for a download

    try:
        return download(str(path), "model", revision, [CONFIG, WEIGHTS, RECIPE])
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ModelError(
            f"{path}: no such folder, and no model on the Hugging Face Hub that can be had ({describe_error(error)})"
        ) from None
