"""The callback that writes a run folder: history, best model, checkpoints, grids of images and curves."""

import json
import os
import platform
import shutil
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaekit.core.files import atomic_path, write_json
from vaekit.core.rng import fixed_seed
from vaekit.data import Dataset, ImageSet
from vaekit.experiment.prepare import Experiment, Splits
from vaekit.models import Model, save_vae
from vaekit.models.serialization import FORMAT
from vaekit.plots import grid, reconstruction_pairs
from vaekit.plots.grids import columns_for, number_for
from vaekit.runs.recipe import write_recipe
from vaekit.runs.run_folder import ENVIRONMENT, HISTORY, RECIPE, STATE, RunFolder
from vaekit.training import Callback, Trainer, write_state

CURVES_SECONDS = 10
"""The least time between two plots of the learning curves, which take longer than an epoch of a small model."""


class RunWriter(Callback):
    """Writes what a run produces while it trains.

    Arguments:
        folder: The run folder.
        valid: The validation data, of which the first images are shown.
        images_every: The number of epochs between two grids of images.
    """

    def __init__(self, folder: Path, valid: Dataset, images_every: int) -> None:
        self.folder = folder
        self.shown = first_images(valid)
        self.images_every = images_every
        self.curves_due = 0.0

    def on_best(self, trainer: Trainer) -> None:
        """Writes the model."""
        save_vae(trainer.averaged_model, self.folder)

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        """Appends a line to the history, and from time to time writes images and curves."""
        with (self.folder / HISTORY).open("a") as file:
            file.write(json.dumps(record) + "\n")
        if record["epoch"] % self.images_every == 0:
            self._write_images(trainer.averaged_model, record["epoch"])
            if time.monotonic() >= self.curves_due:
                write_curves(self.folder)
                self.curves_due = time.monotonic() + CURVES_SECONDS

    def on_checkpoint(self, trainer: Trainer, state: dict[str, Any]) -> None:
        """Writes the checkpoint."""
        write_state(self.folder / STATE, state)

    def _write_images(self, model: Model, epoch: int) -> None:
        if self.shown is None:
            return
        write_grids(model, self.shown, self.folder)
        epochs = self.folder / "images" / "epochs"
        epochs.mkdir(exist_ok=True)
        for name in ("reconstructions", "samples"):
            with atomic_path(epochs / f"{name}-{epoch:04d}.png") as partial:
                shutil.copy(self.folder / "images" / f"{name}.png", partial)


def begin_folder(experiment: Experiment, folder: Path) -> None:
    """Writes the recipe and the environment of a new run."""
    write_recipe(experiment.recipe, folder / RECIPE)
    write_json(folder / ENVIRONMENT, environment(experiment))


def environment(experiment: Experiment) -> dict[str, Any]:
    """Returns the versions, the machine, the seed and the data of a run."""
    packages = ("vaekit", "torch", "accelerate", "datasets", "numpy", "safetensors", "torchmetrics")
    device, splits = experiment.trainer.device, experiment.splits
    return {
        "format": FORMAT,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in packages},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "seed": experiment.recipe.training.seed,
        "parameters": num_parameters(experiment.model),
        "data": fingerprints(splits),
        "images": {"train": len(splits.train), "valid": len(splits.valid), "test": len(splits.test)},
    }


def fingerprints(splits: Splits) -> dict[str, str]:
    """Returns hashes of the data, by which a resumed run recognizes it."""
    return {"train": splits.train.fingerprint, "test": splits.test.fingerprint, "name": splits.train.name}


def num_parameters(model: Model) -> int:
    """Returns the number of parameters of a model."""
    return sum(p.numel() for p in model.parameters())


def first_images(data: Dataset) -> ImageSet | None:
    """Returns as many first images of a set as a grid shows; None if it holds no images."""
    return data.first(number_for(*data.shape[1:])) if isinstance(data, ImageSet) else None


def write_grids(model: Model, images: ImageSet, folder: Path) -> None:
    """Writes ``reconstructions.png`` and ``samples.png`` into the run's ``images``."""
    num = number_for(*images.shape[1:])
    to = folder / "images"
    to.mkdir(exist_ok=True)
    x = images.pixels.to(model.device)
    labels = images.labels if model.condition is not None else None
    with fixed_seed(0):
        samples = model.sample(num, example_labels(model, num))
    with atomic_path(to / "reconstructions.png") as partial:
        reconstruction_pairs(x, model.reconstruct(x, labels)).save(partial)
    with atomic_path(to / "samples.png") as partial:
        grid(samples, columns_for(images.shape[-1])).save(partial)


def example_labels(model: Model, num: int) -> Tensor | None:
    """Returns each class in turn, as labels of samples; None for a model that is not conditional."""
    return None if model.condition is None else torch.arange(num) % len(model.condition.classes)


def write_curves(folder: Path) -> None:
    """Writes ``curves.png`` into the run's ``images``."""
    (folder / "images").mkdir(exist_ok=True)
    with atomic_path(folder / "images" / "curves.png") as partial:
        RunFolder(folder).curves().savefig(partial, dpi=120)
