"""Training with measurements at given epochs, resumable from a checkpoint."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaekit.core.config import to_data
from vaekit.core.rng import fixed_seed
from vaekit.data import ImageSet, Transform
from vaekit.experiment.train import build_model, make_trainer
from vaekit.models import VAE, save_vae
from vaekit.reproduction.artifact_progress import ArtifactView
from vaekit.runs.recipe import Recipe
from vaekit.training import Hooks, Trainer, read_state, write_state

CHECKPOINT = "state.safetensors"
CHECKPOINT_SECONDS = 60
"""The minimum time between two checkpoints. An epoch of a small data set takes a fraction of a second."""

Measure = Callable[[VAE], dict[str, Any]]
"""Measures a model during training; the keys ``elbo``, ``distortion`` and ``rate`` are required."""


@dataclass(frozen=True)
class MeasuredTraining:
    """A training that measures the model after given epochs.

    The trained model is that of the last epoch, or the one with the best measured ``elbo`` if the recipe has a patience.

    Arguments:
        recipe: The model, the objective, the optimizer and the number of epochs.
        images: The training images.
        measure: Returns the numbers to record.
        epochs: The epochs after which the model is measured, starting at 1.
        transform: Applied to training images each time they are used.
        initialize: Changes the initial weights of the model.
        extra_settings: Settings that the result depends on and that the other arguments do not contain.
    """

    recipe: Recipe
    images: ImageSet
    measure: Measure
    epochs: Sequence[int]
    transform: Transform | None = None
    initialize: Callable[[VAE], None] | None = None
    extra_settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that the result depends on, as data."""
        return {
            "recipe": to_data(self.recipe),
            "images": self.images.fingerprint,
            "num_images": len(self.images),
            "epochs": list(self.epochs),
            **self.extra_settings,
        }

    @property
    def num_images_seen(self) -> int:
        """The number of training images that the whole training uses, counting repeats."""
        return self.recipe.training.epochs * len(self.images)

    def run(self, folder: Path, view: ArtifactView) -> list[dict[str, Any]]:
        """Trains the model, or resumes from the checkpoint in the folder, and saves the trained model there.

        Returns:
            A record for each of ``epochs``: ``epoch``, ``images_seen`` and the measured numbers.
        """
        has_patience = self.recipe.training.patience is not None
        records: list[dict[str, Any]] = []
        with fixed_seed(self.recipe.training.seed):
            trainer = self._trainer()
            if (folder / CHECKPOINT).exists():
                state = read_state(folder / CHECKPOINT)
                records = state["records"]
                trainer.load_state_dict(state["trainer"])

            def keep_best(model: VAE) -> None:
                if has_patience:
                    save_vae(model, folder)

            validate, save = self._validator(trainer, records, view), _checkpointer(trainer, records, folder)
            trainer.fit(Hooks(validate, keep_best, lambda record, model: None, save), view)
            if not has_patience:
                save_vae(trainer.learned, folder)
        (folder / CHECKPOINT).unlink(missing_ok=True)
        return records

    def _trainer(self) -> Trainer:
        model = build_model(self.recipe, self.images)
        if self.initialize is not None:
            self.initialize(model)
        return make_trainer(self.recipe, model, self.images, self.transform)

    def _validator(self, trainer: Trainer, records: list[dict[str, Any]], view: ArtifactView) -> Measure:
        epochs = {*self.epochs}

        def validate(model: VAE) -> dict[str, Any]:
            epoch = trainer.progress.epoch + 1
            if epoch not in epochs:
                return {"elbo": -math.inf, "distortion": math.inf, "rate": 0.0}
            numbers = self.measure(model)
            records.append({"epoch": epoch, "images_seen": epoch * len(self.images), **numbers})
            view.show_measurement(records[-1]["images_seen"], "ELBO", numbers["elbo"])
            return numbers

        return validate


def _checkpointer(trainer: Trainer, records: list[dict[str, Any]], folder: Path) -> Callable[[dict[str, Any]], None]:
    """Returns a function that saves a checkpoint if the last one is old, or if training stops."""
    saved = time.monotonic()

    def save(state: dict[str, Any]) -> None:
        nonlocal saved
        if time.monotonic() - saved > CHECKPOINT_SECONDS or trainer.finished or not trainer.at_epoch_end:
            write_state(folder / CHECKPOINT, {"trainer": state, "records": records})
            saved = time.monotonic()

    return save
