"""The callback that writes a run folder: history, best model, checkpoints, grids of images and curves."""

import hashlib
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.core.errors import RunError
from vaekit.core.files import atomic_path, write_json, write_text
from vaekit.core.rng import fixed_seed
from vaekit.data import Dataset, ImageSet
from vaekit.experiment.film_writer import FilmWriter
from vaekit.experiment.place import was_removed
from vaekit.experiment.prepare import Experiment, Splits
from vaekit.models import Model, save_vae
from vaekit.models.folder_format import FORMAT
from vaekit.plots import grid, reconstruction_pairs
from vaekit.plots.channels import Channels, num_tiles
from vaekit.plots.curves import DPI
from vaekit.plots.grids import columns_for, columns_of_classes, number_for
from vaekit.plots.look import Look
from vaekit.presentation.gallery import SHOWN_SEED
from vaekit.presentation.training_film import is_filmed
from vaekit.runs.identity import identity
from vaekit.runs.location import sources_to_record
from vaekit.runs.lock import LOCK
from vaekit.runs.recipe import write_recipe
from vaekit.runs.replacement import begin, forget, install
from vaekit.runs.run_folder import CHECKPOINTS, ENVIRONMENT, HISTORY, RECIPE, RunFolder
from vaekit.training import Callback, Checkpoints, Trainer

CURVES_SECONDS = 10
"""The least time between two plots of the learning curves, which take longer than an epoch of a small model."""


class RunWriter(Callback):
    """Writes what a run produces while it trains.

    The history grows by a line with each epoch. The checkpoint holds all records and the best weights, too; history and
    model are written from them where they are not the same, so that a run that is resumed has both in any case.

    Arguments:
        folder: The run folder, whose lock is held.
        checkpoints: Its checkpoints.
        valid: The validation data, of which some images are shown, the same each time.
        images_every: The number of epochs between two grids of images.
        channels: The channels that the grids show; None for all.
    """

    def __init__(
        self,
        folder: Path,
        checkpoints: Checkpoints,
        valid: Dataset,
        images_every: int,
        channels: Channels | None = None,
    ) -> None:
        self.folder = folder
        self.checkpoints = checkpoints
        self.shown = shown_images(valid, channels)
        self.channels = channels
        self.images_every = images_every
        self.curves_due = 0.0
        self.film: FilmWriter | None = None
        self.model_is_written = True
        self.lock_inode = (folder / LOCK).stat().st_ino  # held open by the lock, so that no other file can get it

    def on_train_begin(self, trainer: Trainer) -> None:
        """Writes history and model as they are in the checkpoint."""
        self.curves_due = time.monotonic() + CURVES_SECONDS
        if trainer.records or (self.folder / HISTORY).exists():
            write_text(self.folder / HISTORY, "".join(map(_line, trainer.records)))
        self._write_model(trainer)
        if self.shown is not None:
            self.film = FilmWriter(self.folder, self.shown, self.channels, len(trainer.batches))
            self.film.begin()
            self.film.after(trainer)  # of step 0, or of a step whose callbacks were interrupted

    def on_step(self, trainer: Trainer, logs: dict[str, Tensor]) -> None:
        """Keeps the images of steps that the film of the training shows."""
        if self.film is not None and is_filmed(trainer.progress.step):
            self._check_folder()
            self.film.after(trainer)

    def on_best(self, trainer: Trainer) -> None:
        """Remembers that there is a better model, which is written with the next checkpoint."""
        self.model_is_written = False

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Appends a line to the history, and from time to time writes images and curves."""
        self._check_folder()
        with (self.folder / HISTORY).open("a", encoding="utf-8", newline="\n") as file:
            file.write(_line(record))
        if record["epoch"] % self.images_every == 0:
            self._write_images(trainer.averaged_model, record["epoch"])
            if time.monotonic() >= self.curves_due:
                write_curves(self.folder)
                self.curves_due = time.monotonic() + CURVES_SECONDS

    def on_checkpoint(self, trainer: Trainer, state: dict[str, Any]) -> None:
        """Writes the checkpoint, and the best model if it is a new one."""
        self._check_folder()
        self.checkpoints.write(state)
        if not self.model_is_written:
            self._write_model(trainer)

    def on_train_end(self, trainer: Trainer) -> None:
        """Writes the best model, if training has ended without a checkpoint, and the last images of the film."""
        if self.film is not None and trainer.finished and self._is_ours:
            self.film.after(trainer)
        if not self.model_is_written and self._is_ours:
            self._write_model(trainer)

    @property
    def _is_ours(self) -> bool:
        """Whether the folder is still the one whose lock is held, and nobody has put another in its place."""
        lock = self.folder / LOCK
        return lock.exists() and lock.stat().st_ino == self.lock_inode

    def _check_folder(self) -> None:
        if not self._is_ours:
            raise RunError(was_removed(self.folder))

    def _write_model(self, trainer: Trainer) -> None:
        if trainer.best_weights is not None:
            weights, run = trainer.best_weights, self.checkpoints.belongs_to
            save_vae(trainer.averaged_model, self.folder, weights=weights, belongs_to=run)
            forget(self.folder)
        self.model_is_written = True

    def _write_images(self, model: Model, epoch: int) -> None:
        if self.shown is None:
            return
        write_grids(model, self.shown, self.folder, self.channels, RunFolder(self.folder).look_at(epoch))


def _line(record: dict[str, Any]) -> str:
    """A record as a line of the history."""
    return json.dumps(record) + "\n"


def begin_folder(experiment: Experiment, folder: Path) -> None:
    """Writes recipe, environment and first checkpoint of a new run, and puts them in place of what the folder held.

    Raises:
        OSError: If the folder cannot be written.
    """
    beginning, data = begin(folder), fingerprints(experiment.splits)
    run = identity(experiment.recipe, data)
    write_recipe(experiment.recipe, beginning / RECIPE)
    facts = environment(experiment) | {"run": run, "data": data} | label_facts(experiment)
    write_json(beginning / ENVIRONMENT, facts | sources_to_record(experiment.recipe.data.sources))
    Checkpoints(beginning / CHECKPOINTS, run).write(experiment.trainer.state_dict())
    install(folder)


def environment(experiment: Experiment) -> dict[str, Any]:
    """Returns the versions, the machine, the seed and the numbers of images of a run."""
    packages = ("vaekit", "torch", "accelerate", "datasets", "numpy", "safetensors", "torchmetrics")
    device, splits = experiment.trainer.device, experiment.splits
    return {
        "format": FORMAT,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in packages} | {"torch": str(torch.__version__)},  # with its build
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "seed": experiment.recipe.training.seed,
        "parameters": num_parameters(experiment.model),
        "images": {"train": len(splits.train), "valid": len(splits.valid), "test": len(splits.test)},
    }


def fingerprints(splits: Splits) -> dict[str, str]:
    """Returns hashes of the data, by which a resumed run recognizes it."""
    return {"train": splits.train.fingerprint, "test": splits.test.fingerprint, "name": splits.train.name}


def label_facts(experiment: Experiment) -> dict[str, str]:
    """Returns a hash of the labels that a conditional model is trained on, under ``labels``; nothing for other models."""
    images = experiment.splits.train
    if not experiment.recipe.model.conditional or images.labels is None:
        return {}
    content = json.dumps([images.class_names, images.labels.tolist()])
    return {"labels": hashlib.sha256(content.encode()).hexdigest()[:16]}


def num_parameters(model: Model) -> int:
    """Returns the number of parameters of a model."""
    return sum(p.numel() for p in model.parameters())


def shown_images(data: Dataset, channels: Channels | None) -> ImageSet | None:
    """Returns as many images of a set as a grid of channels shows, always the same, of all classes; None without images."""
    return data.spread(_number(data, channels), SHOWN_SEED) if isinstance(data, ImageSet) else None


def write_grids(model: Model, images: ImageSet, folder: Path, channels: Channels | None, look: Look) -> None:
    """Writes ``reconstructions.png`` and ``samples.png`` into the run's ``images``, with these channels; None for all."""
    num = _number(images, channels)
    to = folder / "images"
    to.mkdir(exist_ok=True)
    x = images.pixels.to(model.device)
    labels = images.labels if model.condition is not None else None
    with fixed_seed(0):
        samples = model.sample(num, example_labels(model, num))
    with atomic_path(to / "reconstructions.png") as partial:
        reconstruction_pairs(x, model.reconstruct(x, labels), channels=channels, look=look).save(partial)
    classes, width = ([] if model.condition is None else model.condition.classes), images.shape[-1]
    columns, heads = columns_of_classes(num, classes, width, None)
    with atomic_path(to / "samples.png") as partial:
        grid(samples, columns or columns_for(width), heads=heads, channels=channels, look=look).save(partial)


def _number(images: ImageSet, channels: Channels | None) -> int:
    """The number of images that a grid of a run shows."""
    num_channels, height, width = images.shape
    return number_for(height, width, num_tiles(num_channels, channels))


def example_labels(model: Model, num: int) -> Tensor | None:
    """Returns each class in turn, as labels of samples; None for a model that is not conditional."""
    return None if model.condition is None else torch.arange(num) % len(model.condition.classes)


def write_curves(folder: Path) -> None:
    """Writes ``curves.png`` into the run's ``images``."""
    (folder / "images").mkdir(exist_ok=True)
    with atomic_path(folder / "images" / "curves.png") as partial:
        RunFolder(folder).curves().savefig(partial, dpi=DPI)
